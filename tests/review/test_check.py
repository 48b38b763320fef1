"""Measuring a reviewer before it is trusted."""

from __future__ import annotations

import random

import pytest

from apportion.errors import UserError
from apportion.review import load_reviewer, measure_on_task, measure_reviewer, require_trust
from apportion.review.check import measure_on_labels
from apportion.review.report import share
from apportion.review.scripted import ScriptedReviewer
from apportion.tasks import Planted, load_task
from apportion.tasks.base import PlantedKind
from apportion.trace import Review, Step, StepVerdict
from tests.review.helpers import CHAIN, item, problem

WRONG = StepVerdict(label="harmful", correct=False, confidence=0.9)
RIGHT = StepVerdict(label="useful", correct=True, confidence=0.9)
NONE = StepVerdict()
STEPS = item().steps


def plants(*truths: tuple[StepVerdict, ...], kind: PlantedKind = "wrong_arithmetic"):
    return [(problem(), Planted(kind, CHAIN, tuple(STEPS), truth)) for truth in truths]


def says(*answers: tuple[StepVerdict, ...] | None) -> ScriptedReviewer:
    """The k-th chain gets the k-th answer; None raises."""
    replies = iter(answers)

    def script(problem, text, steps, critique):
        answer = next(replies)
        if answer is None:
            raise RuntimeError("down")
        return answer

    return ScriptedReviewer(script)


def test_rates_counted_by_hand():
    truth = plants((WRONG, RIGHT, RIGHT), (WRONG, WRONG, RIGHT), (RIGHT, RIGHT, NONE), (WRONG,) * 3)
    reviewer = says((WRONG, WRONG, RIGHT), (WRONG, RIGHT, NONE), (RIGHT, RIGHT, WRONG), None)
    report = measure_reviewer(reviewer, truth, max_concurrency=1)
    assert report.reviews == 4
    # Wrong: called, called, missed. Right: alarm, ok, (not judged), ok, ok. One without a truth.
    assert report.tpr is not None
    assert (report.tpr.value, report.tpr.n) == (pytest.approx(2 / 3), 3)
    assert report.fpr is not None
    assert (report.fpr.value, report.fpr.n) == (pytest.approx(1 / 4), 4)
    assert report.youden is not None
    assert report.youden.value == pytest.approx(2 / 3 - 1 / 4)
    assert report.abstained is not None
    assert (report.abstained.value, report.abstained.n) == (pytest.approx(1 / 8), 8)
    assert report.failed is not None
    assert (report.failed.value, report.failed.n) == (0.25, 4)
    assert report.errors == {"RuntimeError: down": 1}
    # 5 of 7 judged rightly, all at 0.9.
    assert report.ece == pytest.approx(abs(5 / 7 - 0.9))
    assert report.ece_steps == 7
    assert report.agreement is not None
    assert report.agreement.value == pytest.approx(5 / 7)
    assert any("Youden J" in line for line in report.lines())


