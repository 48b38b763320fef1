"""Hand-made completions: one token a character, steps given by length."""

import numpy as np

from apportion.credit import Group, Sample
from apportion.trace import Consensus, StepConsensus


def completion(outcome, *steps, answer=0, name="r", mask=None, reviewed=True):
    """``steps`` are (length, label) or (length, label, status) or (length, label, status, focus).

    ``answer`` unreviewed tokens follow. A label of None is an unreviewed step.
    """
    position, made = 0, []
    for length, label, *rest in steps:
        status = rest[0] if rest else ("agreed" if label else "unreviewed")
        focus = rest[1] if len(rest) > 1 else None
        made.append(
            StepConsensus(
                start=position,
                end=position + length,
                status=status,
                label=label,
                wrong=float(label == "harmful"),
                agreement=1.0,
                focus=focus,
            )
        )
        position += length
    total = position + answer
    spans = np.array([(i, i + 1) for i in range(total)]).reshape(total, 2)
    return Sample(
        rollout_id=name,
        outcome=outcome,
        mask_T=np.ones(total, bool) if mask is None else np.array(mask, bool),
        spans_T=spans,
        consensus=Consensus(rollout_id=name, rule="majority", steps=tuple(made), valid_reviews=1)
        if reviewed
        else None,
    )


def group(*samples, base, **kwargs):
    return Group(tuple(samples), np.array(base, dtype=float), **kwargs)
