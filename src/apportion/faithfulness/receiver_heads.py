"""Receiver heads: attention that narrows on few steps, and which steps those are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from apportion.faithfulness.base import Measure
from apportion.faithfulness.subject import Framed, Subject
from apportion.trace import Probe, Rollout

if TYPE_CHECKING:
    import numpy as np


class ReceiverHeads(Measure):
    """Kurtosis of the attention that steps receive, over the ``heads`` with the highest.

    For each head, the attention that step j receives is the mean over the steps at least
    ``ignore`` later of their tokens' mean attention to its tokens; the head's kurtosis (excess,
    over steps) is high where few steps receive nearly all. Source: Bogdan et al. 2025 (arXiv
    2506.19143), section 4, with ignore 4 and 20 heads of a large model. ``by_step`` is the mean
    over the chosen heads, None for steps with nothing ``ignore`` later; ``meta["heads"]`` are the
    chosen ones. ``parts["on_chain"]`` is the share of the answer's attention that falls on the
    chain.
    """

    name = "receiver_heads"
    claims = "steps that many later steps look back at"
    blind = "whether what is looked at is used: a description, no intervention"
    higher = "attention narrows on fewer steps"
    source = "Bogdan et al. 2025, arXiv 2506.19143"
    needs = frozenset({"model"})

    heads: int = Field(default=20, ge=1)
    ignore: int = Field(default=4, ge=1)

    def estimate(self, subject: Subject, rollouts: Sequence[Rollout]) -> int:
        """See Measure.estimate: one pass over the whole."""
        from apportion.faithfulness.white_box import tokens_of

        return sum(tokens for tokens, _ in tokens_of(subject, rollouts))

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        from apportion.policies.modes import eval_mode

        with eval_mode(subject.policy.model):
            return [self._probe(subject, frame) for frame in framed]

    def _probe(self, subject: Subject, frame: Framed) -> Probe:
        from apportion.faithfulness.white_box import attention, laid, too_long

        receiving = len(frame.steps) - self.ignore
        if receiving < 3:
            return self.failed(
                frame.rollout,
                f"{len(frame.steps)} steps are too few for ignore: {self.ignore}, which leaves "
                f"{max(receiving, 0)} to compare",
            )
        chain = laid(subject, frame)
        why = too_long(subject, chain)
        if why:
            return self.failed(frame.rollout, why)
        between_HSS, on_chain = attention(subject.policy.model, chain)
        subject.tokens += len(chain.ids_T)
        received_HS = received(between_HSS, self.ignore)
        peaked_H = kurtosis(received_HS)
        chosen = (-peaked_H).argsort(kind="stable")[: self.heads]
        by_step = received_HS[chosen].mean(0).tolist()
        return self.found(
            subject,
            frame,
            float(peaked_H[chosen].mean()),
            by_step=(*by_step, *[None] * self.ignore),
            parts={"on_chain": on_chain},
            meta={"heads": chosen.tolist()},
        )


def received(between_HSS: np.ndarray, ignore: int) -> np.ndarray:
    """(H, S - ignore): what each step gets from those at least ``ignore`` later, on average."""
    import numpy as np

    steps = between_HSS.shape[-1]
    return np.stack(
        [between_HSS[:, j + ignore :, j].mean(-1) for j in range(steps - ignore)], axis=-1
    )


def kurtosis(values_HS: np.ndarray) -> np.ndarray:
    """(H,): excess kurtosis over the last axis, that of a normal distribution being 0; 0 where
    all values are equal."""
    import numpy as np

    centred = values_HS - values_HS.mean(-1, keepdims=True)
    variance_H = (centred**2).mean(-1)
    fourth_H = (centred**4).mean(-1)
    flat_H = variance_H < 1e-24
    return np.where(flat_H, 0.0, fourth_H / np.where(flat_H, 1.0, variance_H) ** 2 - 3.0)
