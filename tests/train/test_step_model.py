"""A step model learns from reviews what holds on problems it never saw."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from apportion import Review, Rollout, Step, StepVerdict, UserError
from apportion.review import Item, load_reviewer, measure_on_task, require_trust, review_now
from apportion.review.learned import FACTS_FILE, WEIGHTS_FILE, StepModel, StepModelReviewer
from apportion.review.step_features import NUMBERS, WORDS, features_of
from apportion.tasks import load_task
from apportion.train.distil import beside_teacher, threshold_for
from apportion.train.step_model import fit, from_outcomes, from_reviews, together
from tests.review.helpers import CHAIN, PROMPT, ask, item

TASK = load_task("words")


def planted(count: int) -> tuple[list[Rollout], list[Item]]:
    rollouts, items = [], []
    for problem in TASK.problems("train", count, 21):
        for i, made in enumerate(TASK.corruptions(problem, 0)):
            outcome = TASK.score(problem, made.text)
            end = TASK.reasoning_end(made.text)
            name = f"{problem.id}/{i}"
            rollouts.append(
                Rollout(
                    id=name, problem=problem, text=made.text, reasoning_end=end, outcome=outcome
                )
            )
            items.append(Item(problem, made.text, made.steps, outcome, name))
    return rollouts, items


@pytest.fixture(scope="module")
def recorded():
    """120 training problems with planted errors, reviewed by an exact teacher."""
    rollouts, items = planted(120)
    rows = review_now([load_reviewer("gold")], items)
    return rollouts, [review for row in rows for review in row]


@pytest.fixture(scope="module")
def fitted(recorded):
    return fit(from_reviews(*recorded), teacher="gold", epochs=15)


def test_it_is_nearly_as_right_as_its_teacher_on_new_problems(fitted):
    report = measure_on_task(StepModelReviewer(fitted.model), TASK, problems=25)
    assert report is not None and report.youden is not None and report.fpr is not None
    assert report.youden.low > 0.55
    assert report.fpr.value < 0.03
    assert report.kinds["wrong_arithmetic"].tpr.value > 0.95
    assert report.ece is not None and report.ece < 0.05
    require_trust(report)
    assert fitted.loss < 0.5 * fitted.base_loss
    assert fitted.brier < 0.5 * fitted.base_brier
    assert fitted.agreement.value > 0.9
    assert fitted.held_out > 80
    assert fitted.model.parameters == (NUMBERS + WORDS + 1) * 32 + 32 * 3 + 3


def test_the_threshold_matches_the_teachers_false_positives(fitted):
    teacher = load_reviewer({"kind": "noisy", "inner": "gold", "tpr": 0.9, "fpr": 0.1})
    found = beside_teacher(fitted.model, TASK, teacher, problems=15)
    assert set(found) == {"step_model", "teacher", "equal_fpr"}
    own, equal, other = found["step_model"], found["equal_fpr"], found["teacher"]
    assert equal.threshold < own.threshold == 0.5
    assert equal.report.fpr.value == pytest.approx(other.report.fpr.value, abs=0.07)
    assert equal.report.tpr.value >= own.report.tpr.value
    assert 0 < own.seconds < 0.1
    assert own.tokens == other.tokens == 0
    assert "at threshold 0.500" in own.line("x")
    assert json.dumps(equal.as_json())


def test_thresholds_by_hand(fitted):
    strict = threshold_for(fitted.model, TASK, 0.0, problems=10)
    loose = threshold_for(fitted.model, TASK, 0.5, problems=10)
    assert loose < strict <= 1.0
    assert threshold_for(fitted.model, TASK, 1.0, problems=10) == 0.0


def test_the_same_seed_gives_the_same_model(recorded):
    rollouts, reviews = recorded
    examples = from_reviews(rollouts, reviews[:300])
    one, two = (fit(examples, teacher="gold", epochs=2, seed=3).model for _ in range(2))
    other = fit(examples, teacher="gold", epochs=2, seed=4).model
    assert np.array_equal(one.numbers, two.numbers)
    assert not np.array_equal(one.numbers, other.numbers)


def test_the_network_and_its_numpy_twin_agree(recorded):
    import torch

    from apportion.train.step_model import _Network, _Rows

    rollouts, reviews = recorded
    examples = from_reviews(rollouts[:20], reviews)
    network = _Network(examples, 8, 0.0, torch.Generator().manual_seed(0))
    model = StepModel(**network.state(), facts=fit_facts())
    with torch.no_grad():
        log_p = network.log_p(_Rows(examples), torch.arange(len(examples)), None).numpy()
    by_hand = [
        model.probabilities(r.problem.prompt, r.text, review.steps)
        for r, review in zip(rollouts[:20], reviews, strict=False)
    ]
    assert np.allclose(np.exp(log_p), np.concatenate(by_hand), atol=1e-5)


def fit_facts(**changed):
    from apportion.review.learned import StepModelFacts

    return StepModelFacts(**({"teacher": "t"} | changed))


def test_outcomes_alone_teach_a_value(recorded):
    rollouts, reviews = recorded
    cuts = {review.rollout_id: review.steps for review in reviews}
    learned = fit(from_outcomes(rollouts, cuts), teacher="outcome", target="outcome", epochs=15)
    assert learned.model.facts.target == "outcome"
    assert learned.brier < learned.base_brier
    report = measure_on_task(StepModelReviewer(learned.model), TASK, problems=15)
    assert report is not None and report.youden is not None and report.youden.value > 0.1


# -- what may be learned from ----------------------------------------------------------------------


def review_of(rollout: Rollout, *verdicts: StepVerdict, error: str | None = None) -> Review:
    steps = [Step(i, i + 1) for i in range(len(verdicts))]
    return Review(
        rollout_id=rollout.id, reviewer="t", steps=tuple(steps), verdicts=verdicts, error=error
    )


def test_labels_are_taken_as_far_as_they_go():
    rollout = Rollout(id="r", problem=item().problem, text="abcdef", reasoning_end=6, outcome=0.0)
    said = (
        StepVerdict(label="useful", correct=True),
        StepVerdict(correct=True),
        StepVerdict(correct=False),
        StepVerdict(),
        StepVerdict(label="irrelevant"),
    )
    elsewhere = review_of(rollout.model_copy(update={"id": "x"}), said[0])
    failed = review_of(rollout, error="down")
    examples = from_reviews([rollout], [review_of(rollout, *said), elsewhere, failed])
    assert examples.allowed.tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
        [False, True, False],
    ]
    outcome = from_outcomes([rollout], {"r": [Step(0, 3), Step(3, 6)]})
    assert outcome.allowed.tolist() == [[False, False, True]] * 2
    undecided = rollout.model_copy(update={"outcome": None})
    assert len(from_outcomes([undecided], {"r": [Step(0, 3)]})) == 0
    assert len(together([examples, outcome])) == 6
    assert len(together([])) == 0


def test_too_little_to_learn_from_is_refused(recorded):
    rollouts, reviews = recorded
    few = from_reviews(rollouts[:3], reviews)
    with pytest.raises(UserError, match="too few to learn from, 50 are needed"):
        fit(few, teacher="gold")
    right = [
        review.model_copy(
            update={"verdicts": tuple(StepVerdict(correct=True) for _ in review.steps)}
        )
        for review in reviews
    ]
    with pytest.raises(UserError, match="no step to learn from is wrong"):
        fit(from_reviews(rollouts, right), teacher="gold")
    one = [r.model_copy(update={"problem": rollouts[0].problem}) for r in rollouts]
    with pytest.raises(UserError, match="1 problems, too few to hold some out"):
        fit(from_reviews(one, reviews), teacher="gold")


# -- the reviewer ----------------------------------------------------------------------------------


def test_saved_and_loaded_it_says_the_same(fitted, tmp_path):
    fitted.model.save(tmp_path / "m")
    loaded = load_reviewer({"kind": "step_model", "path": str(tmp_path / "m")})
    chain = item(CHAIN.replace("= 10\n", "= 11\n"))
    (here,), (there,) = ask(StepModelReviewer(fitted.model), chain), ask(loaded, chain)
    assert here.verdicts == there.verdicts
    assert [v.label == "harmful" for v in there.verdicts] == [False, True, False]
    assert there.verdicts[2].depends_on == (0,)  # it takes 10, not the 11 that was stated
    assert there.usage.seconds > 0 and there.usage.usd == 0.0
    assert all(0.5 <= v.confidence <= 1 for v in there.verdicts if v.label != "useful")
    strict = load_reviewer({"kind": "step_model", "path": str(tmp_path / "m"), "threshold": 0.0})
    assert {v.label for v in ask(strict, chain)[0].verdicts} == {"harmful"}


def test_no_steps_give_no_verdicts(fitted):
    (review,) = ask(StepModelReviewer(fitted.model), item("#### 5"))
    assert review.ok and review.verdicts == ()


@pytest.mark.parametrize("text", ["", "=", "9" * 5000 + " = 1", "\x00 \ud800", "1 / 0 = 3"])
def test_hostile_steps_have_finite_features(text):
    features = features_of(PROMPT, text, [Step(0, len(text))] if text else [])
    assert np.isfinite(features.numbers).all()
    assert features.numbers.shape == (int(bool(text)), NUMBERS)
    assert all((bucket < WORDS).all() for bucket in features.buckets)


def test_a_step_is_described_by_where_its_numbers_come_from():
    text = "pens cost 3 * 4 = 12\nin all 12 + 10 = 22\n"
    features = features_of(PROMPT, text, [Step(0, 21), Step(21, len(text))])
    first, second = features.numbers
    operand = NUMBERS - 16  # the first of two operands with eight numbers each
    assert first[operand : operand + 2].tolist() == [1.0, 0.0]  # 3 stands in the problem
    assert second[operand : operand + 2].tolist() == [0.0, 1.0]  # 12 is made by the first step
    assert second[operand + 6] == 1.0  # one step ago
    assert features.depends_on == [(), (0,)]


# -- damaged files ---------------------------------------------------------------------------------


def load_damaged(folder):
    return load_reviewer({"kind": "step_model", "path": str(folder)})


def test_a_missing_model_says_how_to_train_one(tmp_path):
    with pytest.raises(UserError, match="holds no step model: train one by 'apportion distil"):
        load_damaged(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        (FACTS_FILE, b"{", "cannot be read"),
        (FACTS_FILE, b'{"teacher": "t", "features": 99}', "features of version 99"),
        (WEIGHTS_FILE, b"no archive", "cannot be read"),
        (WEIGHTS_FILE, None, "holds no step model"),
    ],
)
def test_damaged_models_are_refused(fitted, tmp_path, file, content, complaint):
    fitted.model.save(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        load_damaged(tmp_path)


def test_weights_of_another_shape_are_refused(fitted, tmp_path):
    from dataclasses import replace

    replace(fitted.model, out=np.zeros((5, 3))).save(tmp_path)
    with pytest.raises(UserError, match=r"out has the shape \(5, 3\), not \(32, 3\)"):
        load_damaged(tmp_path)