def test_wilson_intervals():
    rate = share(8, 10)
    assert rate is not None
    assert (rate.low, rate.high) == (
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    sure = share(10, 10)
    assert sure is not None
    assert sure.high == 1.0
    assert share(0, 0) is None


def test_calibration_is_per_bin():
    half = StepVerdict(label="useful", correct=True, confidence=0.5)
    sure = StepVerdict(label="useful", correct=True, confidence=1.0)
    truth = plants((RIGHT, WRONG, RIGHT), (RIGHT, RIGHT, RIGHT))
    report = measure_reviewer(says((half, half, sure), (sure,) * 3), truth, max_concurrency=1)
    assert report.ece == pytest.approx(0.0), "half right at 0.5, all right at 1.0"
    silent = measure_reviewer(says((NONE,) * 3), truth[:1])
    assert silent.ece is None
    assert silent.abstained is not None
    assert silent.abstained.value == 1.0


def test_the_interval_of_j_covers_the_truth():
    """40 reviewers of J = 0.5, measured on 30 chains each: about 95 % of the intervals hold 0.5."""
    covered = 0
    for seed in range(40):
        rng = random.Random(seed)
        truth = plants(*[(WRONG, RIGHT, RIGHT)] * 30)
        truth = [
            (p.model_copy(update={"id": f"p{i}"}), plant) for i, (p, plant) in enumerate(truth)
        ]
        answers = [
            tuple(WRONG if rng.random() < rate else RIGHT for rate in (0.75, 0.25, 0.25))
            for _ in truth
        ]
        youden = measure_reviewer(says(*answers), truth, max_concurrency=1).youden
        assert youden is not None
        covered += youden.low <= 0.5 <= youden.high
    assert covered >= 34


def test_another_cut_is_aligned_by_overlap():
    middle = STEPS[1].start + 5
    cut = (Step(0, middle), Step(middle, STEPS[1].end), Step(STEPS[1].end, STEPS[2].end))
    recorded = Review(
        rollout_id=f"p1/clean/{0}", reviewer="x", steps=cut, verdicts=(RIGHT, WRONG, RIGHT)
    )
    report = measure_reviewer(
        ScriptedReviewer([recorded]), plants((RIGHT, WRONG, RIGHT), kind="clean")
    )
    assert report.tpr is not None
    assert report.tpr.value == 1.0
    assert report.fpr is not None
    assert (report.fpr.value, report.fpr.n) == (0.0, 2)


def test_noisy_reviewers_measure_as_they_were_made():
    task = load_task("words")
    for tpr, fpr in ((0.75, 0.25), (0.5, 0.5), (0.25, 0.5)):
        spec = {"kind": "noisy", "inner": "gold", "tpr": tpr, "fpr": fpr}
        report = measure_on_task(load_reviewer(spec), task)
        assert report is not None
        assert report.youden is not None
        assert report.youden.low <= tpr - fpr <= report.youden.high
        assert set(report.kinds) >= {"clean", "wrong_arithmetic", "wrong_operand", "lucky_answer"}


def test_the_arithmetic_reviewer_sees_wrong_sums_and_no_wrong_operands():
    report = measure_on_task(load_reviewer("arithmetic"), load_task("words"))
    assert report is not None
    rates = {kind: of_kind.tpr for kind, of_kind in report.kinds.items()}
    sums, operands = rates["wrong_arithmetic"], rates["wrong_operand"]
    assert sums is not None
    assert sums.value == 1.0
    assert operands is not None
    assert operands.value == 0.0
    assert report.fpr is not None
    assert report.fpr.value == 0.0


def test_labelled_reviews_are_a_truth_too():
    items = [item(rollout_id=f"r{i}") for i in range(3)]
    labels = [
        Review(
            rollout_id="r0", reviewer="anna", steps=tuple(STEPS), verdicts=(RIGHT, WRONG, RIGHT)
        ),
        Review(rollout_id="r1", reviewer="anna", error="did not have the time"),
        Review(rollout_id="elsewhere", reviewer="anna"),
    ]
    report = measure_on_labels(load_reviewer("arithmetic"), items, labels)
    assert report.reviews == 1
    assert list(report.kinds) == ["anna"]
    assert report.tpr is not None
    assert report.tpr.value == 0.0


def test_a_task_that_plants_nothing_measures_nothing():
    class Bare:
        def problems(self, split, n, seed):
            return [problem()]

        def corruptions(self, problem, seed):
            return []

    assert measure_on_task(load_reviewer("arithmetic"), Bare()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("youden", [0.0, -0.3, None])
def test_training_on_a_useless_reviewer_is_refused_unless_forced(youden):
    with pytest.raises(UserError, match="Youden J on planted errors") as caught:
        require_trust(youden)
    assert "\n" not in str(caught.value)
    require_trust(youden, force=True)


def test_a_guess_that_came_out_above_zero_is_not_trusted():
    report = measure_on_task(load_reviewer("gold"), load_task("words"), problems=3)
    assert report is not None and report.youden is not None
    low = report.youden.model_copy(update={"value": 0.136, "low": -0.4, "high": 0.6})
    with pytest.raises(UserError, match=r"is 0\.136 \[-0\.400, 0\.600\] of \d+, which may be 0"):
        require_trust(report.model_copy(update={"youden": low}))
    require_trust(report.model_copy(update={"youden": low.model_copy(update={"low": 0.01})}))


def test_a_useful_reviewer_is_trusted_and_a_harmful_one_named():
    task = load_task("words")
    require_trust(measure_on_task(load_reviewer("arithmetic"), task))
    bad = {"kind": "noisy", "inner": "gold", "tpr": 0.2, "fpr": 0.6, "name": "bad"}
    with pytest.raises(UserError, match=r"reviewer 'bad': .* is -0\.\d+ .*, not above 0 \(TPR"):
        require_trust(measure_on_task(load_reviewer(bad), task))
    with pytest.raises(UserError, match=r"cannot be measured \(RuntimeError: down\)"):
        require_trust(measure_reviewer(says(None), plants((WRONG, RIGHT, RIGHT))))
