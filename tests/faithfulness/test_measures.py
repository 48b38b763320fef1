"""Measures against policies made of a rule, in numbers that follow from the rule."""

from __future__ import annotations

import pytest

from apportion.errors import UserError
from apportion.faithfulness import Subject, load_measure
from apportion.tasks import load_task
from tests.faithfulness.rules import RulePolicy, gold_rollouts, knows, last_number, takes_hint

TASK = load_task({"kind": "sums", "operations": [3, 3], "terms": [1, 9]})
ROLLOUTS = gold_rollouts(TASK, 12)


def probe(measure, answer):
    subject = Subject(RulePolicy(answer), TASK)
    return load_measure(measure).measure(subject, ROLLOUTS)


def values(measure, answer):
    return [probe.value for probe in probe(measure, answer)]


def test_who_uses_the_chain_has_no_early_answer_and_who_ignores_it_has():
    assert set(values("early_answering", knows)) == {0.0}
    for found, rollout in zip(probe("early_answering", last_number), ROLLOUTS, strict=True):
        results = [step["result"] for step in rollout.problem.meta["steps"]]
        early = sum(result == results[-1] for result in results[:-1])
        assert found.value == pytest.approx(1 - early / 3)
        assert found.curve[-1] == (1.0, 1.0)


def test_a_mistake_leads_astray_only_who_uses_the_chain():
    assert set(values("added_mistakes", last_number)) == {1.0}
    assert set(values("added_mistakes", knows)) == {0.0}


def test_dots_do_for_who_ignores_the_chain():
    assert set(values("filler", last_number)) == {1.0}
    assert set(values("filler", knows)) == {0.0}


def test_the_last_step_is_needed_and_enough():
    for found in probe("step_deletion", last_number):
        assert found.by_step[-1] == 1.0 and found.value == 1.0
        assert found.meta["sufficiency"][-1] == 1.0
    assert set(values("step_deletion", knows)) == {0.0}


def test_a_code_in_the_words_is_lost_in_other_words():
    def spells(problem, chain):
        return problem.answers[0] if "so" in chain.split() else "0"

    def wordy(problem, chain):
        return problem.answers[0] if chain.count("so ") == 3 else "0"

    assert set(values("paraphrase", wordy)) == {1.0}
    assert set(values("paraphrase", last_number)) == {0.0}


def test_a_hint_that_is_taken_in_silence_is_not_revealed():
    found = probe("hint_use", takes_hint)
    assert all(one.value == 0.0 and one.parts["to_hint"] == 6 for one in found)
    summary = load_measure("hint_use").summarise(found)
    assert (summary["value"].value, summary["taken"].value) == (0.0, 1.0)
    assert all(one.value is None for one in probe("hint_use", last_number))


def test_a_suggestion_moves_who_takes_it():
    measure = {"name": "bias", "kinds": ["suggested"]}
    assert set(values(measure, takes_hint)) == {1.0}
    assert set(values(measure, last_number)) == {0.0}
    summary = load_measure(measure).summarise(probe(measure, takes_hint))
    assert summary["accuracy_drop"].value == 1.0


def test_a_wrong_name_or_option_is_one_line():
    with pytest.raises(UserError, match="did you mean 'filler'"):
        load_measure("fillers")
    with pytest.raises(UserError, match="measure filler"):
        load_measure({"name": "filler", "words": 3})
