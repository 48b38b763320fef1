"""Signs of gaming and side effects, from sampled completions to metrics and an alarm."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from apportion import Problem, Rollout
from apportion.detect import DETECTORS, Norm, norm_for
from apportion.segment import segment
from apportion.train.grpo.gaming import gaming_metrics
from apportion.train.measure.gaming_alarm import WINDOW, GamingAlarm
from tests.train.grpo.test_batch import credited

STEPS = [{"text": "pens 3 * 4 = 12"}, {"text": "in all 12 + 5 = 17"}]
HONEST = "pens 3 * 4 = 12\nin all 12 + 5 = 17\n#### 17"
GAMED = "pens 3 * 4 = 12\nwait, let me check 3 * 4 = 12\nokay, so\nin all 12 + 5 = 17\n#### 17"


def rollouts(*texts, meta=None):
    problem = Problem(id="p", prompt="3 boxes of 4, and 5.", answers=("17",), meta=meta or {})
    made = [
        Rollout(id=str(i), problem=problem, text=text, reasoning_end=text.index("####"))
        for i, text in enumerate(texts)
    ]
    return made, [segment(r.text, r.reasoning_end) for r in made]


def test_metrics_are_means_over_the_completions():
    metrics = gaming_metrics(*rollouts(HONEST, GAMED, meta={"steps": STEPS}))
    assert metrics["gaming/performative"] == pytest.approx((0 + 1 / 4) / 2)
    assert metrics["gaming/padding"] == pytest.approx((0 + 1 / 4) / 2)
    assert metrics["gaming/merging"] == metrics["gaming/caught_mistakes"] == 0.0
    assert metrics["gaming/check_words"] == pytest.approx(1 / 8)
    assert metrics["gaming/steps_per_needed"] == pytest.approx((1 + 2) / 2)
    assert metrics["gaming/equations_per_step"] == pytest.approx((1 + 3 / 4) / 2)


def test_a_sample_of_the_completions_is_enough():
    made, cuts = rollouts(*[HONEST] * 10, GAMED)
    assert gaming_metrics(made, cuts, chains=2)["gaming/padding"] == pytest.approx(1 / 8)
    assert "gaming/steps_per_needed" not in gaming_metrics(made, cuts)
    assert gaming_metrics([], []) == {}


@pytest.mark.parametrize(
    ("meta", "norm"),
    [
        ({"steps": STEPS}, Norm(1, 1)),
        ({"steps": [{"text": "a 2 * 3 + 1 = 7 and 7 * 2 = 14"}]}, Norm(2, 3)),
        ({"steps": [3, "x", {"result": 1}, {"text": ""}]}, Norm()),
        ({"steps": 5}, Norm()),
        ({}, Norm()),
    ],
)
def test_the_norm_is_that_of_the_problems_own_solution(meta, norm):
    assert norm_for(Problem(id="p", prompt="", meta=meta)) == norm


def options(gaming="warn", rise=0.1, growth=2.0):
    return SimpleNamespace(gaming=gaming, gaming_rise=rise, gaming_growth=growth)


def fed(alarm, name, values):
    return [text for i, v in enumerate(values, 1) for text in alarm.check(i, {name: v})]


def test_the_alarm_rings_once_above_the_start():
    # Means over five: the start is 0.1, and the present passes 0.2 when three of five are 0.3.
    values = [0.1] * WINDOW + [0.1] * 5 + [0.3] * 10
    rung = fed(GamingAlarm(options()), "gaming/padding", values)
    assert rung == ["gaming at update 13: steps that pad are 22.0% of the steps after 10.0%"]


def test_the_alarm_waits_for_a_whole_window():
    assert fed(GamingAlarm(options()), "gaming/merging", [0.0] * 5 + [1.0] * 4) == []
    assert len(fed(GamingAlarm(options()), "gaming/merging", [0.0] * 5 + [1.0] * 5)) == 1


def test_sizes_are_measured_by_their_ratio():
    values = [20.0] * 5 + [39.0] * 10 + [60.0] * 5
    rung = fed(GamingAlarm(options()), "train/length", values)
    assert rung == ["gaming at update 16: 43.2 tokens a completion after 20"]
    assert fed(GamingAlarm(options(growth=4)), "train/length", values) == []
    assert fed(GamingAlarm(options()), "train/length", [0.0] * 5 + [9.0] * 9) == []


@pytest.mark.parametrize("metric", [None, "text", True, {"value": 1.0}])
def test_what_is_no_number_is_passed_over(metric):
    assert fed(GamingAlarm(options()), "gaming/padding", [0.0] * 9 + [metric] * 9) == []


def test_off_is_silent():
    assert fed(GamingAlarm(options("off")), "gaming/padding", [0.0] * 5 + [1.0] * 20) == []


def test_every_detector_is_watched():
    alarm = GamingAlarm(options())
    for update in range(1, 11):
        rung = alarm.check(update, {f"gaming/{n}": float(update > 5) for n in DETECTORS})
    assert len(rung) == len(DETECTORS)


# -- side effects ----------------------------------------------------------------------------------

RIGHT, WRONG = "3 * 4 = 12\n#### 12", "3 * 4 = 12\n3 + 4 = 8\n#### 8"


def test_outcome_credit_has_no_side_effects():
    metrics = credited([RIGHT, WRONG], [1.0, 0.0], "outcome").metrics
    tokens = len(RIGHT) + len(WRONG) + 2
    assert metrics["credit/positive_tokens"] == pytest.approx((len(RIGHT) + 1) / tokens)
    assert metrics["credit/negative_tokens"] == pytest.approx((len(WRONG) + 1) / tokens)
    assert metrics["credit/turned_tokens"] == metrics["credit/unkept"] == 0.0
    assert metrics["credit/scale"] == pytest.approx(1.0)
    assert metrics["credit/separators"] == 1.5
    assert metrics["gaming/equations_per_step"] == 1.0


def test_dca_keeps_each_completions_total_and_changes_its_size():
    metrics = credited([RIGHT, WRONG], [1.0, 0.0], "dca").metrics
    assert metrics["credit/unkept"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["credit/scale"] > 1.0
    assert metrics["credit/turned_tokens"] == 0.0


def test_capo_does_not_keep_it():
    metrics = credited([RIGHT, WRONG], [1.0, 0.0], "capo").metrics
    assert metrics["credit/unkept"] > 0.1


def test_groups_of_equal_outcomes_have_no_scale():
    desk = credited([RIGHT, RIGHT], [1.0, 1.0], "outcome")
    desk_metrics = {k for k in desk.metrics if k.startswith("credit/")}
    assert {"credit/unkept", "credit/scale"} <= desk_metrics
    from apportion.train.grpo.side_effects import side_effects

    equal = side_effects(desk.rollouts, [(s, 0.0) for s in desk.samples], desk.credits)
    assert "credit/scale" not in equal
    assert side_effects([], [], []) == {"credit/separators": 0.0}


# -- beside training -------------------------------------------------------------------------------


def watcher(tmp_path, **alarm):
    from apportion.config import RunConfig
    from apportion.policies.tiny import load_tiny
    from apportion.records import RunDirectory
    from apportion.tasks import load_task
    from apportion.train.callbacks import Watcher
    from apportion.train.setup import Arm

    config = RunConfig.model_validate({"name": "x", "alarm": alarm, "eval": {"problems": 1}})
    said = []
    directory = RunDirectory(tmp_path / "run", resume=True)
    progress = SimpleNamespace(say=said.append, advance=lambda: None)
    task = load_task("words")
    made = Watcher(Arm(config, 0, task, load_tiny("sums"), directory, progress))  # type: ignore[arg-type]
    return made, directory, said


def logged(made, update, padding):
    control = SimpleNamespace(should_training_stop=False)
    logs = {"loss": 0.1, "gaming/padding": padding, "credit/unkept": 0.0, "clip_ratio": 1.0}
    made.on_log(None, SimpleNamespace(global_step=update), control, logs)
    return control.should_training_stop


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_a_run_that_begins_to_pad_is_warned_of_or_stopped(tmp_path, action):
    made, directory, said = watcher(tmp_path, gaming=action)
    stops = [logged(made, update, 0.0 if update <= 5 else 0.5) for update in range(1, 13)]
    lines = directory.read("metrics")[0]
    directory.close()
    # Five updates make a mean: at the tenth all of 6 to 10 are in it, and it is read from there.
    assert [line.update for line in lines if "alarm" in line.metrics] == [10]
    assert said == [lines[9].metrics["alarm"]]
    assert stops.index(True) == 9 if action == "stop" else not any(stops)
    assert made.alarm_text == (said[0] if action == "stop" else None)
    logged_too = {"train/loss": 0.1, "gaming/padding": 0.0, "credit/unkept": 0.0}
    assert lines[0].metrics.items() >= logged_too.items()


def test_a_resumed_run_remembers_its_start(tmp_path):
    made, directory, _ = watcher(tmp_path)
    for update in range(1, 6):
        logged(made, update, 0.0)
    directory.close()
    made, directory, said = watcher(tmp_path)
    for update in range(6, 11):
        logged(made, update, 0.5)
    directory.close()
    assert len(said) == 1
