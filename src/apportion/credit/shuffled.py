"""The control: the right verdicts on the wrong steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from apportion.credit.base import Group, Method, Sample, TokenCredit, stable_rng


class Shuffled(Method):
    """Any method's credit with the verdicts permuted among a completion's steps.

    It keeps how many steps of a completion are useful or harmful and loses which ones, so
    whatever it gains over outcome credit was not gained by knowing the steps. Permuting verdicts
    rather than values keeps what the inner method guarantees (DCA's conservation, CAPO's
    normalisation). Numbers measured per token (signals) are permuted among the trainable tokens.
    Degenerate case: one step, or equal verdicts: the inner method itself.
    """

    inner: dict[str, Any] = Field(default_factory=lambda: {"method": "dca"})

    @property
    def needs(self) -> tuple[str, ...]:
        from apportion.credit import load_method

        return load_method(self.inner).needs

    def assign(self, group: Group) -> list[TokenCredit]:
        from apportion.credit import load_method

        samples = tuple(
            _permuted(_moved_signals(sample, group.seed), group.seed) for sample in group.samples
        )
        return load_method(self.inner).assign(replace(group, samples=samples))


def _moved_signals(sample: Sample, seed: int) -> Sample:
    """All signals of a token move together."""
    if not sample.signals:
        return sample
    here = np.flatnonzero(sample.mask_T)
    source = stable_rng(seed, "shuffled signals", sample.rollout_id).permutation(here)
    moved = {name: values.copy() for name, values in sample.signals.items()}
    for name, values in sample.signals.items():
        moved[name][here] = values[source]
    return replace(sample, signals=moved)


def _permuted(sample: Sample, seed: int) -> Sample:
    if sample.consensus is None or len(sample.steps) < 2:
        return sample
    order = stable_rng(seed, "shuffled", sample.rollout_id).permutation(len(sample.steps))
    steps = []
    for here, source in zip(sample.steps, order, strict=True):
        verdict = sample.steps[int(source)]
        moved = {"start": here.start, "end": here.end, "depends_on": ()}
        # A focus points into the step it was made for and means nothing elsewhere.
        moved["focus"] = verdict.focus if verdict.start == here.start else None
        steps.append(verdict.model_copy(update=moved))
    return replace(sample, consensus=sample.consensus.model_copy(update={"steps": tuple(steps)}))
