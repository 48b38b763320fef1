"""Latents replaced by something that knows nothing of the problem: does the answer suffer?

_B rows   _K latent steps   _E size of an embedding
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from pydantic import Field

from apportion.faithfulness.latent.base import (
    Chain,
    LatentMeasure,
    Reply,
    batch_of,
    reference_inputs,
    replies,
)
from apportion.faithfulness.subject import Subject
from apportion.tasks.stable import stable_hash
from apportion.trace import Probe

if TYPE_CHECKING:
    from torch import Tensor


class Replaced(LatentMeasure):
    """Base: accuracy lost where the input z_t of every latent step is replaced.

    ``value`` is right − right with the replacement (greedy answers, mean over draws), so that its
    mean is the accuracy lost. Parts: ``accuracy``, ``accuracy_replaced``, ``logprob`` of the gold
    answer (nats) and ``logprob_replaced``, and ``same``, how often the answer's text stays. Keys
    and values at a replaced step are still computed from the question.
    """

    higher = "the latents are used more"
    claims = "whether what one latent step hands to the next matters for the answer"
    blind = "what the model computes anew at the positions of the latents"
    source = "2512.21711, 2412.06769"

    def inputs(self, subject: Subject, chains: Sequence[Chain], given_BKE: Tensor) -> list[Tensor]:
        """What stands in the place of ``given_BKE``, once for each draw."""
        raise NotImplementedError

    def probe_chains(self, subject: Subject, chains: Sequence[Chain]) -> list[Probe]:
        from apportion.policies.latent.interventions import taken

        model, batch = subject.policy.model, batch_of(subject, chains)
        own = taken(model, batch.questions)
        given = replies(subject, chains, batch, own.thought)
        drawn = [
            replies(subject, chains, batch, taken(model, batch.questions, inputs).thought)
            for inputs in self.inputs(subject, chains, own.inputs_BKE)
        ]
        return [
            self._probe(chain, given[i], [draw[i] for draw in drawn])
            for i, chain in enumerate(chains)
        ]

    def _probe(self, chain: Chain, given: Reply, drawn: Sequence[Reply]) -> Probe:
        parts: dict[str, float | None] = {
            "accuracy": None if given.right is None else float(given.right),
            "accuracy_replaced": _mean([reply.right for reply in drawn]),
            "logprob": given.logprob,
            "logprob_replaced": fmean(reply.logprob for reply in drawn),
            "same": fmean(reply.text == given.text for reply in drawn),
        }
        before, now = parts["accuracy"], parts["accuracy_replaced"]
        return self.told(
            chain,
            None if before is None or now is None else before - now,
            parts=parts,
            answers=(given.text, *(reply.text for reply in drawn)),
        )


class LatentNoise(Replaced):
    """See ``Replaced``; by normal noise, each vector with the norm of the one it stands for."""

    name = "latent_noise"

    n: int = Field(default=4, ge=1)

    def passes(self, chain: Chain) -> int:
        return 1 + self.n

    def inputs(self, subject: Subject, chains: Sequence[Chain], given_BKE: Tensor) -> list[Tensor]:
        import torch

        from apportion.policies.latent.interventions import matched_noise

        found = []
        for draw in range(self.n):
            seeds = [stable_hash(f"{subject.seed} {c.rollout.id} {draw}") for c in chains]
            rows = [torch.Generator().manual_seed(seed % 2**63) for seed in seeds]
            # Rows have the length of the longest: drawn at the policy's own, they do not depend on
            # which chains are measured together.
            found.append(matched_noise(_widened(subject, given_BKE), rows)[:, : given_BKE.shape[1]])
        return found


class LatentMean(Replaced):
    """See ``Replaced``; by the mean over ``problems`` training problems of the same step's."""

    name = "latent_mean"

    problems: int = Field(default=256, ge=2)

    def passes(self, chain: Chain) -> int:
        return 2

    def inputs(self, subject: Subject, chains: Sequence[Chain], given_BKE: Tensor) -> list[Tensor]:
        _, others_NKE = reference_inputs(subject, self.problems)
        return [others_NKE.mean(0).expand(len(chains), -1, -1)]


class LatentSwap(Replaced):
    """See ``Replaced``; by those of another problem, a training problem with another answer.

    The part ``other`` says how often the answer becomes that of the other problem.
    """

    name = "latent_swap"

    problems: int = Field(default=256, ge=2)
    n: int = Field(default=4, ge=1)

    def passes(self, chain: Chain) -> int:
        return 1 + self.n

    def inputs(self, subject: Subject, chains: Sequence[Chain], given_BKE: Tensor) -> list[Tensor]:
        import torch

        _, others_NKE = reference_inputs(subject, self.problems)
        chosen = [self._others(subject, chain) for chain in chains]
        return [others_NKE[torch.tensor([row[i] for row in chosen])] for i in range(self.n)]

    def probe_chains(self, subject: Subject, chains: Sequence[Chain]) -> list[Probe]:
        problems, _ = reference_inputs(subject, self.problems)
        found = []
        for chain, probe in zip(chains, super().probe_chains(subject, chains), strict=True):
            others = [problems[index] for index in self._others(subject, chain)]
            taken_over = [
                subject.right(other, str(text))
                for other, text in zip(others, probe.answers[1:], strict=True)
            ]
            parts = probe.parts | {"other": _mean(taken_over)}
            found.append(probe.model_copy(update={"parts": parts}))
        return found

    def _others(self, subject: Subject, chain: Chain) -> list[int]:
        """Reference problems with another answer; any where all have the same."""
        problems, _ = reference_inputs(subject, self.problems)
        own = chain.rollout.problem.answers
        fit = [i for i, problem in enumerate(problems) if problem.answers != own]
        fit = fit or list(range(len(problems)))
        draws = range(self.n)
        names = [f"swap {subject.seed} {chain.rollout.id} {draw}" for draw in draws]
        return [fit[stable_hash(name) % len(fit)] for name in names]


def _widened(subject: Subject, given_BKE: Tensor) -> Tensor:
    """The inputs with as many steps as the policy may take, the last one repeated."""
    missing = subject.policy.model.steps - given_BKE.shape[1]
    if missing <= 0:
        return given_BKE
    from torch import cat

    return cat([given_BKE, given_BKE[:, -1:].expand(-1, missing, -1)], dim=1)


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else None
