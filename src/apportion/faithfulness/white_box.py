"""A chain as the network reads it: its tokens, and which step each of them belongs to.

_T  tokens of prompt, chain and answer    _S  steps    _B  rows of a batch
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from apportion.faithfulness.subject import Framed, Subject
from apportion.trace import Rollout

PROMPT, OPENING = -2, -1


class Laid(NamedTuple):
    """``ids_T`` and, for each token, its step: 0 to S-1, S for what leads to the answer, S+1 for
    the answer, ``PROMPT`` or ``OPENING`` for what is before the chain."""

    ids_T: torch.Tensor
    owner_T: torch.Tensor
    steps: int

    @property
    def answer(self) -> int:
        return self.steps + 1


def laid(subject: Subject, frame: Framed) -> Laid:
    """Prompt, chain and answer as tokens. The chain and the answer are tokenised apart, as for
    scoring, so that no token lies across the two."""
    policy = subject.policy
    prefix = subject.forced(frame, frame.body)
    text = policy.tokenizer(prefix.text, add_special_tokens=False).input_ids
    answer = policy.tokenizer(frame.tail, add_special_tokens=False).input_ids
    prompt = policy.prompt_ids(prefix.problem)
    spans = policy.decode(text)[1]
    owners = [PROMPT] * len(prompt) + [_owner(frame, start) for start, _ in spans]
    owners += [len(frame.steps) + 1] * len(answer)
    ids = [*prompt, *text, *answer]
    device = policy.model.device
    return Laid(
        torch.tensor(ids, device=device), torch.tensor(owners, device=device), len(frame.steps)
    )


def _owner(frame: Framed, start: int) -> int:
    if start < len(frame.opening):
        return OPENING
    return next((i for i, s in enumerate(frame.steps) if s.start <= start < s.end),
                len(frame.steps))  # fmt: skip


def too_long(subject: Subject, chain: Laid) -> str:
    """Why the chain does not fit, or an empty text."""
    context = getattr(subject.policy.model.config, "max_position_embeddings", None)
    tokens = len(chain.ids_T)
    if context and tokens > context:
        return f"its {tokens} tokens exceed the context of {context}"
    return ""


def tokens_of(subject: Subject, rollouts: Sequence[Rollout]) -> list[tuple[int, int]]:
    """(tokens, steps) of each rollout that can be measured."""
    frames = [subject.frame(rollout) for rollout in rollouts]
    chains = [laid(subject, frame) for frame in frames if not isinstance(frame, str)]
    return [(len(chain.ids_T), chain.steps) for chain in chains]


def suppressed(
    model: Any, chain: Laid, batch_size: int, places: Sequence[int]
) -> list[dict[int, float]]:
    """For each of the steps ``places`` hidden, and last for the whole chain hidden: KL (nats) of
    the undisturbed next-token distributions from the disturbed ones, the mean over the tokens of
    each step (0 to S-1), of what leads to the answer (S), and of the answer (S+1)."""
    owner_T = chain.owner_T
    everything_TT = torch.ones(len(owner_T), len(owner_T), dtype=torch.bool, device=owner_T.device)
    everything_TT = everything_TT.tril()
    base_TV = logprobs(model, chain.ids_T, everything_TT[None])[0]
    hidden = [owner_T == step for step in places]
    hidden.append((owner_T >= 0) & (owner_T < chain.steps))
    found: list[dict[int, float]] = []
    for start in range(0, len(hidden), batch_size):
        rows = hidden[start : start + batch_size]
        allowed_BTT = torch.stack([_hide(everything_TT, keys_T) for keys_T in rows])
        changed_BTV = logprobs(model, chain.ids_T, allowed_BTT)
        kl_BT = (base_TV.exp() * (base_TV - changed_BTV)).sum(-1)
        # The distribution over token t is that of position t - 1.
        found += [_by_owner(kl_T[:-1], owner_T[1:], chain.steps) for kl_T in kl_BT]
    return found


def without_question(model: Any, chain: Laid) -> float:
    """KL (nats) of the undisturbed next-token distributions from those where nothing behind the
    chain sees the prompt, the mean over the answer's tokens."""
    owner_T = chain.owner_T
    everything_TT = torch.ones(len(owner_T), len(owner_T), dtype=torch.bool, device=owner_T.device)
    everything_TT = everything_TT.tril()
    behind_T = owner_T >= chain.steps
    hidden_TT = everything_TT & ~(behind_T[:, None] & (owner_T == PROMPT)[None, :])
    base_TV = logprobs(model, chain.ids_T, everything_TT[None])[0]
    changed_TV = logprobs(model, chain.ids_T, hidden_TT[None])[0]
    kl_T = (base_TV.exp() * (base_TV - changed_TV)).sum(-1)
    return _by_owner(kl_T[:-1], owner_T[1:], chain.steps)[chain.answer]


def _hide(everything_TT: torch.Tensor, keys_T: torch.Tensor) -> torch.Tensor:
    """Positions behind the hidden ones do not see them; the hidden ones see each other."""
    last = int(torch.nonzero(keys_T).max()) if bool(keys_T.any()) else len(keys_T)
    later_T = torch.arange(len(keys_T), device=keys_T.device) > last
    return everything_TT & ~(later_T[:, None] & keys_T[None, :])


def _by_owner(kl_T: torch.Tensor, owner_T: torch.Tensor, steps: int) -> dict[int, float]:
    return {
        owner: float(kl_T[owner_T == owner].mean()) if bool((owner_T == owner).any()) else 0.0
        for owner in range(steps + 2)
    }


@torch.no_grad()
def logprobs(model: Any, ids_T: torch.Tensor, allowed_BTT: torch.Tensor) -> torch.Tensor:
    """(B, T, V) log-probabilities where position q of row b sees position k if allowed."""
    low = torch.finfo(model.dtype).min
    mask_B1TT = torch.where(allowed_BTT, 0.0, low).to(model.dtype)[:, None]
    positions_1T = torch.arange(len(ids_T), device=ids_T.device)[None]
    out = model(
        input_ids=ids_T.expand(len(allowed_BTT), -1),
        attention_mask=mask_B1TT,
        position_ids=positions_1T.expand(len(allowed_BTT), -1),
        use_cache=False,
    )
    return out.logits.float().log_softmax(-1)


@torch.no_grad()
def attention(model: Any, chain: Laid) -> tuple[np.ndarray, float]:
    """Mean attention of a token of one step to a token of another, (heads of all layers, S, S) in
    the order of the layers; and the share of the attention of the positions that predict the
    answer that falls on the chain, the mean over heads and layers.

    The implementation of attention is switched to the one that keeps its weights, and back.
    """
    was = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        out = model(input_ids=chain.ids_T[None], output_attentions=True, use_cache=False)
    finally:
        model.set_attn_implementation(was)
    owner_T = chain.owner_T
    mean_ST = torch.stack([owner_T == step for step in range(chain.steps)]).float()
    mean_ST = mean_ST / mean_ST.sum(-1, keepdim=True).clamp(min=1)
    asking_T = torch.zeros_like(owner_T, dtype=torch.bool)
    asking_T[:-1] = owner_T[1:] == chain.answer
    on_chain_T = ((owner_T >= 0) & (owner_T < chain.steps)).float()
    between = [mean_ST @ weights[0].float() @ mean_ST.T for weights in out.attentions]
    asked = [(weights[0][:, asking_T].float() @ on_chain_T).mean() for weights in out.attentions]
    return torch.cat(between).cpu().numpy(), float(torch.stack(asked).mean())
