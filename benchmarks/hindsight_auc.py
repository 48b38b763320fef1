"""Does h_t find the wrong steps? Area under the ROC curve against an exact reviewer.

    python benchmarks/hindsight_auc.py [--seeds 0 1 2] [--problems 512] [--samples 8]

Task ``sums`` with 3 or 4 operations, the shipped policy. Stage 1 is that of the credit methods:
a helper learns what the policy wrote, under the answers it reached. Then completions of fresh
problems are sampled, and every step of a wrong completion gets three scores: minus the sum of h_t
under the reference answer, minus the mean credit (1 - exp(-h_t)) A under the answer reached, and
minus log p of the step, which needs no helper. The area is the chance that a wrong step is above a
right one of the wrong completions; the interval resamples problems.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np
import torch

from apportion.config import RunConfig
from apportion.credit import load_method
from apportion.edit.answer import stated
from apportion.faithfulness.roc import auc
from apportion.policies.tiny import load_tiny
from apportion.review import load_reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Rollout
from apportion.train.grpo.hindsight_source import HindsightSource
from apportion.train.helper import NO_ANSWER, reference
from apportion.train.measure.evaluate import score_rollouts

SCORES = ("reference", "credit", "surprise")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--problems", type=int, default=512)
    options.add_argument("--samples", type=int, default=8)
    options.add_argument("--fresh", type=int, default=80)
    given = options.parse_args()
    torch.set_num_threads(1)
    print("| seed | held-out gain, nats a token | fresh gain, nats a chain | wrong steps | right |"
          " AUC reference | AUC credit | AUC surprise | seconds |")  # fmt: skip
    for seed in given.seeds:
        print(one_seed(seed, given), flush=True)


def one_seed(seed: int, given: argparse.Namespace) -> str:
    started = time.process_time()
    config = RunConfig.model_validate(
        {
            "name": "auc",
            "task": {"kind": "sums", "operations": [3, 4], "terms": [1, 9], "largest": 60},
            "policy": {"kind": "tiny", "checkpoint": "sums"},
            "helper": {"problems": given.problems, "samples": given.samples, "kl_limit": 0},
            "train": {"max_completion_tokens": 40},
            "seeds": [seed],
        }
    )
    policy, task = load_tiny("sums"), load_task(config.task)
    source = HindsightSource(config, load_method("hindsight"), task, policy)
    problems = task.problems("validation", given.fresh, seed)
    rollouts = policy.sample(
        problems, n=8, max_tokens=40, seed=seed + 1, reasoning_end=task.reasoning_end
    )
    rollouts = score_rollouts(task, rollouts)
    metrics = source.measure(rollouts, []).metrics
    reached = source.helper.velocities(rollouts, [stated(r) or NO_ANSWER for r in rollouts])
    wanted = source.helper.velocities(rollouts, [reference(r.problem) for r in rollouts])
    advantages = _advantages(rollouts)
    found: dict[str, dict[bool, list[tuple[float, ...]]]] = defaultdict(lambda: defaultdict(list))
    for rollout, of_reached, of_wanted in zip(rollouts, reached, wanted, strict=True):
        if rollout.outcome != 0.0:
            continue
        for step, wrong in _verdicts(rollout):
            on = [t for t, (a, b) in enumerate(rollout.token_spans) if step[0] <= a < b <= step[1]]
            credit_T = np.maximum(1 - np.exp(-of_reached.h_T[on]), -1) * advantages[rollout.id]
            scores = (-of_wanted.h_T[on].sum(), -credit_T.mean(), -of_wanted.logps_T[on].sum())
            found[rollout.problem.id][wrong].append(scores)
    counts = [sum(len(of_one[w]) for of_one in found.values()) for w in (True, False)]
    areas = " | ".join(_interval(found, i) for i in range(len(SCORES)))
    gain = np.mean([v.h_T.sum() for v in reached])
    return (
        f"| {seed} | {metrics['helper/held_out_gain']:.4f} | {gain:.3f} | {counts[0]} | "
        f"{counts[1]} | {areas} | {time.process_time() - started:.0f} |"
    )


def _advantages(rollouts: list[Rollout]) -> dict[str, float]:
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        groups[rollout.group].append(rollout)
    found = {}
    for group in groups.values():
        outcomes = np.array([r.outcome for r in group], float)
        scaled = (outcomes - outcomes.mean()) / (outcomes.std() + 1e-4)
        found |= {r.id: float(a) for r, a in zip(group, scaled, strict=True)}
    return found


def _verdicts(rollout: Rollout) -> list[tuple[tuple[int, int], bool]]:
    steps = segment(rollout.text, rollout.reasoning_end, "line")
    item = Item(rollout.problem, rollout.text, steps, rollout.outcome, rollout.id)
    review = review_now([load_reviewer("gold")], [item])[0][0]
    pairs = zip(review.steps, review.verdicts, strict=True)
    return [((s.start, s.end), v.wrong) for s, v in pairs if not v.abstains]


def _interval(found: dict[str, dict[bool, list[tuple[float, ...]]]], index: int) -> str:
    names = sorted(found)

    def area(chosen: list[str]) -> float:
        sides = [[s[index] for n in chosen for s in found[n][wrong]] for wrong in (True, False)]
        return auc(*sides) if all(sides) else float("nan")

    rng = np.random.default_rng(0)
    draws = [area([str(n) for n in rng.choice(names, len(names))]) for _ in range(200)]
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return f"{area(names):.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
