"""The train-test gap: what the policy can do with problems that it was trained on, and with new
ones."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.config import RunConfig
from apportion.policies.base import Policy
from apportion.stats import Estimate, share, unpaired_bootstrap
from apportion.tasks import Task
from apportion.trace import Rollout
from apportion.train.measure.evaluate import sample_scored


def gap_metrics(
    config: RunConfig, seed: int, task: Task, policy: Policy, held_out: Sequence[Rollout]
) -> dict[str, Estimate]:
    """``gap/trained_accuracy``, greedy, on the first ``eval.trained_problems`` training problems,
    and ``gap/accuracy``, that less the accuracy of ``held_out`` rollouts, with a bootstrap interval
    that resamples both sides. Empty where it is not asked for, or nothing can be graded.

    Every objective trains on the first problems of the split, whatever it does with later ones.
    """
    if not config.eval.trained_problems:
        return {}
    problems = task.problems("train", config.eval.trained_problems, seed)
    how = {"temperature": 0.0, "max_tokens": config.train.max_completion_tokens}
    trained, new = _right(sample_scored(policy, task, problems, **how)), _right(held_out)
    accuracy, gap = share(sum(trained), len(trained)), unpaired_bootstrap(new, trained)
    if accuracy is None or gap is None:
        return {}
    return {"gap/trained_accuracy": accuracy, "gap/accuracy": gap}


def _right(rollouts: Sequence[Rollout]) -> list[float]:
    return [float(r.outcome > 0.5) for r in rollouts if r.outcome is not None]
