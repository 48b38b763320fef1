"""What splitting a reward over tokens does besides moving it, as metrics of each update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.credit import Sample, TokenCredit
from apportion.trace import Rollout


def side_effects(
    rollouts: Sequence[Rollout],
    local: Sequence[tuple[Sample, float]],
    credits: Sequence[TokenCredit],
) -> dict[str, float]:
    """``credit/...`` metrics of the signs, the size and the conservation of the advantages.

    ``local`` pairs each completion with its base advantage, the outcome's. docs/metrics.md
    explains each metric.
    """
    separators = [float(r.text[: r.reasoning_end].count("\n")) for r in rollouts]
    found = {"credit/separators": float(np.mean(separators)) if separators else 0.0}
    advantages, bases, unkept = [], [], []
    for (sample, base), credit in zip(local, credits, strict=True):
        mask_T = sample.mask_T
        advantage_T = credit.advantages_T[mask_T]
        if len(advantage_T):
            advantages.append(advantage_T)
            bases.append(np.full(len(advantage_T), base))
            unkept.append(abs(float(advantage_T.mean()) - base))
    if not advantages:
        return found
    advantage, base = np.concatenate(advantages), np.concatenate(bases)
    found |= {
        "credit/positive_tokens": float((advantage > 0).mean()),
        "credit/negative_tokens": float((advantage < 0).mean()),
        "credit/turned_tokens": float((advantage * base < 0).mean()),
        "credit/unkept": float(np.mean(unkept)),
    }
    size = float(np.sqrt((base**2).mean()))
    if size > 0:
        found["credit/scale"] = float(np.sqrt((advantage**2).mean())) / size
    return found
