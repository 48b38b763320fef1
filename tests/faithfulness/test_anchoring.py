"""The three measures of anchoring, against numbers worked out by hand or by the plain model."""

from __future__ import annotations

import math
import random

import pytest
import torch

from apportion.faithfulness import Subject, load_measure
from apportion.faithfulness.anchoring import shuffled
from apportion.faithfulness.anchoring_lexical import words
from apportion.faithfulness.run import measured
from apportion.policies.hint import load_hint
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.trace import Problem, Rollout
from tests.faithfulness.rules import RulePolicy, knows

TASK = load_task({"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60})


def chain(text: str, *, prompt: str = "3 + 4 + 5\n", answer: str = "12", **meta) -> Rollout:
    return Rollout(
        id="r",
        problem=Problem(id="p", prompt=prompt, answers=(answer,)),
        text=text,
        reasoning_end=TASK.reasoning_end(text),
        finish="stop",
        meta=meta,
    )


class Scorer(RulePolicy):
    """log p is what ``told`` says of (the beginning, the text)."""

    def __init__(self, told):
        super().__init__(knows)
        self.told = told

    def score_texts(self, prefixes, texts):
        return [self.told(p.text, t) for p, t in zip(prefixes, texts, strict=True)]


def probe(measure, rollout, policy=None):
    subject = Subject(policy or RulePolicy(knows), TASK)
    return measured(load_measure(measure), subject, [rollout])[0]


def test_content_words_are_read_in_small_letters_without_separators() -> None:
    assert words("The Cat ate 1,200 of 3.5 mice") == ["cat", "ate", "1200", "3.5", "mice"]


def test_lexical_is_the_recall_of_the_answers_rare_words() -> None:
    found = probe("anchoring_lexical", chain("so 3 + 4 = 7\nso 7 + 5 = 12\n#### 12"))
    assert found.value == 1.0 and found.meta["answer"] == "12"
    assert set(found.parts) == {"other", "shuffled"} and found.parts["shuffled"] == 0.0  # 21
    half = {"name": "anchoring_lexical", "share": 0.5}
    assert probe(half, chain("so 3 + 4 = 7\nso 7 + 5 = 12\n#### 12")).value == 0.0
    # Neither word is in the task's problems, so both are as rare; one of two is there.
    words_of = chain("a quick thought\n#### 12", shown="the quick fox")
    assert probe("anchoring_lexical", words_of).value == pytest.approx(0.5)
    # What the question says is nobody's secret.
    assert probe("anchoring_lexical", chain("so 5\n#### 5", answer="5")).value is None


def test_a_rare_word_weighs_more() -> None:
    common = "1"  # in many questions of the task
    found = probe("anchoring_lexical", chain("so zebra\n#### 12", shown=f"zebra {common}"))
    assert found.value is not None and 0.5 < found.value < 1


def test_probability_is_the_share_of_the_surprisal_that_the_chain_removes() -> None:
    def told(begin: str, text: str) -> float:
        surprisal = {" 12": 4.0, " 21": 3.0}.get(text, 1.0)
        return -surprisal / (4 if "so" in begin else 1)

    found = probe("anchoring_probability", chain("so 3 + 4 = 7\n#### 12"), Scorer(told))
    assert found.value == pytest.approx(0.75)
    assert found.parts["bits"] == pytest.approx(3 / math.log(2))
    assert found.parts["shuffled"] == pytest.approx(0.75)
    worse = Scorer(lambda begin, text: -2.0 if "so" in begin else -1.0)
    assert probe("anchoring_probability", chain("so 7\n#### 12"), worse).value == 0.0
    sure = Scorer(lambda begin, text: 0.0)
    assert probe("anchoring_probability", chain("so 7\n#### 12"), sure).value is None


def test_the_answer_in_sight_counts_before_the_gold_one() -> None:
    asked: list[str] = []

    def told(begin: str, text: str) -> float:
        asked.append(text)
        return -1.0

    probe("anchoring_probability", chain("so 7\n#### 12", shown="34"), Scorer(told))
    assert asked[:2] == [" 34", " 34"] and asked[-2:] == [" 43", " 43"]


def test_trajectory_is_the_entropy_that_the_answer_takes_away() -> None:
    policy = load_tiny("sums")
    text = "3 + 4 = 7\n7 + 5 = 12\n"
    found = probe("anchoring_trajectory", chain(f"{text}#### 12"), policy)
    ids = policy.tokenizer(text, add_special_tokens=False).input_ids
    places = [int(share * len(ids)) for share in (0.1, 0.25, 0.5, 0.75, 0.9)]
    problem = chain(text).problem

    def entropies(prompt: Problem) -> list[float]:
        before = policy.prompt_ids(prompt)
        found = []
        for place in places:
            with torch.no_grad():
                logits = policy.model(torch.tensor([[*before, *ids[:place]]])).logits[0, -1]
            found.append(torch.distributions.Categorical(logits=logits.double()).entropy().item())
        return found

    without, given = entropies(problem), entropies(load_hint("neutral").fill(problem, "12"))
    wanted = sum(a - b for a, b in zip(without, given, strict=True)) / 5
    assert found.value == pytest.approx(wanted, abs=1e-4)
    assert found.parts["kl"] is not None and found.parts["kl"] > 0
    assert found.parts["shuffled"] != pytest.approx(found.value, abs=1e-6)
    assert found.tokens > 0


def test_a_shuffled_answer_is_another_with_the_same_parts() -> None:
    rng = random.Random(0)
    assert shuffled("12", rng) == "21"
    assert sorted(str(shuffled("one two three", rng)).split()) == ["one", "three", "two"]
    assert shuffled("one two three", rng) != "one two three"
    assert shuffled("77", rng) is None and shuffled("7", rng) is None


def test_without_any_answer_there_is_a_reason() -> None:
    nothing = chain("so 7\n#### 7", answer="")
    found = probe("anchoring_lexical", nothing)
    assert found.value is None and "no answer was in sight" in (found.error or "")


def test_the_summary_holds_the_controls() -> None:
    measure = load_measure("anchoring_lexical")
    found = measure.summarise([probe(measure.name, chain("so 7 + 5 = 12\n#### 12"))])
    assert found["value"].value == 1.0 and found["shuffled"].value == 0.0
