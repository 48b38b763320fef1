"""What another prompt changes, on the same chains."""

from __future__ import annotations

import pytest

from apportion.errors import UserError
from apportion.review.check import Case, planted_cases
from apportion.review.llm_prompt import load_prompt
from apportion.review.prompt_change import PromptComparison, compare_prompts
from apportion.review.scripted import ScriptedReviewer
from apportion.tasks import Planted
from apportion.trace import StepVerdict
from tests.review.helpers import CHAIN, item, problem

WRONG = StepVerdict(label="harmful", correct=False)
RIGHT = StepVerdict(label="useful", correct=True)
LINKED = StepVerdict(label="useful", correct=True, depends_on=(0, 1))
STEPS = tuple(item().steps)


def cases(count: int) -> list[Case]:
    """Each chain: a wrong step, a right one, a right one that uses both."""
    plant = Planted("wrong_arithmetic", CHAIN, STEPS, (WRONG, RIGHT, LINKED))
    problems = [problem().model_copy(update={"id": f"p{i}"}) for i in range(count)]
    return planted_cases([(p, plant) for p in problems])


def says(*answers: tuple[StepVerdict, ...]) -> ScriptedReviewer:
    replies = iter(answers)
    return ScriptedReviewer(lambda problem, text, steps, critique: next(replies))


def compare(first, other) -> PromptComparison:
    assert len(first) == len(other)
    reviewers = [("steps", says(*first)), ("deliberate", says(*other))]
    return compare_prompts(reviewers, cases(len(first)))


def test_changes_are_differences_of_the_rates_shown():
    blind, sharp = (RIGHT, RIGHT, RIGHT), (WRONG, RIGHT, LINKED)
    alarmed = (WRONG, WRONG, LINKED)
    found = compare([blind, blind, sharp, sharp], [sharp, sharp, alarmed, sharp])
    first, other = found.prompts
    assert first.change is None and other.change is not None
    change = other.change
    # TPR 2/4 to 4/4, FPR 0/8 to 1/8, dependencies 4 of 8 to 8 of 8: F1 8/12 to 1.
    assert change.tpr is not None and change.tpr.value == pytest.approx(0.5)
    assert change.fpr is not None and change.fpr.value == pytest.approx(0.125)
    assert change.youden is not None and change.youden.value == pytest.approx(0.375)
    assert change.edge_f1 is not None and change.edge_f1.value == pytest.approx(1 - 8 / 12)
    assert change.tpr.n == 4
    assert first.report.tpr is not None and other.report.tpr is not None
    assert change.tpr.value == other.report.tpr.value - first.report.tpr.value


def test_the_interval_is_of_pairs_not_of_two_samples():
    """Every problem changes by the same: no resample can show another difference, however wide
    the intervals of the two rates themselves are."""
    mixed = [(WRONG, RIGHT, RIGHT), (RIGHT, RIGHT, RIGHT)] * 5
    raised = [(a, WRONG, RIGHT) for a, _, _ in mixed]
    change = compare(mixed, raised).prompts[1].change
    assert change is not None and change.fpr is not None and change.tpr is not None
    assert (change.fpr.value, change.fpr.low, change.fpr.high) == (0.5, 0.5, 0.5)
    assert (change.tpr.value, change.tpr.low, change.tpr.high) == (0.0, 0.0, 0.0)
    youden = compare(mixed, raised).prompts[0].report.youden
    assert youden is not None and youden.high - youden.low > 0.3


def test_the_interval_of_a_difference_covers_it():
    """TPR rises where and only where the first prompt missed: 3 of 10 problems."""
    first = [(RIGHT, RIGHT, RIGHT)] * 3 + [(WRONG, RIGHT, RIGHT)] * 7
    change = compare(first, [(WRONG, RIGHT, RIGHT)] * 10).prompts[1].change
    assert change is not None and change.tpr is not None
    assert change.tpr.value == pytest.approx(0.3)
    # Resampled shares of 3 in 10: the 2.5 % and 97.5 % quantiles of Binomial(10, 0.3) / 10.
    assert change.tpr.low == pytest.approx(0.0, abs=0.11)
    assert change.tpr.high == pytest.approx(0.6, abs=0.11)


def test_what_one_of_them_cannot_be_asked_has_no_change():
    silent = (StepVerdict(),) * 3
    change = compare([silent], [(WRONG, RIGHT, LINKED)]).prompts[1].change
    assert change is not None
    assert change.tpr is None and change.youden is None
    assert change.edge_f1 is not None


def test_the_page_of_text_and_the_json_hold_the_same():
    found = compare([(RIGHT, RIGHT, RIGHT)] * 2, [(WRONG, RIGHT, LINKED)] * 2)
    lines = found.lines()
    assert lines[0] == "reviewer scripted: 2 chains of 2 problems"
    for result in found.prompts:
        assert f"{result.prompt} ({load_prompt(result.prompt).digest[:8]})" in lines[1]
    tpr = next(n for n, line in enumerate(lines) if line.startswith("true positive rate"))
    assert lines[tpr].split()[3:] == ["0.000", "[0.000,", "0.658]", "1.000", "[0.342,", "1.000]"]
    assert lines[tpr + 1].split() == ["change", "+1.000", "[+1.000,", "+1.000]"]
    assert lines[tpr].index("1.000 [0.342") == lines[tpr + 1].index("+1.000"), "below each other"
    assert PromptComparison.model_validate_json(found.model_dump_json()) == found


def test_a_prompt_twice_or_nothing_to_measure_on():
    with pytest.raises(UserError, match="prompt 'steps' is given twice"):
        compare_prompts([("steps", says()), ("steps", says())], cases(1))
    with pytest.raises(UserError, match="no chain with known verdicts"):
        compare_prompts([("steps", says())], [])
