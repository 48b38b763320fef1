"""What a run does with input that it cannot use."""

import json

import pytest

pytest.importorskip("trl")

from apportion import UserError
from apportion.config import RunConfig
from apportion.train.measure.alarm import CollapseAlarm
from apportion.train.run import run_recipe

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    from apportion.policies.tiny import build_model
    from tests.train.tiny_setup import make_tokenizer

    folder = tmp_path_factory.mktemp("start")
    tokenizer = make_tokenizer()
    build_model(tokenizer, hidden_size=32, layers=2, heads=2, context=128).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def config(start, **changes):
    base = {
        "name": "faults",
        "task": {"kind": "words", "operations": [1, 1]},
        "policy": {"kind": "tiny", "checkpoint": str(start)},
        "credit": {"method": "dca"},
        "train": {
            "updates": 2, "prompts_per_update": 2, "group_size": 2,
            "max_completion_tokens": 8, "record_every": 1, "threads": 1,
        },
        "eval": {
            "every": 1, "problems": 2, "final_problems": 2, "showcase": 1,
            "samples": 2, "k": [1, 2],
        },
    }  # fmt: skip
    for key, value in changes.items():
        base[key] = base[key] | value if isinstance(base.get(key), dict) else value
    return RunConfig.model_validate(base)


def metrics(folder, split):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["metrics"] for line in lines if line["split"] == split]


def test_reviewer_down_for_the_whole_run_says_so_once_and_in_the_report(start, tmp_path, capsys):
    down = {"kind": "llm", "base_url": "http://127.0.0.1:9/v1", "model": "none", "retries": 0}
    setup = config(start, reviewers=[down], train={"trust": "force"})
    report = run_recipe(setup, tmp_path / "run", plain=True)
    printed = capsys.readouterr().out
    assert printed.count("every review failed") == 1
    assert "trains on the outcome alone" in printed
    assert all(m["review/failed"] == 1.0 for m in metrics(tmp_path / "run" / "dca-s0", "train"))
    assert "outcome" in report.read_text() and "failed" in report.read_text()


def test_reviewer_without_a_measured_quality_may_not_train(start, tmp_path):
    useless = {"kind": "noisy", "inner": "gold", "tpr": 0.2, "fpr": 0.8}
    with pytest.raises(UserError, match=r"arm dca: .*not above 0"):
        run_recipe(config(start, reviewers=[useless]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_prompt_longer_than_the_context(start, tmp_path):
    setup = config(start, train={"max_completion_tokens": 120})
    with pytest.raises(UserError, match=r"problem words-train-.* exceed the context of 128"):
        run_recipe(setup, tmp_path / "run")


def test_policy_path_that_does_not_exist(tmp_path):
    with pytest.raises(UserError, match=r"no model in '.*nowhere'"):
        run_recipe(config(tmp_path / "nowhere"), tmp_path / "run")


def test_every_evaluation_number_has_n_and_interval(start, tmp_path):
    run_recipe(config(start), tmp_path / "run", plain=True)
    (final,) = metrics(tmp_path / "run" / "dca-s0", "test")
    assert {"eval/accuracy", "eval/pass@1", "eval/pass@2", "eval/length"} <= set(final)
    assert final["eval/accuracy"]["n"] == 2
    assert 0 <= final["eval/accuracy"]["low"] <= final["eval/accuracy"]["high"] <= 1


def test_second_run_in_the_same_directory_is_refused(start, tmp_path):
    run_recipe(config(start), tmp_path / "run", plain=True)
    with pytest.raises(UserError, match="already holds a run"):
        run_recipe(config(start), tmp_path / "run")


class Options:
    enabled, accuracy_drop, length_ratio, steps_ratio, patience = True, 0.1, 0.5, 0.5, 2


def test_alarm_needs_patience_and_names_the_best_update():
    alarm = CollapseAlarm(Options())
    assert alarm.check(0, 0.5, 40, 4) is None
    assert alarm.check(10, 0.6, 40, 4) is None
    assert alarm.check(20, 0.3, 40, 4) is None
    assert alarm.check(30, 0.58, 40, 4) is None
    assert alarm.check(40, 0.3, 40, 4) is None
    assert "accuracy 0.200 after 0.600; best was update 10" in str(alarm.check(50, 0.2, 40, 4))


@pytest.mark.parametrize(("length", "steps", "words"), [(19, 4, "tokens"), (40, 1, "steps")])
def test_alarm_hears_shrinking_chains_before_accuracy_falls(length, steps, words):
    alarm = CollapseAlarm(Options())
    alarm.check(0, 0.5, 40, 4)
    alarm.check(10, 0.5, length, steps)
    assert words in str(alarm.check(20, 0.5, length, steps))


def test_alarm_can_be_off():
    options = Options()
    options.enabled = False
    alarm = CollapseAlarm(options)
    alarm.check(0, 0.9, 40, 4)
    assert [alarm.check(i, 0.0, 1, 0) for i in range(1, 5)] == [None] * 4
