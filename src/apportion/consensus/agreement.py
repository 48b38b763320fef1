"""How far reviewers agree beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import krippendorff
import numpy as np

from apportion.trace import LABELS, Consensus


def krippendorff_alpha(consensuses: Sequence[Consensus]) -> float | None:
    """Krippendorff's alpha (nominal labels) over the voted spans of many rollouts.

    1 is perfect agreement, 0 what chance gives, below 0 systematic disagreement. None where it is
    undefined: fewer than two reviewers on every span, or a single label everywhere.
    Source: Krippendorff, Content Analysis (2004), chapter 11; computed by package krippendorff.
    """
    steps = [step for c in consensuses for step in c.steps if len(step.votes) > 1]
    names = sorted({name for step in steps for name in step.votes})
    if len(names) < 2:
        return None
    ratings_RS = np.full((len(names), len(steps)), np.nan)
    for s, step in enumerate(steps):
        for name, label in step.votes.items():
            if label is not None:
                ratings_RS[names.index(name), s] = LABELS.index(label)
    pairable = (~np.isnan(ratings_RS)).sum(axis=0) > 1
    seen = np.unique(ratings_RS[:, pairable])
    if len(seen[~np.isnan(seen)]) < 2:
        return None
    return float(
        krippendorff.alpha(
            reliability_data=ratings_RS,
            level_of_measurement="nominal",
            value_domain=list(range(len(LABELS))),
        )
    )
