"""Reviewers valued in training: a policy whose skill depends on who reviews it."""

import json
import math
import random
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from apportion import UserError
from apportion.config import RunConfig
from apportion.policies.scripted import ScriptedPolicy
from apportion.records import RunDirectory, read_kind
from apportion.review import load_reviewer
from apportion.tasks import load_task
from apportion.train.grpo.batch import ReviewDesk
from apportion.train.grpo.reviewer_value import Measured, ReviewerValue, sampled_accuracy
from tests.train.grpo.test_batch import credited


class Pupil(ScriptedPolicy):
    """Answers a share ``skill`` of its completions right."""

    def __init__(self, task, skill=0.3):
        super().__init__(["unused"])
        self.task, self.skill = task, skill
        self.random = random.Random(0)

    def _completion(self, problem):
        right = self.random.random() < self.skill
        return self.task.gold_completion(problem) if right else "#### nothing"


class School:
    """What training is to the callback: updates that raise the skill by who reviews."""

    def __init__(self, folder, *, resume=False, skill=0.3, **options):
        self.gains = {"good": 0.04, "fair": 0.03, "bad": -0.02}
        self.task = load_task({"kind": "words", "operations": [1, 1]})
        self.pupil = Pupil(self.task, skill)
        options = {"every": 2, "problems": 100, "samples": 8, "cycles": 3} | options
        self.config = RunConfig.model_validate(
            {
                "name": "school",
                "reviewers": [{"kind": "gold", "name": name} for name in self.gains],
                "metalearning": options,
                "consensus": options.pop("consensus", {}),
                "train": {"prompts_per_update": 2, "group_size": 4},
            }
        )
        self.directory = RunDirectory(folder, resume=resume)
        self.said, self.weights, self.update = [], {}, 0

    def watch(self):
        return ReviewerValue(
            self.config, 0, self.task, self.pupil, self.directory,
            SimpleNamespace(say=self.said.append), names=list(self.gains),
            set_weights=self._set,
        )  # fmt: skip

    def _set(self, weights):
        self.weights = dict(weights)

    def train(self, watch, updates):
        state = SimpleNamespace(global_step=self.update)
        watch.on_train_begin(None, state, None)
        for _ in range(updates):
            total = sum(self.weights.values()) or 1.0
            step = sum(self.gains[n] * w / total for n, w in self.weights.items())
            self.pupil.skill = min(1.0, max(0.0, self.pupil.skill + step))
            state.global_step += 1
            watch.on_step_end(None, state, None)
        self.update = state.global_step

    def lines(self):
        return [line for line in read_kind(self.directory.path, "metrics")[0]]


def test_the_harmful_one_is_dropped_for_a_reason_and_the_rest_share_the_weight(tmp_path):
    school = School(tmp_path / "run")
    watch = school.watch()
    school.train(watch, 18)
    assert list(watch.bandit.dropped) == ["bad"] and watch.bandit.settled
    assert school.weights["bad"] == 0.0 and sum(school.weights.values()) == pytest.approx(3.0)
    assert any(text.startswith("reviewers, block 6: bad dropped: worth -") for text in school.said)
    lines = school.lines()
    assert [line.update for line in lines] == list(range(0, 18, 2))
    assert [line.rollouts for line in lines] == [8 * line.update for line in lines]
    decided = [d for line in lines for d in json.loads(line.metrics["reviewer/decisions"])]
    assert decided == [d._asdict() for d in watch.bandit.decisions]
    assert lines[-1].metrics["reviewer/weight/bad"] == 0.0
    assert lines[-1].metrics["reviewer/value/bad"]["high"] < 0
    # Two updates of 0.04 or of -0.02, measured within 4 standard errors of sampling.
    for line in lines[1:]:
        (name,) = json.loads(line.metrics["reviewer/used"])
        gain = line.metrics["reviewer/gain"]
        assert abs(gain["value"] - 2 * school.gains[name]) < 4 * gain["error"]


def test_nothing_is_measured_once_all_is_settled(tmp_path):
    school = School(tmp_path / "run", cycles=1)
    watch = school.watch()
    school.train(watch, 6)
    before, state = len(school.lines()), school.pupil.random.getstate()
    for update in range(7, 20):
        watch.on_step_end(None, SimpleNamespace(global_step=update), None)
    assert len(school.lines()) == before == 4
    assert school.pupil.random.getstate() == state


@pytest.mark.parametrize("stop", [2, 3, 17])
def test_a_resumed_run_decides_as_one_that_was_not_interrupted(tmp_path, stop):
    straight = School(tmp_path / "a")
    straight.train(straight.watch(), 18)
    first = School(tmp_path / "b")
    first.train(first.watch(), stop)
    first.directory.close()
    again = School(tmp_path / "b", resume=True)
    again.pupil, again.update = first.pupil, stop
    watch = again.watch()
    again.train(watch, 18 - stop)
    assert [line.metrics for line in again.lines()] == [line.metrics for line in straight.lines()]
    assert again.weights == straight.weights


