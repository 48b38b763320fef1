"""A network that says a number at each token of a completion.

_B  completions    _T  tokens of the longest of them    _L  tokens with the prompts
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.modes import eval_mode


class TokenHead(torch.nn.Module):
    """A copy of the policy's network with a scalar head that says 0 to everything at first.

    With ``after`` the number of a token is read where the token has been seen, else where it is
    yet to be written. Of an adapter the copy's own adapter is trained. Raises UserError for a
    context that is too short.
    """

    def __init__(self, policy: LanguageModelPolicy, *, after: bool) -> None:
        super().__init__()
        model: Any = policy.model
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.body: Any = copy.deepcopy(model.base_model)
        self.head = torch.nn.Linear(_width(model), 1).to(model.device)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.after, self._pad = after, int(policy.tokenizer.pad_token_id)
        self.eval()

    def forward(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Scores (B, T) float32 with their gradient; 0 behind the end of a completion."""
        rows = [[*a, *b] for a, b in zip(prompts, completions, strict=True)]
        context = getattr(self.body.config, "max_position_embeddings", None)
        longest, device = max(map(len, rows)), self.head.weight.device
        if context and longest > context:
            raise UserError(f"a prompt and completion of {longest} tokens exceed {context}")
        # Padded on the right, where a causal model cannot see it.
        ids_BL = torch.tensor([r + [self._pad] * (longest - len(r)) for r in rows], device=device)
        sizes_B = torch.tensor([len(r) for r in rows], device=device)
        mask_BL = (torch.arange(longest, device=device) < sizes_B[:, None]).long()
        hidden_BLD = self.body(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        scores_BL = self.head(hidden_BLD.float()).squeeze(-1)
        lengths_B = torch.tensor([len(c) for c in completions], device=device)
        steps_T = torch.arange(int(lengths_B.max()), device=device)
        firsts_B = torch.tensor([len(p) for p in prompts], device=device) - int(not self.after)
        places_BT = (firsts_B[:, None] + steps_T).clamp(max=longest - 1)
        return scores_BL.gather(1, places_BT) * (steps_T < lengths_B[:, None])

    @torch.no_grad()
    def scores(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Sequence[int]],
        batch_size: int = 64,
    ) -> list[torch.Tensor]:
        """The scores of each completion, (T,) float32, on the CPU."""
        found: list[torch.Tensor] = []
        with eval_mode(self):
            for start in range(0, len(prompts), batch_size):
                part = slice(start, start + batch_size)
                scores_BT = self(prompts[part], completions[part]).cpu()
                found += [s[: len(c)] for s, c in zip(scores_BT, completions[part], strict=True)]
        return found


def _width(model: Any) -> int:
    return int(model.get_input_embeddings().embedding_dim)
