"""Interventions as a reviewer: by a policy made of a rule, and by the shipped one."""

import asyncio
import math

import pytest

from apportion import Problem, UserError
from apportion.review import Item, load_reviewer, review_now
from apportion.review.binding import bind_policy, needing_policy
from apportion.review.check import measure_on_task
from apportion.review.counterfactual import CounterfactualOptions, verdict_of
from apportion.review.effects import (
    Chain,
    Effect,
    Effects,
    Sampler,
    removal_effects,
    resampled_effects,
    together,
    widest_paths,
)
from apportion.segment import segment
from apportion.tasks import load_task

pytest.importorskip("torch")

GOLD = "so 3 + 4 = 7\nso 7 + 2 = 9\n"


@pytest.fixture(scope="module")
def policy():
    from apportion.policies.tiny import load_tiny

    return load_tiny("sums")


def _chain(text: str, answer: str = "9", name: str = "p") -> Chain:
    problem = Problem(id=name, prompt="3 + 4 + 2\n", answers=(answer,))
    return Chain(problem, text, segment(text, text.index("####"), "line"))


def ask(reviewer, problem, text):
    end = text.find("####")
    end = len(text) if end < 0 else end
    return review_now([reviewer], [Item(problem, text, segment(text, end), 1.0, "r")])[0][0]


# -- hand numbers -------------------------------------------------------------------------------


def test_an_effect_is_the_chance_with_the_step_less_that_without() -> None:
    assert Effect(1.0, 0.25).value == 0.75


@pytest.mark.parametrize(
    ("given", "without", "label", "confidence"),
    [
        (1.0, 0.0, "useful", 1.0),
        (0.5, 0.4, "useful", 0.5),
        (0.55, 0.0, "useful", 0.75),  # (0.55 - 0.1) / 0.9 is half of the way
        (0.0, 1.0, "harmful", 1.0),
        (0.5, 0.5, "irrelevant", 1.0),
        (0.55, 0.5, "irrelevant", 0.75),
        (0.5, 0.55, "irrelevant", 0.75),
    ],
)
def test_verdicts_by_sign_and_size(given, without, label, confidence) -> None:
    verdict = verdict_of(Effect(given, without), 0.1)
    assert verdict.label == label and verdict.correct is None
    assert verdict.confidence == pytest.approx(confidence)


def test_what_cannot_be_known_is_not_judged() -> None:
    assert verdict_of(None, 0.1).abstains


