"""Chains with an answer in sight: what the policy reads, and what the record says."""

from __future__ import annotations

from pathlib import Path

import pytest

from apportion.errors import UserError
from apportion.policies.base import rollout_id
from apportion.policies.in_sight import sample_in_sight
from apportion.trace import Problem, Rollout

PROBLEMS = [Problem(id=f"p{i}", prompt=f"{i} + 1\n", answers=(str(i + 1),)) for i in range(2)]


class Echo:
    """Answers with what it was asked."""

    name = "echo"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def sample(self, problems, *, n=1, temperature=1.0, max_tokens=256, seed=0, reasoning_end=len):
        self.asked += [p.prompt for p in problems]
        return [
            Rollout(
                id=rollout_id(p, seed, k), problem=p, text=f"said {p.id}\n#### 1", reasoning_end=8,
            )
            for p in problems for k in range(n)
        ]  # fmt: skip


@pytest.mark.parametrize("prompt", ["neutral", "suppressed", "hint", "answer_first", "equation"])
def test_the_policy_sees_the_answer_and_the_record_the_question_alone(prompt: str) -> None:
    policy = Echo()
    found = sample_in_sight(policy, PROBLEMS, prompt, n=2)
    assert len(policy.asked) == 2
    for asked, problem in zip(policy.asked, PROBLEMS, strict=True):
        assert problem.answers[0] in asked.replace(problem.prompt.rstrip("\n"), "")
    assert [r.problem for r in found] == [PROBLEMS[0], PROBLEMS[0], PROBLEMS[1], PROBLEMS[1]]
    assert [r.meta["shown"] for r in found] == ["1", "1", "2", "2"]
    assert {r.meta["prompt"] for r in found} == {prompt}


def test_a_suppressed_prompt_says_what_the_neutral_one_does_not() -> None:
    policy = Echo()
    sample_in_sight(policy, PROBLEMS[:1], "neutral")
    sample_in_sight(policy, PROBLEMS[:1], "suppressed")
    assert "do not mention" in policy.asked[1] and "do not mention" not in policy.asked[0]


def test_the_skeleton_is_written_first_and_then_filled() -> None:
    policy = Echo()
    found = sample_in_sight(policy, PROBLEMS[:1], "skeleton")
    plan, fill = policy.asked
    assert "without the answer" in plan and "said p0" not in plan
    assert "said p0\n#### 1" in fill
    assert found[0].meta["skeleton"] == "said p0\n#### 1"


def test_other_answers_can_be_shown() -> None:
    policy = Echo()
    found = sample_in_sight(policy, PROBLEMS, "neutral", answers=["77", "88"])
    assert "77" in policy.asked[0] and found[1].meta["shown"] == "88"
    with pytest.raises(UserError, match="2 problems and 1 answers"):
        sample_in_sight(policy, PROBLEMS, "neutral", answers=["77"])


def test_bad_prompts_and_problems_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'neutral'"):
        sample_in_sight(Echo(), PROBLEMS, "neutrale")
    (tmp_path / "mine.md").write_text("{problem} {answer} {skeleton}")
    with pytest.raises(UserError, match="mine_plan"):
        sample_in_sight(Echo(), PROBLEMS, str(tmp_path / "mine.md"))
    with pytest.raises(UserError, match="no gold answer"):
        sample_in_sight(Echo(), [Problem(id="x", prompt="?")], "neutral")
