"""Measures on a policy whose right value is known: it answers from the chain's last number, or
from the question."""

import json
import re

import pytest

from apportion.faithfulness.base import Measure
from apportion.faithfulness.commitment import CommitmentBoundary, boundary_of
from apportion.faithfulness.counterfactual import Counterfactual
from apportion.faithfulness.decision_points import DecisionPoints
from apportion.faithfulness.distance import different
from apportion.faithfulness.forced_answer import ForcedAnswer
from apportion.faithfulness.mediation import Mediation
from apportion.faithfulness.monitorability import auc, separation, tpr_at
from apportion.faithfulness.resampling import Resampling
from apportion.faithfulness.step_mediation import StepMediation
from apportion.faithfulness.subject import Subject
from apportion.faithfulness.true_thinking import TrueThinking
from apportion.tasks import load_task
from apportion.trace import Rollout

TASK = load_task({"kind": "sums", "operations": [3, 3], "terms": [1, 9], "largest": 60})


class Hand:
    """Writes the right chain of its question; ``reads`` says where its answer comes from."""

    def __init__(self, reads: str) -> None:
        self.name, self.reads = reads, reads

    def continue_texts(self, prefixes, *, n, temperature, max_tokens, seed):
        return [[self._go_on(p.problem.prompt, p.text)] * n for p in prefixes]

    def _go_on(self, prompt: str, text: str) -> str:
        terms = re.findall(r"([+-]?) ?(\d+)", prompt)
        values = [sum(int(s + n) for s, n in terms[: i + 1]) for i in range(len(terms))]
        if text.endswith("####"):
            found = re.findall(r"= (-?\d+)", text)
            last = found[-1] if found else terms[0][1]
            return f" {last if self.reads == 'chain' else values[-1]}"
        done = len(re.findall("=", text))
        at = int((re.findall(r"= (-?\d+)", text) or [terms[0][1]])[-1])
        lines = ""
        for sign, number in terms[1 + done :]:
            to = at + int(sign + number)
            lines += f"so {at} {sign} {number} = {to}\n"
            at = to
        return f"{lines}#### {at if self.reads == 'chain' else values[-1]}"


def measured(measure: Measure, reads: str):
    problem = TASK.problems("test", 1, seed=1)[0]
    text = TASK.gold_completion(problem)
    rollout = Rollout(
        id="a", problem=problem, text=text, reasoning_end=TASK.reasoning_end(text), outcome=1.0
    )
    (probe,) = measure.measure(Subject(Hand(reads), TASK), [rollout])
    assert probe.error is None
    json.loads(probe.model_dump_json())
    return probe


def test_the_question_reaches_the_answer_by_the_chain_or_past_it():
    assert measured(Mediation(), "chain").value == 1.0
    assert measured(Mediation(), "question").value == -1.0


def test_a_wrong_number_acts_through_the_later_chain():
    probe = measured(StepMediation(), "chain")
    assert probe.by_step == (1.0, 1.0, 1.0)
    assert probe.meta["direct"] == [0.0, 0.0, 1.0]
    assert probe.meta["indirect"] == [1.0, 1.0, 0.0]
    assert measured(StepMediation(), "question").by_step == (0.0, 0.0, 0.0)


def test_true_thinking_and_forced_answers():
    assert measured(TrueThinking(), "chain").by_step[-1] == 1.0
    assert measured(TrueThinking(), "question").value == 0.0
    assert measured(ForcedAnswer(), "chain").by_step == (0.0, 0.0, 1.0)
    assert measured(ForcedAnswer(), "question").value == 0.0
    assert measured(CommitmentBoundary(), "chain").value == 1.0
    assert measured(CommitmentBoundary(), "question").value == 0.0
    assert boundary_of([True, False, True, True]) == 2
    assert boundary_of([True, False]) is None


def test_of_a_long_chain_the_boundary_is_known_to_lie_between_two_cuts():
    class FromTheSeventh(Hand):
        def _go_on(self, prompt: str, text: str) -> str:
            return " 12" if text.count("=") >= 7 else " 0"

    text = "".join(f"so {k} + 1 = {k + 1}\n" for k in range(12)) + "#### 12"
    problem = TASK.problems("test", 1, seed=1)[0]
    chain = Rollout(id="a", problem=problem, text=text, reasoning_end=TASK.reasoning_end(text))
    (probe,) = CommitmentBoundary(steps=3).measure(Subject(FromTheSeventh("chain"), TASK), [chain])
    # Steps 0, 5 and 11 are tried: it is asked at the cuts 0, 1, 5, 6, 11 and 12.
    assert probe.meta["tried"] == (3, 12)
    assert probe.value == 11 / 12 and probe.parts["after"] == 6.0
    assert probe.by_step == (1.0,) * 7 + (None,) * 4 + (0.0,)


def test_what_is_always_written_alike_has_no_counterfactual():
    assert measured(Resampling(), "chain").value == 0.0
    probe = measured(Counterfactual(), "chain")
    assert probe.value is None and probe.by_step == (None, None, None)
    assert different("so 3 + 4 = 7", ["so 4 + 3 = 7", "so 3 + 4 = 8", ""], "equation", 0.8) == [
        False, True, True,
    ]  # fmt: skip


def test_decision_points_and_separation():
    assert measured(DecisionPoints(), "chain").value == 1.0
    import numpy as np

    assert auc(np.array([1.0, 0.5]), np.array([0.5, 0.0])) == pytest.approx(0.875)
    assert tpr_at(np.array([1.0, 0.5]), np.array([0.5, 0.0]), 0.0) == 0.5
    assert separation([("p", 1.0, True)], 0.05) == {}
