"""Dependencies that a reviewer draws, against those that the task knows."""

from __future__ import annotations

import pytest

from apportion.review import load_reviewer, measure_on_task, measure_reviewer
from apportion.review.align import aligned_edges, places
from apportion.review.scripted import ScriptedReviewer
from apportion.tasks import Planted, load_task
from apportion.trace import Review, Step, StepVerdict
from tests.review.helpers import CHAIN, item, problem

STEPS = tuple(item().steps)
ENDS = [step.end for step in STEPS]


def verdicts(*sources: tuple[int, ...]) -> tuple[StepVerdict, ...]:
    return tuple(StepVerdict(label="useful", depends_on=source) for source in sources)


def review(cut: tuple[Step, ...], *sources: tuple[int, ...]) -> Review:
    return Review(rollout_id="p1/clean/0", reviewer="x", steps=cut, verdicts=verdicts(*sources))


def planted(problem_id: str, *sources: tuple[int, ...]):
    known = problem().model_copy(update={"id": problem_id})
    return known, Planted("clean", CHAIN, STEPS, verdicts(*sources))


def measured(chains, answers):
    replies = iter(answers)
    reviewer = ScriptedReviewer(lambda problem, text, steps, critique: next(replies))
    return measure_reviewer(reviewer, chains, max_concurrency=1)


def test_precision_recall_and_f1_counted_by_hand():
    chains = [planted("a", (), (), (0, 1)), planted("b", (), (0,), (1,))]
    # Known 4 edges; drawn 3 (0-2, 1-2 | 0-2); 2 of them known.
    edges = measured(chains, [verdicts((), (), (0, 1)), verdicts((), (), (0,))]).edges
    assert edges is not None
    assert edges.precision is not None and edges.recall is not None and edges.f1 is not None
    assert (edges.precision.value, edges.precision.n) == (pytest.approx(2 / 3), 3)
    assert (edges.recall.value, edges.recall.n) == (pytest.approx(2 / 4), 4)
    assert (edges.f1.value, edges.f1.n) == (pytest.approx(2 * 2 / (3 + 4)), 4)
    # Problem a alone has F1 1, b alone 0: resamples of two problems reach both.
    assert (edges.f1.low, edges.f1.high) == (0.0, 1.0)


def test_drawing_nothing_finds_nothing_and_has_no_precision():
    report = measured([planted("a", (), (), (0, 1))], [verdicts((), (), ())])
    assert report.edges is not None
    assert report.edges.precision is None
    assert report.edges.recall is not None and report.edges.recall.value == 0.0
    assert report.edges.f1 is not None and report.edges.f1.value == 0.0
    assert any("dependencies         F1 0.000" in line for line in report.lines())


def test_failed_reviews_are_not_counted_as_missing_edges():
    down = ScriptedReviewer(lambda problem, text, steps, critique: 1 / 0)
    assert measure_reviewer(down, [planted("a", (), (), (0, 1))]).edges is None


def test_where_no_dependency_is_known_none_is_scored():
    report = measured([planted("a", (), (), ())], [verdicts((), (0,), (1,))])
    assert report.edges is None
    assert not any("dependencies" in line for line in report.lines())


def test_another_cut_is_compared_by_overlap():
    finer = (Step(0, 6), Step(6, ENDS[0]), Step(ENDS[0], ENDS[1]), Step(ENDS[1], ENDS[2]))
    assert places(STEPS, review(finer, (), (), (), ())) == [0, 0, 1, 2]
    # Inside step 0; from both of its halves to 2, which is one edge; from 1 to 2.
    assert aligned_edges(STEPS, review(finer, (), (0,), (), (0, 1, 2))) == {(0, 2), (1, 2)}
    coarser = (Step(0, ENDS[1]), Step(ENDS[1], ENDS[2]))
    assert aligned_edges(STEPS, review(coarser, (), (0,))) == {(1, 2)}, "to the longer line"
    elsewhere = (Step(ENDS[2], len(CHAIN)),)
    assert places(STEPS, review(elsewhere, ())) == [None]
    whole = Review(rollout_id="r", reviewer="x", steps=STEPS, verdicts=verdicts((), (0,), (0, 1)))
    assert aligned_edges(STEPS, whole) == {(0, 1), (0, 2), (1, 2)}


@pytest.mark.parametrize(("name", "floor"), [("gold", 0.99), ("arithmetic", 0.95)])
def test_the_offline_reviewers_draw_the_graph_of_words(name: str, floor: float):
    report = measure_on_task(load_reviewer(name), load_task("words"))
    assert report is not None and report.edges is not None
    assert report.edges.f1 is not None and report.edges.recall is not None
    assert report.edges.f1.low > floor
    # Two steps may arrive at one number, and then the arithmetic alone does not tell which.
    assert report.edges.recall.value > 0.98
    if name == "gold":
        assert report.edges.recall.value == 1.0


def test_every_edge_of_a_right_chain_is_drawn_by_gold_and_no_other():
    task = load_task("words")
    clean = [
        (p, plant)
        for p in task.problems("validation", 60, 0)
        for plant in task.corruptions(p, 0)
        if plant.kind == "clean"
    ]
    report = measure_reviewer(load_reviewer("gold"), clean)
    assert report.edges is not None and report.edges.f1 is not None
    assert report.edges.f1.value == 1.0
    assert report.edges.f1.n == sum(len(p.meta["edges"]) for p, _ in clean)