def test_a_step_acts_through_the_widest_path() -> None:
    # 0 -> 1 (0.9) -> answer (0.8); 0 -> 2 (0.3) -> answer (1.0); 3 does nothing.
    edges = [[0, 0.9, 0.3, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    found = widest_paths({0: 0.0, 1: 0.8, 2: 1.0, 3: -0.1}, edges)
    assert found == {0: 0.8, 1: 0.8, 2: 1.0, 3: -0.1}


def test_dependencies_are_the_steps_without_which_one_gets_unlikely() -> None:
    effects = Effects((None,) * 3, ((0, 0.6, 0.2), (0, 0, 0.5), (0, 0, 0)))
    assert [effects.depends_on(i, 0.5) for i in range(3)] == [(), (0,), (1,)]
    assert Effects((None,)).depends_on(0, 0.5) == ()


def test_both_ways_together_fill_each_others_gaps() -> None:
    one, other = Effect(0.5, 0.9, 3), Effect(1.0, 0.2)
    sampled = Effects((one, None), written=9)
    removed = Effects((other, other), ((0, 0.7), (0, 0)), read=4)
    found = together(sampled, removed, right=True)
    assert found.by_step == (one, other) and found.depends_on(1, 0.5) == (0,)
    assert (found.written, found.read, found.tokens) == (9, 4, 13)
    assert together(sampled, removed, right=False).by_step == (one, None)
    assert together(sampled, "no answer", right=True) == sampled


# -- continuations of a rule ---------------------------------------------------------------------


def test_resampling_compares_with_what_was_written_instead(policy, monkeypatch) -> None:
    """Before the first step half of the continuations repeat it; the others go wrong."""
    written = {
        "": ["so 3 + 4 = 7\n#### 9", "so 3 + 4 = 8\n#### 1", "so 3 + 5 = 8\n#### 9", "#### 3"],
        "so 3 + 4 = 7\n": ["#### 9", "#### 9", "#### 9", "#### 1"],
    }
    asked = []

    def continue_chains(policy, prefixes, **options):
        asked.append([p.text for p in prefixes])
        return [written[p.text] for p in prefixes]

    monkeypatch.setattr("apportion.policies.continuation.continue_chains", continue_chains)
    chain = _chain("so 3 + 4 = 7\n#### 9")
    [found, again] = resampled_effects(
        policy, [chain, chain], lambda _, text: float(text.endswith("#### 9")), Sampler(4)
    )
    # 3 of 4 right behind it; 1 of the 3 that put something else there.
    assert found.by_step == (Effect(0.75, 1 / 3, 3),) and again == found
    assert asked == [["", "so 3 + 4 = 7\n"]]  # equal beginnings are continued once


def test_a_step_that_is_never_written_otherwise_has_no_effect(policy, monkeypatch) -> None:
    monkeypatch.setattr(
        "apportion.policies.continuation.continue_chains",
        lambda policy, prefixes, **_: [["so 3 + 4 = 7\n#### 9"] * 2 for _ in prefixes],
    )
    [found] = resampled_effects(
        policy, [_chain("so 3 + 4 = 7\n#### 9")], lambda *_: 1.0, Sampler(2)
    )
    assert found.by_step == (None,)


def test_removal_reads_probabilities_off_a_forward_pass(policy, monkeypatch) -> None:
    """Scores by hand: the answer has 0.8, without the first step 0.6 (and the second step loses
    nine tenths of its chance), without the second 0.2."""
    log = math.log
    rows = {
        "": [log(0.5), log(0.5), 0.0, log(0.8)],
        "|first": [log(0.05), 0.0, log(0.6)],
        "so 3 + 4 = 7\n|second": [0.0, log(0.2)],
    }
    seen = []

    def score_pieces(policy, prefixes, pieces, **_):
        seen.extend((p.text, list(some)) for p, some in zip(prefixes, pieces, strict=True))
        return list(rows.values())

    monkeypatch.setattr("apportion.policies.continuation.score_pieces", score_pieces)
    [found] = removal_effects(policy, [_chain(GOLD + "#### 9")], "delete")
    steps = ["so 3 + 4 = 7\n", "so 7 + 2 = 9\n", "####", " 9"]
    assert seen == [("", steps), ("", steps[1:]), (steps[0], steps[2:])]
    assert not isinstance(found, str)
    values = [effect.value for effect in found.by_step if effect]
    assert values == pytest.approx([0.6, 0.6])  # the first acts through the second
    assert found.edges[0][1] == pytest.approx(0.9)


def test_on_a_wrong_chain_the_reference_is_scored(policy, monkeypatch) -> None:
    log = math.log
    scores = [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0]]
    scores += [[log(0.1)], [log(0.3)], [log(0.05)]]
    seen = []

    def score_pieces(policy, prefixes, pieces, **_):
        seen.extend((p.text, list(some)) for p, some in zip(prefixes, pieces, strict=True))
        return scores

    monkeypatch.setattr("apportion.policies.continuation.score_pieces", score_pieces)
    [found] = removal_effects(policy, [_chain(GOLD + "#### 9", answer="8")], "delete")
    assert not isinstance(found, str)
    assert [e.value for e in found.by_step if e] == pytest.approx([-0.2, 0.05])
    assert seen[3] == (GOLD + "####", [" 8"]) and seen[4] == ("so 7 + 2 = 9\n####", [" 8"])


# -- with the shipped policy ----------------------------------------------------------------------


def _judge(policy, text, answer="9", **options):
    reviewer = load_reviewer({"kind": "counterfactual", "samples": 6} | options)
    bind_policy([reviewer], policy)
    problem = Problem(id="p", prompt="3 + 4 + 2\n", answers=(answer,))
    return ask(reviewer, problem, text)


def test_it_has_to_be_bound() -> None:
    reviewer = load_reviewer("counterfactual")
    assert needing_policy([reviewer]) == ["counterfactual"]
    problem = Problem(id="p", prompt="1 + 1\n", answers=("2",))
    with pytest.raises(UserError, match="was given no policy"):
        asyncio.run(reviewer.review(problem, GOLD, segment(GOLD, len(GOLD)), 1.0))


def test_wrong_steps_are_told_from_right_ones_by_resampling(policy) -> None:
    reviewer = load_reviewer({"kind": "counterfactual", "samples": 6})
    bind_policy([reviewer], policy)
    task = load_task({"kind": "sums", "operations": [4, 4], "terms": [1, 9], "largest": 60})
    report = measure_on_task(reviewer, task, problems=4)
    assert report is not None and report.youden is not None
    assert report.youden.value > 0.5 and report.usage.completion_tokens > 0


def test_replaced_numbers_show_what_rests_on_what(policy) -> None:
    review = _judge(policy, GOLD + "#### 9", intervention="replace")
    assert [v.label for v in review.verdicts] == ["useful", "useful"]
    assert [v.depends_on for v in review.verdicts] == [(), (0,)]
    assert review.usage.completion_tokens == 0  # nothing was written
    both = _judge(policy, GOLD + "#### 9", intervention="both")
    assert [v.depends_on for v in both.verdicts] == [(), (0,)]
    assert not any(v.abstains for v in both.verdicts) and both.usage.completion_tokens > 0


def test_chains_that_cannot_be_reviewed_say_why(policy) -> None:
    assert "no answer" in (_judge(policy, GOLD, intervention="delete").error or "")
    assert "does not fit" in (_judge(policy, "so 1 + 1 = 2\n" * 200 + "#### 2").error or "")
    reviewer = load_reviewer("counterfactual")
    bind_policy([reviewer], policy)
    unknown = Problem(id="p", prompt="3 + 4 + 2\n")
    assert "no reference answer" in (ask(reviewer, unknown, GOLD + "#### 9").error or "")
    stated = load_reviewer({"kind": "counterfactual", "answer": "stated", "samples": 2})
    bind_policy([stated], policy)
    assert ask(stated, unknown, GOLD + "#### 9").ok


def test_options() -> None:
    assert CounterfactualOptions().intervention == "resample"
    with pytest.raises(UserError, match="threshold"):
        load_reviewer({"kind": "counterfactual", "threshold": 0})