def test_blocks_of_other_settings_are_refused(tmp_path):
    school = School(tmp_path / "run")
    school.train(school.watch(), 6)
    used = [json.loads(line.metrics["reviewer/used"]) for line in school.lines()[1:]]
    school.directory.close()
    others = [School(tmp_path / "run", resume=True, method="thompson")]
    with pytest.raises(UserError, match="which these settings would not have done"):
        others[0].watch()
    assert sorted(name for (name,) in used) == ["bad", "fair", "good"]


def test_measured_rates_leave_out_who_is_no_better_than_chance(tmp_path):
    rates = {"good": [0.9, 0.1], "fair": [0.7, 0.2], "bad": [0.4, 0.5]}
    school = School(tmp_path / "run", consensus={"rates": rates})
    watch = school.watch()
    school.train(watch, 2)
    assert watch.bandit.dropped == {"bad": "no better than chance on planted errors"}
    (said,) = school.said
    assert said == "reviewers, block 0: bad dropped: no better than chance on planted errors"


def test_sampled_accuracy_by_hand():
    task = load_task({"kind": "words", "operations": [1, 1]})
    problems = task.problems("validation", 2, 0)
    gold = [task.gold_completion(p) for p in problems]
    policy = ScriptedPolicy([gold[0], gold[0], gold[0], "#### nothing"] + ["#### nothing"] * 4)
    found = sampled_accuracy(policy, task, problems, samples=4, temperature=1.0, max_tokens=200)
    # 3 of 4 and 0 of 4: p = 0.7 and 0.1; sqrt((0.21 + 0.09) / 4) / 2.
    assert (found.accuracy, found.completions) == (0.375, 8)
    assert found.error == pytest.approx(math.sqrt(0.30 / 4) / 2)
    assert Measured.from_json(found.as_json()) == found
    unknown = [p.model_copy(update={"answers": ()}) for p in problems]
    with pytest.raises(UserError, match="no validation problem has an answer"):
        sampled_accuracy(policy, task, unknown, samples=1, temperature=1.0, max_tokens=9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": {"epochs": 3}}, "not a multiple of train.epochs 3"),
        ({"reviewers": ["gold"]}, "needs two reviewers or more, or control: true"),
        ({"consensus": {"rule": "dawid_skene"}}, "one reviewer at a time"),
        ({"consensus": {"min_reviews": 2}}, "one reviewer at a time"),
        ({"consensus": {"min_families": 2}}, "one reviewer at a time"),
    ],
)
def test_configurations_that_leave_nothing_to_learn_from_are_refused(change, message):
    base = {"name": "x", "reviewers": ["gold", "arithmetic"], "metalearning": {"every": 4}}
    RunConfig.model_validate(base)
    with pytest.raises(ValueError, match=message):
        RunConfig.model_validate(base | change)
    RunConfig.model_validate(base | change | {"metalearning": {"every": 0}})


# -- the desk --------------------------------------------------------------------------------------


def desk_of(reviewers, **options):
    from apportion.credit import load_method

    return ReviewDesk(
        reviewers, method=load_method("dca"), voting=options.pop("voting", {}), segmenter="line",
        reasoning_end=None, timeout=5.0, seed=0, **options,
    )  # fmt: skip


def test_weights_change_between_batches_and_who_has_none_is_not_asked():
    exact = load_reviewer("arithmetic")
    liar = load_reviewer(
        {"kind": "noisy", "inner": "arithmetic", "tpr": 0, "fpr": 1, "name": "liar"}
    )
    texts = ["3 * 4 = 12\n#### 12", "3 * 4 = 12\n3 + 4 = 8\n#### 8"]
    desk = desk_of([exact, liar], voting={"weights": {"arithmetic": 2.0}})

    def names(weights):
        desk.set_weights(weights)
        result = credited(texts, [1.0, 0.0], desk=desk)
        return result, {review.reviewer for reviews in result.reviews for review in reviews}

    both, asked = names({})
    assert asked == {"arithmetic", "liar"}
    assert both.samples[1].consensus.weights == {"arithmetic": 2.0, "liar": 1.0}
    alone, asked = names({"arithmetic": 1.5, "liar": 0.0})
    assert asked == {"arithmetic"}
    assert alone.samples[1].consensus.weights == {"arithmetic": 3.0}
    swapped, asked = names({"arithmetic": 0.0, "liar": 1.0})
    assert asked == {"liar"}
    assert swapped.samples[1].consensus.steps[0].label == "harmful"
    nobody, asked = names({"arithmetic": 0.0, "liar": 0.0})
    assert not asked and nobody.metrics["credit/moved"] == 0.0
    desk.close()


def test_cross_examination_in_training_is_on_record():
    exact = load_reviewer("arithmetic")
    swayed = load_reviewer(
        {"kind": "noisy", "inner": "arithmetic", "tpr": 0, "fpr": 1, "yields": 1, "name": "swayed"}
    )
    texts = ["3 * 4 = 12\n#### 12", "3 * 4 = 12\n3 + 4 = 8\n#### 8"]
    desks = [desk_of([exact, swayed], cross_examine=rounds) for rounds in (0, 2)]
    apart, joined = (credited(texts, [1.0, 0.0], desk=desk) for desk in desks)
    for desk in desks:
        desk.close()
    assert apart.metrics["credit/agreed_tokens"] == 0.0
    assert joined.metrics["credit/agreed_tokens"] > 0.5
    assert joined.reviews[1][1].meta["rounds"][0]["changed"]
