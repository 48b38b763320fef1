"""Reviewers that need a policy, and policies that lean to a reviewer, on the command line."""

import pytest

pytest.importorskip("torch")

from apportion.policies import load_policy
from apportion.train.voices.reviewer_tokens import add_reviewer_tokens

RECIPE = "task: {kind: sums, operations: [3, 3]}\npolicy: {kind: tiny, checkpoint: %s}\n"


def test_a_reviewer_without_its_policy_is_told_so(run, traces):
    for arguments in (["check", "reviewer", "self"], ["review", traces, "-r", "self"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "reviewer self judges with the policy's own weights" in result.stderr
        assert "add --policy tiny" in result.stderr


def test_review_with_the_weights_of_a_policy(run, traces, tmp_path):
    result = run("review", traces, "-r", "self:samples=2", "--policy", "tiny:checkpoint=sums",
                 "--out", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    reviews = (tmp_path / "out/reviews.jsonl").read_text()
    assert reviews.count('"mode": "consistency"') == 3


def test_a_policy_that_is_not_needed_is_not_loaded(run, traces, tmp_path):
    result = run("review", traces, "-r", "arithmetic", "--policy", "tiny:checkpoint=/nowhere",
                 "--out", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 0, result.stderr


@pytest.fixture
def leaning(tmp_path):
    """A recipe whose policy knows the token of ``terse``."""
    policy = load_policy({"kind": "tiny", "checkpoint": "sums"})
    add_reviewer_tokens(policy.model, policy.tokenizer, ["terse"])
    policy.model.save_pretrained(tmp_path / "model")
    policy.tokenizer.save_pretrained(tmp_path / "model")
    recipe = tmp_path / "leaning.yaml"
    recipe.write_text(RECIPE % (tmp_path / "model"))
    return recipe


def test_sampling_with_a_reviewers_token(run, leaning, tmp_path):
    sample = ["sample", leaning, "--problems", 1, "-n", 2]
    result = run(*sample, "--reviewer-token", "terse", "--out", tmp_path / "a")
    assert result.exit_code == 0, result.stderr
    assert "reviewer_token: terse" in (tmp_path / "a/config.yaml").read_text()
    result = run(*sample, "--reviewer-token", "none", "--out", tmp_path / "b")
    assert result.exit_code == 0, result.stderr
    result = run(*sample, "--reviewer-token", "ters", "--out", tmp_path / "c")
    assert result.exit_code == 2
    assert "no token of 'ters' (did you mean 'terse'?)" in result.stderr
    assert not (tmp_path / "c").exists()
