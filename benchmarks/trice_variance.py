"""Does the variance of TRICE's gradient estimate fall as the policy gets better?

    python benchmarks/trice_variance.py [--seed 0]       # about 4 minutes on one core

A tiny policy for sums learns gold chains, round by round. After each round the gradient of TRICE
is estimated again and again for the same problems: remembered chains are drawn from the
policy's right ones (where the Markov chain would be after many visits), proposals afresh. Printed:
the trace of the covariance of the estimate over these repeats, without a control variate and with
the leave-one-out one, with 95 % intervals over repeats, the squared norm of the mean, and how many
different right chains a problem has among those that were drawn.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch

from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.tiny import load_tiny
from apportion.stats import Estimate, mean, stratified_bootstrap
from apportion.tasks import Task, load_task
from apportion.trace import Problem, Rollout
from apportion.train.measure.evaluate import score_rollouts
from apportion.train.self_training.chain_learner import WeightedChain, chain_logps
from apportion.train.self_training.trice_terms import gradient_terms, leave_one_out
from apportion.train.supervised import Row, fit

_MAX_TOKENS = 64
_TRIES = 8  # completions of a problem among which the remembered chain is the first right one

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--operations", type=int, nargs=2, default=(5, 6))
parser.add_argument("--problems", type=int, default=16, help="M, problems of one estimate")
parser.add_argument("--repeats", type=int, default=16)
parser.add_argument("--updates", type=int, default=15, help="between two measurements")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()


def main() -> None:
    task = load_task(
        {"kind": "sums", "operations": list(options.operations), "terms": [1, 9], "largest": 60}
    )
    policy = load_tiny("sums")
    problems = task.problems("validation", options.problems, options.seed)
    print(f"{len(problems)} problems, {options.repeats} repeats, seed {options.seed}")
    print("| updates | right | no control variate | with | |mean|² | right chains a problem |")
    print("|---|---|---|---|---|---|")
    for number in range(options.rounds):
        if number:
            _learn(policy, task, number)
        right, kinds, plain, controlled = _estimates(policy, task, problems, number)
        spreads = [_spread(g) for g in (plain, controlled)]
        norm = float(plain.mean(0).square().sum())
        print(
            f"| {number * options.updates} | {right:.2f} | {_cell(spreads[0])} "
            f"| {_cell(spreads[1])} | {norm:.3g} | {kinds:.2f} |",
            flush=True,
        )


def _learn(policy: LanguageModelPolicy, task: Task, number: int) -> None:
    """Some updates on gold chains."""
    drawn = task.problems("train", 32 * options.updates * options.rounds, options.seed)
    rows = []
    for problem in drawn[number :: options.rounds]:
        ids = policy.tokenizer(task.gold_completion(problem) or "").input_ids
        rows.append(Row(policy.prompt_ids(problem), [*ids, policy.tokenizer.eos_token_id]))
    fit(
        policy.model, policy.tokenizer, rows, updates=options.updates, batch_size=32,
        learning_rate=5e-4, seed=options.seed + number,
    )  # fmt: skip


def _estimates(
    policy: LanguageModelPolicy, task: Task, problems: Sequence[Problem], number: int
) -> tuple[float, float, torch.Tensor, torch.Tensor]:
    """Share of right proposals, how many different right chains a problem that has any has, and
    the gradient of each repeat, (R, P), without and with the control variate, which see the same
    chains."""
    shares, plain, controlled = [], [], []
    texts: dict[str, set[str]] = defaultdict(set)
    for repeat in range(options.repeats):
        seed = options.seed + 1000 * (number + 1) + repeat
        rollouts = _sample(policy, task, problems, _TRIES + 1, seed)
        per = [rollouts[i : i + _TRIES + 1] for i in range(0, len(rollouts), _TRIES + 1)]
        proposals = [own[0] for own in per]
        for rollout in rollouts:
            if rollout.outcome:
                texts[rollout.problem.id].add(rollout.text)
        accepted = [bool(r.outcome) for r in proposals]
        held = [_held(own) for own in per]
        shares.append(np.mean(accepted))
        known = [chain is not None for chain in held]
        for betas, kept in (
            ([0.0] * len(per), plain),
            (leave_one_out(accepted), controlled),
        ):
            chains = []
            for term in gradient_terms(known, accepted, betas):
                chosen = held[term.example] if term.chain == "memory" else proposals[term.example]
                assert chosen is not None
                ids = policy.prompt_ids(chosen.problem)
                chains.append(WeightedChain(term.example, ids, chosen.token_ids, term.weight))
            kept.append(_gradient(policy, chains, len(per)))
    kinds = float(np.mean([len(some) for some in texts.values()]))
    return float(np.mean(shares)), kinds, torch.stack(plain), torch.stack(controlled)


def _held(own: Sequence[Rollout]) -> Rollout | None:
    """What the memory holds after the step: the proposal if it is right, else a right chain."""
    if own[0].outcome:
        return own[0]
    return next((r for r in own[1:] if r.outcome), None)


def _gradient(
    policy: LanguageModelPolicy, chains: Sequence[WeightedChain], examples: int
) -> torch.Tensor:
    """(1 / examples) Σ w ∇ log p(chain), flat, float64."""
    if not chains:
        return torch.zeros(sum(p.numel() for p in policy.model.parameters()), dtype=torch.float64)
    policy.model.zero_grad()
    policy.model.eval()
    weights_B = torch.tensor([chain.weight for chain in chains])
    ((weights_B * chain_logps(policy, chains)).sum() / examples).backward()
    parts = [p.grad.flatten().double() for p in policy.model.parameters() if p.grad is not None]
    return torch.cat(parts)


def _spread(gradients_RP: torch.Tensor) -> Estimate:
    """Trace of the covariance of one estimate, with an interval over repeats."""
    count = len(gradients_RP)
    squares_R = (gradients_RP - gradients_RP.mean(0)).square().sum(1) * count / (count - 1)
    found = stratified_bootstrap(squares_R.tolist(), mean)
    assert found is not None
    return found


def _sample(
    policy: LanguageModelPolicy, task: Task, problems: Sequence[Problem], n: int, seed: int
) -> list[Rollout]:
    found = policy.sample(
        problems, n=n, max_tokens=_MAX_TOKENS, seed=seed, reasoning_end=task.reasoning_end
    )
    return score_rollouts(task, found)


def _cell(found: Estimate) -> str:
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


if __name__ == "__main__":
    main()
