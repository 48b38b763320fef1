"""Critic and token reward model learn what can be worked out, and go on to the bit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from apportion.config import RunConfig
from apportion.config.token_model import TokenModelConfig
from apportion.credit.critic import Critic
from apportion.credit.oreal import chance_right
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.tiny import build_model, load_tiny
from apportion.policies.token_head import TokenHead
from apportion.tasks import load_task
from apportion.train.grpo.batch import CreditedBatch
from apportion.train.grpo.signals import load_signals
from apportion.train.grpo.token_model import Seen, TokenLearner, balanced, outcome_loss, value_loss
from apportion.train.measure.evaluate import score_rollouts
from tests.train.tiny_setup import make_tokenizer

_TASK = {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60}
_PROMPT = [7, 8]


@pytest.fixture(scope="module")
def toy() -> LanguageModelPolicy:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    return LanguageModelPolicy(
        build_model(tokenizer, hidden_size=32, layers=2, heads=2), tokenizer, "toy"
    )


def _all_of(outcome) -> list[Seen]:
    """Every completion of three tokens, each 10 or 11, equally likely."""
    return [
        Seen(_PROMPT, list(ids), [True] * 3, outcome(ids), "g")
        for ids in product([10, 11], repeat=3)
    ]


def _learner(toy, loss, *, after: bool, rate: float = 3e-3) -> TokenLearner:
    settings = TokenModelConfig(learning_rate=rate, batch_size=8)
    return TokenLearner(TokenHead(toy, after=after), settings, loss, 0)


@pytest.mark.parametrize(("value_lam", "within"), [(1.0, 0.06), (0.0, 0.15)])
def test_the_critic_finds_the_values_of_a_chain_that_can_be_enumerated(
    toy, value_lam, within
) -> None:
    """Right are chains of 11 11 and anything: V is 1/4, then 1/2 or 0, then 1 or 0."""
    chains = _all_of(lambda ids: float(ids[:2] == (11, 11)))
    learner = _learner(toy, value_loss(Critic(value_lam=value_lam)), after=False)
    learner.fit(chains, 250)
    found = learner.model.scores([one.prompt for one in chains], [one.completion for one in chains])
    for one, values_T in zip(chains, found, strict=True):
        first, second, _ = one.completion
        wanted = [0.25, 0.5 * (first == 11), float(first == second == 11)]
        assert values_T.tolist() == pytest.approx(wanted, abs=within)


def test_the_token_reward_model_finds_the_token_that_decides(toy) -> None:
    """Right are chains with 11 in the middle; at first no score can tell."""
    chains = _all_of(lambda ids: float(ids[1] == 11))
    learner = _learner(toy, outcome_loss, after=True)
    learner.fit(balanced(chains), 250)
    found = learner.model.scores([one.prompt for one in chains], [one.completion for one in chains])
    firsts: dict[int, set[float]] = {10: set(), 11: set()}
    for one, scores_T in zip(chains, found, strict=True):
        chance = chance_right(scores_T.double().numpy())[-1]
        assert chance > 0.9 if one.outcome else chance < 0.1
        firsts[one.completion[0]].add(round(float(scores_T[0]), 4))
    assert all(len(scores) == 1 for scores in firsts.values())  # right and wrong begin alike


def test_scores_stand_before_or_behind_their_token(toy) -> None:
    before, behind = TokenHead(toy, after=False), TokenHead(toy, after=True)
    for head in (before, behind):
        torch.nn.init.ones_(head.head.weight)
    chain, other = [10, 11, 12], [10, 11, 13]  # they part at the last token
    a, b = before.scores([_PROMPT, _PROMPT], [chain, other])
    assert a.tolist() == pytest.approx(b.tolist(), abs=1e-5)
    a, b = behind.scores([_PROMPT, _PROMPT], [chain, other])
    assert a[:2].tolist() == pytest.approx(b[:2].tolist(), abs=1e-5) and abs(a[2] - b[2]) > 1e-3
    # What was seen behind a token is what is known before the next, alone or among longer ones.
    alone = before.scores([_PROMPT], [chain])[0]
    among = behind.scores([_PROMPT, [*_PROMPT, 9, 9]], [chain, [10] * 9])[0]
    assert alone[1:].tolist() == pytest.approx(among[:2].tolist(), abs=1e-5)


def test_right_and_wrong_of_a_group_count_alike() -> None:
    def seen(group: str, outcome: float) -> Seen:
        return Seen([1], [2], [True], outcome, group)

    one_sided = [seen("b", 1.0), seen("b", 1.0)]
    rows = balanced([seen("a", 1.0), seen("a", 0.0), seen("a", 0.0), seen("a", 0.0), *one_sided])
    assert [(r.group, r.outcome, r.weight) for r in rows] == [
        *[("a", 0.0, 1 / 3)] * 3,
        ("a", 1.0, 1.0),
    ]


def test_a_token_that_is_masked_is_not_learned_from(toy) -> None:
    loss = value_loss(Critic())
    scores_BT = torch.tensor([[0.0, 5.0, 1.0]])
    mask_BT = torch.tensor([[True, False, True]])
    one = Seen(_PROMPT, [10, 11, 12], [True, False, True], 1.0, "g")
    assert loss(scores_BT, mask_BT, [one]).tolist() == pytest.approx([0.25])  # (1 + 0) / 2 / 2


def test_a_loss_that_is_not_finite_is_refused(toy) -> None:
    learner = _learner(toy, value_loss(Critic()), after=False)
    with pytest.raises(UserError, match=r"lower token_model.learning_rate"):
        learner.step([Seen(_PROMPT, [10], [True], float("inf"), "g")])


def _config(method: str, **changes) -> RunConfig:
    settings = {
        "name": "critic",
        "task": _TASK,
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "credit": {"method": method},
        "token_model": {"problems": 8, "samples": 4, "updates": 6, "refresh_updates": 2},
        "train": {"max_completion_tokens": 36},
    }
    return RunConfig.model_validate(settings | changes)


@pytest.fixture(scope="module")
def sampled():
    policy, task = load_tiny("sums"), load_task(_TASK)
    problems = task.problems("validation", 3, 0)
    rollouts = policy.sample(problems, n=4, max_tokens=36, reasoning_end=task.reasoning_end)
    return policy, task, score_rollouts(task, rollouts)


def _credited(rollouts) -> CreditedBatch:
    class Sample:
        def __init__(self, rollout):
            self.mask_T = np.ones(len(rollout.token_ids), bool)

    return CreditedBatch(rollouts, [], [Sample(r) for r in rollouts], [], "critic", [], {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "signal", "figure"),
    [
        ("critic", "critic_value", "token_model/explained"),
        ("oreal", "token_score", "token_model/accuracy"),
    ],
)
def test_a_source_measures_learns_and_goes_on_to_the_bit(
    sampled, tmp_path, method, signal, figure
) -> None:
    policy, task, rollouts = sampled
    whole = load_signals(_config(method), task, policy)[0]
    first = whole.measure(rollouts, [()] * len(rollouts))
    assert first.metrics["token_model/rollouts"] == 32
    assert np.isfinite(first.metrics["token_model/loss"]) and figure in first.metrics
    assert all(len(r.signals[signal]) == len(r.token_ids) for r in first.rollouts)
    whole.learn(_credited(rollouts))
    whole.save(tmp_path)  # type: ignore[attr-defined]
    again = load_signals(_config(method), task, policy)[0]
    again.load(tmp_path)  # type: ignore[attr-defined]
    for source in (whole, again):
        source.learn(_credited(rollouts))
    one, two = (s.measure(rollouts, [()] * len(rollouts)) for s in (whole, again))
    assert one.rollouts == two.rollouts and one.metrics == two.metrics
    assert one.rollouts != first.rollouts  # it learned
    assert "token_model/rollouts" not in one.metrics  # the first completions are sampled once


def test_other_rewards_are_refused(sampled) -> None:
    policy, task, _ = sampled
    paid = {"kind": "likelihood", "form": "verifree"}
    with pytest.raises(UserError, match=r"set token_model.updates to 0"):
        load_signals(_config("critic", reward=paid), task, policy)
    with pytest.raises(UserError, match=r"reward.kind likelihood: use outcome"):
        load_signals(_config("oreal", reward=paid), task, policy)
    assert load_signals(_config("critic", reward=paid, token_model={"updates": 0}), task, policy)


def test_a_task_without_a_grader_is_refused(sampled) -> None:
    policy, _, rollouts = sampled
    task = load_task({"kind": "inexact"})
    source = load_signals(_config("critic"), task, policy)[0]
    with pytest.raises(UserError, match="nothing to fit a token model to"):
        source.measure(rollouts, [()] * len(rollouts))
