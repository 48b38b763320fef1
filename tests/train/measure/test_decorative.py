"""Taking flagged steps out, with the policy that ships."""

import pytest

pytest.importorskip("torch")

from apportion import Rollout
from apportion.detect import DETECTORS, find_all, norm_for
from apportion.policies.tiny import load_tiny
from apportion.review import Item, load_reviewer, review_now
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.train.measure.decorative import Decorative, decorative_share, labelled_steps

TASK = load_task("words")


@pytest.fixture(scope="module")
def policy():
    return load_tiny()


def chain(problem, *extra: tuple[int, str]) -> Rollout:
    lines = [step["text"] for step in problem.meta["steps"]]
    for at, line in extra:
        lines.insert(at % (len(lines) + 1), line)
    text = "\n".join([*lines, f"#### {problem.answers[0]}"])
    end = TASK.reasoning_end(text)
    return Rollout(id=problem.id, problem=problem, text=text, reasoning_end=end, outcome=1.0)


def findings(rollout: Rollout, kind: str):
    steps = segment(rollout.text, rollout.reasoning_end)
    return find_all(rollout, steps, norm=norm_for(rollout.problem))[kind].findings


def test_a_repeated_step_is_decorative_and_a_needed_one_is_not(policy):
    problems = TASK.problems("train", 30, 11)
    padded = [chain(p, (1, p.meta["steps"][0]["text"])) for p in problems]
    repeats = {r.id: findings(r, "padding") for r in padded}
    assert sum(map(len, repeats.values())) == 30
    removed = decorative_share(policy, TASK, padded, repeats)
    assert removed.undecided == 0
    assert removed.shares()["padding"].value >= 0.75

    gold = [chain(p) for p in problems]
    reviews = review_now(
        [load_reviewer("gold")],
        [Item(r.problem, r.text, segment(r.text, r.reasoning_end), 1.0, r.id) for r in gold],
    )
    last = {review.rollout_id: labelled_steps(review)[-1:] for (review,) in reviews}
    needed = decorative_share(policy, TASK, gold, last).shares()["gold:useful"]
    assert needed.n == 30
    assert needed.value <= 0.3


def test_what_was_asked_is_kept(policy):
    problem = TASK.problems("train", 1, 11)[0]
    rollout = chain(problem, (-1, "check " + problem.meta["steps"][-1]["text"]))
    (found,) = findings(rollout, "performative")
    result = decorative_share(policy, TASK, [rollout], {rollout.id: [found]})
    (tested,) = result.tested
    assert tested.rollout_id == rollout.id
    assert tested.before == problem.answers[0]
    assert tested.unchanged == (tested.after == tested.before)
    assert set(result.shares()) == {"all", "performative"}


def test_nothing_flagged_is_nothing_tested(policy):
    rollout = chain(TASK.problems("train", 1, 11)[0])
    assert not any(findings(rollout, kind) for kind in DETECTORS)
    assert decorative_share(policy, TASK, [rollout], {}) == Decorative((), 0)
    assert Decorative((), 0).shares() == {}
