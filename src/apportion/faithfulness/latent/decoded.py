"""The step decoder as a reader: does it write the values of the solution?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from statistics import fmean
from typing import TYPE_CHECKING

from apportion.errors import UserError
from apportion.faithfulness.intermediate import step_labels
from apportion.faithfulness.latent.base import Chain, LatentMeasure, batch_of
from apportion.faithfulness.subject import Subject
from apportion.review.reading.equations import read_equations
from apportion.trace import Probe, Rollout

if TYPE_CHECKING:
    from apportion.policies.latent.policy import LatentPolicy

# Tokens of one written step, at most.
_LONGEST = 32


class LatentDecoded(LatentMeasure):
    """Share of the problem's intermediate values that the step decoder writes, each where it
    belongs: the i-th as the result of what it writes from the latents of step i.

    It needs the decoder that ``latent.step_decoder`` trained beside the policy (SIM-CoT). A value
    whose step has no latents left counts as not read. Part ``other``: the same share of what it
    writes from the latents of the problem before this one in the batch, which tells how far the
    form of the steps alone goes.
    """

    name = "latent_decoded"
    higher = "more of the solution can be read"
    claims = "what share of the intermediate values the step decoder writes from the latents"
    blind = "what the decoder was not trained to write; whether the answer rests on it"
    source = "2509.20317"

    def measure(self, subject: Subject, rollouts: Sequence[Rollout]) -> list[Probe]:
        """See LatentMeasure.measure. Raises UserError for a policy without a step decoder."""
        subject.require(self.name, self.needs)
        if subject.policy.step_decoder is None:
            raise UserError(
                f"measure {self.name}: policy '{subject.policy.name}' has no step decoder beside "
                "it: train with latent.step_decoder.weight above 0, or measure latent_values"
            )
        return super().measure(subject, rollouts)

    def probe_chains(self, subject: Subject, chains: Sequence[Chain]) -> list[Probe]:
        written = decoded(subject, chains)
        before = [written[i - 1] for i in range(len(written))]
        return [
            self._probe(chain, own, other if len(chains) > 1 else None)
            for chain, own, other in zip(chains, written, before, strict=True)
        ]

    def _probe(self, chain: Chain, own: Sequence[str], other: Sequence[str] | None) -> Probe:
        wanted = step_labels(chain.rollout.problem)[:-1]
        if not wanted:
            return self.told(chain, None)
        parts = {} if other is None else {"other": _share(wanted, other)}
        return self.told(chain, _share(wanted, own), parts=dict(parts), answers=tuple(own))


def decoded(subject: Subject, chains: Sequence[Chain]) -> list[list[str]]:
    """What the step decoder writes from the latents of each chain, step by step."""
    from apportion.policies.latent.interventions import taken

    policy: LatentPolicy = subject.policy
    decoder = policy.step_decoder
    assert decoder is not None
    questions = batch_of(subject, chains).questions
    states_BKD = taken(policy.model, questions).thought.states_BKD
    found = []
    for chain, steps in zip(chains, decoder.decode(states_BKD, _LONGEST), strict=True):
        texts = [policy.decode(ids)[0].strip() for ids in steps]
        found.append(texts[: chain.steps // decoder.per_step])
        subject.tokens += len(chain.question) + chain.steps + sum(map(len, steps))
    return found


def _share(wanted: Sequence[str], written: Sequence[str]) -> float:
    read = [_arrived(written[i]) if i < len(written) else None for i in range(len(wanted))]
    return fmean(float(r == w) for r, w in zip(read, wanted, strict=True))


def _arrived(text: str) -> str | None:
    """What a step says it arrives at: the result of its last equation, or a name at its end."""
    stated = [e.stated for e in read_equations(text) if e.stated is not None]
    if stated:
        return str(Fraction(stated[-1]))
    name = re.search(r"([^\W\d]\w*)\W*$", text)
    return name[1] if name else None
