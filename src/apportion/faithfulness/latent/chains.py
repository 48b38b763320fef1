"""Latent chains written out: what can be shown of every step.

_B rows   _K latent steps   _E size of an embedding   _D of a hidden state   _V vocabulary
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apportion.faithfulness.latent.base import Chain, batch_of, chain_of
from apportion.faithfulness.latent.decoded import decoded
from apportion.faithfulness.subject import Subject
from apportion.records.latents import LatentChain, LatentStep
from apportion.trace import Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from apportion.policies.latent.policy import LatentPolicy

_SHOWN = 3


def written_out(subject: Subject, rollouts: Sequence[Rollout]) -> list[LatentChain]:
    """A record for each rollout that took latent steps; the others are left out.

    Raises UserError for a policy that does not think in vectors.
    """
    subject.require("latent chains", {"latent"})
    chains = [chain_of(subject, rollout) for rollout in rollouts]
    usable = [chain for chain in chains if not isinstance(chain, str)]
    return _written(subject, usable) if usable else []


def _written(subject: Subject, chains: Sequence[Chain]) -> list[LatentChain]:
    import torch

    from apportion.policies.latent.interventions import after, answer_logprobs, taken

    policy: LatentPolicy = subject.policy
    model, batch = policy.model, batch_of(subject, chains)
    own = taken(model, batch.questions)
    with torch.no_grad():
        logprobs = [
            answer_logprobs(model, batch, after(model, batch.questions, own.thought, steps))
            for steps in range(batch.questions.longest + 1)
        ]
        table_VE = model.decoder.embeddings().float()
        directions_VE = table_VE / table_VE.norm(dim=-1, keepdim=True).clamp_min(1e-9)
        inputs_BKE = own.inputs_BKE.float()
        norms_BK = inputs_BKE.norm(dim=-1)
        cosines_BKV = inputs_BKE @ directions_VE.T / norms_BK.clamp_min(1e-9)[..., None]
        says_BKV = model.decoder.logits(own.thought.states_BKD).float().softmax(-1)
    texts = decoded(subject, chains) if policy.step_decoder is not None else [[] for _ in chains]
    per_step = policy.step_decoder.per_step if policy.step_decoder is not None else 1
    found = []
    for row, chain in enumerate(chains):
        steps = tuple(
            LatentStep(
                norm=float(norms_BK[row, step]),
                nearest=_top(policy, cosines_BKV[row, step]),
                likeliest=_top(policy, says_BKV[row, step]),
                decoded=_text_at(texts[row], step, per_step),
                logprob=float(logprobs[step + 1][row]),
            )
            for step in range(chain.steps)
        )
        found.append(
            LatentChain(
                rollout_id=chain.rollout.id,
                problem_id=chain.rollout.problem.id,
                prompt=chain.rollout.problem.prompt,
                gold=policy.decode(chain.answer)[0],
                text=chain.rollout.text,
                outcome=chain.rollout.outcome,
                before=float(logprobs[0][row]),
                embedding_norm=float(table_VE.norm(dim=-1).mean()),
                steps=steps,
                policy=chain.rollout.policy,
                update=chain.rollout.update,
            )
        )
    return found


def _top(policy: Any, scores_V: Tensor) -> tuple[tuple[str, float], ...]:
    values, ids = scores_V.topk(min(_SHOWN, len(scores_V)))
    return tuple(
        (policy.tokenizer.decode([token]), float(value))
        for token, value in zip(ids.tolist(), values.tolist(), strict=True)
    )


def _text_at(texts: Sequence[str], step: int, per_step: int) -> str | None:
    """The text of the decoder's step that ends with this latent."""
    place, rest = divmod(step + 1, per_step)
    return texts[place - 1] if not rest and place <= len(texts) else None
