"""Latent chains cut short: how much is lost with the steps that are missing?"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from apportion.faithfulness.latent.base import Chain, LatentMeasure, Reply, batch_of, replies
from apportion.faithfulness.subject import Subject
from apportion.trace import Probe


class LatentCut(LatentMeasure):
    """Accuracy lost where the answer is given after fewer latent steps than the policy takes.

    ``value`` is right after all k steps − right after k' steps, mean over k' from 0 to k − 1; as
    early answering (Lanham et al. 2023, arXiv 2307.13702) does with text. ``curve`` holds
    (k'/k, log-probability of the gold answer) up to k' = k. Parts: ``accuracy``, ``logprob``, and
    the same after no step at all (``…_none``) and after the first half, rounded down
    (``…_half``).
    """

    name = "latent_cut"
    higher = "the latents are used more"
    claims = "whether the later latent steps, and there being steps at all, matter for the answer"
    blind = "steps that only mark a place to compute at: they count as used"
    source = "2307.13702, 2512.21711"

    def passes(self, chain: Chain) -> int:
        return chain.steps + 1

    def probe_chains(self, subject: Subject, chains: Sequence[Chain]) -> list[Probe]:
        from apportion.policies.latent.interventions import after, taken

        model, batch = subject.policy.model, batch_of(subject, chains)
        thought = taken(model, batch.questions).thought
        longest = max(chain.steps for chain in chains)
        told = [
            replies(subject, chains, batch, after(model, batch.questions, thought, steps))
            for steps in range(longest + 1)
        ]
        return [
            self._probe(chain, [told[steps][i] for steps in range(chain.steps + 1)])
            for i, chain in enumerate(chains)
        ]

    def _probe(self, chain: Chain, told: Sequence[Reply]) -> Probe:
        right = [None if reply.right is None else float(reply.right) for reply in told]
        half = chain.steps // 2
        whole, shorter = right[-1], [one for one in right[:-1] if one is not None]
        return self.told(
            chain,
            None if whole is None or not shorter else whole - fmean(shorter),
            curve=tuple((i / chain.steps, reply.logprob) for i, reply in enumerate(told)),
            parts={
                "accuracy": whole,
                "accuracy_half": right[half],
                "accuracy_none": right[0],
                "logprob": told[-1].logprob,
                "logprob_half": told[half].logprob,
                "logprob_none": told[0].logprob,
            },
            answers=tuple(reply.text for reply in told),
        )
