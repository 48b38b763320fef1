"""Reviewers are measured before they train, and their rates become weights."""

import pytest
import yaml

pytest.importorskip("torch")

from apportion import UserError
from apportion.config import RunConfig, expand_arms
from apportion.train import trust
from apportion.train.trust import trusted_arms

GOOD = {"kind": "noisy", "inner": "gold", "tpr": 0.9, "fpr": 0.1, "name": "good"}
LIAR = {"kind": "noisy", "inner": "gold", "tpr": 0.1, "fpr": 0.9, "name": "liar"}


def arms(**options):
    data = {"name": "x", "task": {"kind": "words", "operations": [1, 2]}, "seeds": [0, 1]}
    return expand_arms(RunConfig.model_validate(data | options))


def test_measured_rates_are_filled_in_once_for_all_arms(tmp_path, monkeypatch):
    asked = []
    measure = trust.measure_on_task
    monkeypatch.setattr(
        trust, "measure_on_task", lambda r, task, **o: asked.append(r.name) or measure(r, task, **o)
    )
    given = arms(reviewers=["gold", GOOD], consensus={"rates": "measured"})
    filled = trusted_arms(given, tmp_path).arms
    assert asked == ["gold", "good"]
    assert [(name, seed) for name, seed, _ in filled] == [("outcome", 0), ("outcome", 1)]
    rates = filled[0][2].consensus.rates
    assert filled[1][2].consensus.rates == rates
    assert rates["gold"][0] > 0.97 and rates["gold"][1] < 0.03
    assert rates["good"] == pytest.approx((0.9, 0.1), abs=0.08)
    # The configuration is written and read as JSON.
    again = RunConfig.model_validate(filled[0][2].model_dump(mode="json"))
    assert again == filled[0][2]


def test_given_rates_stay_and_nothing_is_filled_in_unasked(tmp_path):
    for rates in ({}, {"gold": [0.8, 0.3]}):
        given = arms(reviewers=["gold"], consensus={"rates": rates})
        assert trusted_arms(given, tmp_path).arms == given


def test_an_arm_that_was_begun_keeps_its_rates(tmp_path):
    given = arms(reviewers=["gold"], consensus={"rates": "measured"})
    begun = tmp_path / "outcome-s1" / "config.yaml"
    begun.parent.mkdir()
    begun.write_text(yaml.safe_dump({"consensus": {"rates": {"gold": [0.7, 0.25]}}}))
    first, second = (arm.consensus.rates for _, _, arm in trusted_arms(given, tmp_path).arms)
    assert second == {"gold": (0.7, 0.25)} and first["gold"][0] > 0.97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reviewers": [LIAR]}, "arm outcome: reviewer 'liar': Youden J .* not above 0"),
        (
            {"reviewers": [LIAR], "train": {"trust": "force"}, "consensus": {"rates": "measured"}},
            "arm outcome: consensus.rates: no reviewer is better than chance",
        ),
    ],
)
def test_refusals(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        trusted_arms(arms(**options), tmp_path)


def test_rates_that_cannot_be_measured_have_to_be_given(tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "measure_on_task", lambda reviewer, task, **options: None)
    with pytest.raises(UserError, match="rates of reviewer 'gold' cannot be measured on this task"):
        trusted_arms(arms(reviewers=["gold"], consensus={"rates": "measured"}), tmp_path)
    trusted_arms(arms(reviewers=["gold"]), tmp_path)


def test_forced_reviewers_at_chance_get_no_weight(tmp_path):
    options = {"train": {"trust": "force"}, "consensus": {"rates": "measured"}}
    filled = trusted_arms(arms(reviewers=["gold", LIAR], **options), tmp_path).arms
    from apportion.consensus import Voting

    voting = Voting(**filled[0][2].consensus.model_dump())
    assert voting.final_weights() == {"gold": 2.0, "liar": 0.0}


def test_a_paid_reviewer_is_measured_once_for_the_runs_beside_each_other(tmp_path):
    from tests.review.endpoint import serving

    with serving() as server:
        paid = {"kind": "llm", "base_url": server.url, "model": "judge", "retries": 0}
        options = {"reviewers": [paid], "train": {"trust": "force", "trust_problems": 6}}
        first = trusted_arms(arms(**options), tmp_path / "runs" / "a")
        asked = len(server.requests)
        assert asked == first.reports["llm"].reviews >= 4
        again = trusted_arms(arms(**options), tmp_path / "runs" / "b")
        assert len(server.requests) == asked
    assert again.reports["llm"].youden == first.reports["llm"].youden
    assert (tmp_path / "runs" / trust.MEASURED).is_file()


def test_nothing_is_opened_for_reviewers_that_cost_nothing(tmp_path):
    trusted_arms(arms(reviewers=["gold"], train={"trust_problems": 6}), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
