"""Sampling that a helper guides towards an answer: what CoT-Flow calls flow-guided decoding.

    p_s(r_t | x, a, r_<t)  ~  p(r_t | x, r_<t) (q(r_t | x, a, r_<t) / p(r_t | x, r_<t))^s

q is the helper. Strength s = 0 is the policy; s = 1 is q, with the true posterior q a draw from
p(r | x, a); a large s goes the way of the highest velocity, as the paper does.

Source: arXiv 2601.09260; the strength is ours. The helper reads every prefix anew, so the cost
grows with the square of the length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from apportion.errors import UserError
from apportion.policies.hindsight import next_logps
from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Problem, Rollout


class GuidedPolicy(LanguageModelPolicy):
    """``policy`` led by ``helper``; ``ask`` gives the helper's prompt for a problem, the answer in
    it. Only the reasoning is led, the answer is the policy's own. The log-probabilities of the
    rollouts are those of the policy.

    Raises UserError for a strength below 0.
    """

    def __init__(
        self,
        policy: LanguageModelPolicy,
        helper: Any,
        ask: Callable[[Problem], Sequence[int]],
        strength: float = 1.0,
    ) -> None:
        if strength < 0:
            raise UserError(f"guide: strength {strength:g} would lead away from the answer")
        super().__init__(policy.model, policy.tokenizer, policy.name, chat=policy.chat)
        self.reviewer_tokens = policy.reviewer_tokens
        self._helper, self._ask, self._strength = helper, ask, strength
        self._asked: dict[tuple[int, ...], Sequence[int]] = {}
        self._reasoning_end: Callable[[str], int] = len

    def sample(self, problems: Sequence[Problem], **options: Any) -> list[Rollout]:
        """See Policy.sample. Raises UserError where a problem has no answer to lead to."""
        self._asked = {tuple(self.prompt_ids(p)): self._ask(p) for p in problems}
        self._reasoning_end = options.get("reasoning_end", len)
        context = getattr(self.model.config, "max_position_embeddings", None)
        room = options.get("max_tokens", 256)
        for problem, asked in zip(problems, self._asked.values(), strict=False):
            if context and len(asked) + room > context:
                raise UserError(
                    f"problem {problem.id}: with the answer in front it takes {len(asked)} tokens, "
                    f"and {room} new ones exceed the context of {context}: shorten the answer or "
                    "lower max_completion_tokens"
                )
        return super().sample(problems, **options)

    def _processors(self, prompts: Sequence[Sequence[int]]) -> list[Any]:
        asked = [self._asked[tuple(prompt)] for prompt in prompts]
        return [Guide(self._helper, asked, self._reasons, self._strength, self.tokenizer)]

    def _reasons(self, ids: Sequence[int]) -> bool:
        """Whether the answer has not begun yet."""
        if any(token in self._stop_ids() for token in ids):
            return False
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return self._reasoning_end(text) >= len(text)


class Guide(LogitsProcessor):
    """Turns the logits of a policy into those of p_s. ``asked`` is the helper's prompt of each row,
    and ``reasons`` says of the new tokens of a row whether they are still to be led."""

    def __init__(
        self,
        helper: Any,
        asked: Sequence[Sequence[int]],
        reasons: Callable[[Sequence[int]], bool],
        strength: float,
        tokenizer: Any,
    ) -> None:
        self._helper, self._asked, self._reasons = helper, asked, reasons
        self._strength, self._pad = strength, tokenizer.pad_token_id
        self._width: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Token ids so far (B, L), padding included, and logits (B, V) of the next."""
        if self._width is None:
            self._width = input_ids.shape[1]
        written = input_ids[:, self._width :].tolist()
        led = [b for b, ids in enumerate(written) if self._reasons(ids)]
        if not led or not self._strength:
            return scores
        # What stands in place of the next token does not matter, only that a place is there.
        after = [[*written[b], self._pad] for b in led]
        found = next_logps(self._helper, [self._asked[b] for b in led], after, self._pad)
        q_LV = torch.stack([q_TV[-1] for q_TV in found]).to(scores.device)
        p_LV = scores[led].float().log_softmax(-1)
        scores = scores.float().clone()
        scores[led] = p_LV + self._strength * (q_LV - p_LV)
        return scores
