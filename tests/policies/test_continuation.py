"""Continuations of the shipped tiny model, against sampling the whole chain."""

import math

import pytest

from apportion.errors import UserError
from apportion.policies import load_policy
from apportion.policies.continuation import Prefix, continue_chains, score_pieces, score_texts
from apportion.tasks import load_task


@pytest.fixture(scope="module")
def policy():
    return load_policy({"kind": "tiny"})


@pytest.fixture(scope="module")
def rollouts(policy):
    problems = load_task({"kind": "words", "operations": [1, 3]}).problems("test", 8, 0)
    return policy.sample(problems, temperature=0.0, max_tokens=64)


def test_a_greedy_chain_cut_at_a_line_continues_as_it_was(policy, rollouts) -> None:
    cuts = [(r, r.text.index("\n") + 1) for r in rollouts if "\n" in r.text[:-1]]
    assert len(cuts) >= 4
    found = continue_chains(
        policy, [Prefix(r.problem, r.text[:c]) for r, c in cuts], temperature=0.0, max_tokens=64
    )
    for (rollout, cut), [text] in zip(cuts, found, strict=True):
        assert rollout.text[:cut] + text == rollout.text


def test_several_continuations_belong_to_their_prefix(policy, rollouts) -> None:
    prefixes = [Prefix(r.problem, "") for r in rollouts[:3]]
    found = continue_chains(policy, prefixes, n=4, max_tokens=32, seed=1)
    assert [len(texts) for texts in found] == [4, 4, 4]
    again = continue_chains(policy, prefixes, n=4, max_tokens=32, seed=1)
    assert found == again
    assert found != continue_chains(policy, prefixes, n=4, max_tokens=32, seed=2)


def test_nothing_to_continue_gives_nothing(policy) -> None:
    assert continue_chains(policy, []) == []


def test_a_prefix_past_the_context_is_refused(policy, rollouts) -> None:
    with pytest.raises(UserError, match="exceed the context of 512"):
        continue_chains(policy, [Prefix(rollouts[0].problem, "1 + 1 = 2\n" * 90)])


def test_a_text_scores_the_sum_of_what_each_token_was_sampled_with(policy, rollouts) -> None:
    cuts = [(r, r.text.index("\n") + 1) for r in rollouts if "\n" in r.text[:-1]]
    prefixes = [Prefix(r.problem, r.text[:cut]) for r, cut in cuts]
    found = score_texts(policy, prefixes, [r.text[cut:] for r, cut in cuts], batch_size=3)
    for (rollout, cut), score in zip(cuts, found, strict=True):
        after = [
            logprob
            for logprob, (start, end) in zip(rollout.logprobs, rollout.token_spans, strict=True)
            if start >= cut and end > start
        ]
        assert score == pytest.approx(sum(after), abs=1e-4)


def test_scores_of_all_next_tokens_are_a_distribution(policy, rollouts) -> None:
    vocabulary = [policy.tokenizer.decode([i]) for i in range(len(policy.tokenizer))]
    own = [
        i
        for i, text in enumerate(vocabulary)
        if policy.tokenizer(text, add_special_tokens=False).input_ids == [i]
    ]
    prefix = Prefix(rollouts[0].problem, "")
    scores = score_texts(policy, [prefix] * len(own), [vocabulary[i] for i in own])
    total = sum(math.exp(score) for score in scores)
    assert 0.95 < total <= 1 + 1e-4  # bytes that are no text cannot be asked for


@pytest.mark.parametrize("engine", ["trunk", "simple"])
def test_each_piece_is_scored_behind_those_before_it(policy, rollouts, engine) -> None:
    problem, lines = rollouts[0].problem, ["so 3 + 4 = 7\n", "", "so 7 + 2 = 9\n", "#### 9"]
    rows = [Prefix(problem, ""), Prefix(problem, lines[0]), Prefix(problem, "")]
    found = score_pieces(policy, rows, [lines, lines[1:], []], engine=engine)
    assert [len(row) for row in found] == [4, 3, 0]
    assert found[0][1:] == pytest.approx(found[1], abs=1e-4) and found[0][1] == 0.0
    alone = score_texts(policy, [Prefix(problem, lines[0])], [lines[2]], engine="simple")
    assert found[0][2] == pytest.approx(alone[0], abs=1e-4)


def test_scoring_nothing_and_bad_input(policy, rollouts) -> None:
    prefix = Prefix(rollouts[0].problem, "")
    assert score_texts(policy, [], []) == []
    assert score_texts(policy, [prefix], [""]) == [0.0]
    with pytest.raises(UserError, match="1 prefixes and 2 texts"):
        score_texts(policy, [prefix], ["a", "b"])
    with pytest.raises(UserError, match="exceed the context of 512"):
        score_texts(policy, [prefix], ["1 + 1 = 2\n" * 90])
