"""Continuations of the shipped tiny model, against sampling the whole chain."""

import pytest

from apportion.errors import UserError
from apportion.policies import load_policy
from apportion.policies.continuation import Prefix, continue_chains
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
