"""What a run says of the worth of its reviewers, on its page and its card."""

import json

import pytest

from apportion.report import write_card, write_report
from apportion.report.data import load_run
from apportion.report.worth import worth_of

REASON = "worth -0.0400 [-0.06, -0.02] a block, 2 blocks; good +0.02; probability 0.001 <b>"


def decision(reviewer, action, block, reason):
    return {"block": block, "reviewer": reviewer, "action": action, "reason": reason}


def line(update, decided, good=1.0, bad=1.0):
    interval = {"n": 2, "low": -0.01, "high": 0.03}
    return {
        "update": update,
        "rollouts": 16 * update,
        "split": "validation",
        "metrics": {
            "reviewer/accuracy": {"value": 0.4, "n": 64, "low": 0.3, "high": 0.5},
            "reviewer/value/good": {"value": 0.01} | interval,
            "reviewer/value/bad": {"value": -0.04, "n": 2, "low": -0.06, "high": -0.02},
            "reviewer/value/nobody": {"value": 0.0} | interval,
            "reviewer/weight/good": good,
            "reviewer/weight/bad": bad,
            "reviewer/decisions": decided if isinstance(decided, str) else json.dumps(decided),
        },
    }


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    (folder / "dca-s0").mkdir(parents=True)
    lines = [
        line(0, [decision("good", "assigned", 0, "its turn")]),
        line(4, [decision("bad", "dropped", 2, REASON)], 2.0, 0.0),
        line(8, "{broken", 2.0, 0.0),
        {"update": 8, "rollouts": 128, "split": "validation",
         "metrics": {"eval/accuracy": {"value": 0.5, "n": 64}}},
    ]  # fmt: skip
    text = "".join(json.dumps(entry) + "\n" for entry in lines)
    (folder / "dca-s0" / "metrics.jsonl").write_text(text)
    return folder


def test_the_last_decision_with_its_update_and_its_reason(run_dir):
    worths = {worth.reviewer: worth for worth in worth_of(load_run(run_dir))}
    assert set(worths) == {"good", "bad", "nobody"}
    bad = worths["bad"]
    assert (bad.part, bad.weight, bad.dropped) == ("dca-s0", 0.0, True)
    assert bad.decision == f"dropped before block 2 (update 4): {REASON}"
    assert bad.gain == "−0.0400 [−0.0600, −0.0200]"
    assert worths["good"].decision == "" and not worths["good"].dropped
    assert worths["nobody"].weight is None
    assert worths["good"].sentence == "dca-s0: good, weight 2.00: nothing decided yet"


def test_page_and_card_say_who_was_dropped_and_why(run_dir):
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert "What their credit was worth" in page
    assert "dropped before block 2 (update 4): worth -0.0400" in page
    assert "probability 0.001 &lt;b&gt;" in page and "0.001 <b>" not in page
    card = write_card(run_dir).read_text(encoding="utf-8")
    assert "## What the reviewers were worth" in card
    assert "bad, weight 0.00: dropped before block 2 (update 4)" in card


def test_runs_that_did_not_learn_it_say_nothing(run_dir):
    file = run_dir / "dca-s0" / "metrics.jsonl"
    file.write_text(file.read_text().splitlines()[-1] + "\n")
    assert worth_of(load_run(run_dir)) == []
    assert "What their credit was worth" not in write_report(run_dir).read_text(encoding="utf-8")
    assert "reviewers were worth" not in write_card(run_dir).read_text(encoding="utf-8")


def test_the_card_says_how_good_the_reviewers_measured(run_dir):
    from apportion.review import load_reviewer, measure_on_task
    from apportion.tasks import load_task

    report = measure_on_task(load_reviewer("gold"), load_task("words"), problems=3)
    assert report is not None
    path = run_dir / "reviewers.json"
    path.write_text(json.dumps({"gold": report.model_dump(mode="json")}))
    card = write_card(run_dir).read_text(encoding="utf-8")
    assert f"gold: Youden J {report.youden}".replace("[", "\\[").replace("]", "\\]") in card
    path.write_text("{broken")
    assert "reviewers.json cannot be read" in write_card(run_dir).read_text(encoding="utf-8")
