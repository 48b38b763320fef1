"""Signs of gaming in the sampled completions, as metrics of each update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from apportion.detect import detect_all, excess, norm_for
from apportion.trace import Rollout, Step

# So many chains of an update are read, evenly spaced: a share over them is close enough, and the
# time stays below a hundredth of an update.
CHAINS = 16


def gaming_metrics(
    rollouts: Sequence[Rollout], cuts: Sequence[Sequence[Step]], *, chains: int = CHAINS
) -> dict[str, float]:
    """Means over some of the completions; docs/metrics.md explains each ``gaming/...``."""
    sums: dict[str, list[float]] = defaultdict(list)
    count = min(chains, len(rollouts))
    for place in np.linspace(0, len(rollouts) - 1, count).round().astype(int):
        rollout, steps = rollouts[place], cuts[place]
        for name, value in detect_all(rollout, steps, norm=norm_for(rollout.problem)).items():
            sums[name].append(value)
        over = excess(steps, rollout.problem)
        if over is not None:
            sums["steps_per_needed"].append(over)
    return {f"gaming/{name}": float(np.mean(values)) for name, values in sums.items()}
