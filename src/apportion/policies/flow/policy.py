"""A model that thinks by a flow, as a policy: problems in, answers out."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from apportion.errors import UserError
from apportion.policies.flow.folder import read_flow
from apportion.policies.flow.model import FlowModel
from apportion.policies.latent.batch import pad_batch
from apportion.policies.latent.policy import LatentPolicy


class FlowPolicy(LatentPolicy):
    """The thought of ``model`` flows after the prompt has been read; only the answer is text."""

    model: FlowModel  # type: ignore[assignment]

    def __init__(self, model: FlowModel, tokenizer: object, name: str, *, chat: bool = False):
        super().__init__(model, tokenizer, name, chat=chat)  # type: ignore[arg-type]

    def check_context(self, problems: Sequence, max_tokens: int) -> None:
        """The answer stands after the thought and not after the prompt; each has to fit."""
        context = getattr(self.model.config, "max_position_embeddings", None)
        for problem in problems:
            length = max(len(self.prompt_ids(problem)), self.model.width + max_tokens)
            if context and length > context:
                raise UserError(
                    f"problem {problem.id}: its prompt, or a thought of {self.model.width} and "
                    f"{max_tokens} new tokens, exceed the context of {context}: shorten it or "
                    "lower max_completion_tokens"
                )

    @torch.no_grad()
    def logps_along(
        self,
        questions: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        batch_size: int = 64,
    ) -> torch.Tensor:
        """log p(answer | z_i) at every point of the flow, nats, (rows, k + 1) float64."""
        pad = self.tokenizer.pad_token_id
        found = []
        for start in range(0, len(questions), batch_size):
            part = slice(start, start + batch_size)
            batch = pad_batch(questions[part], answers[part], 0, pad).to(self.model.device)
            points = self.model.flow(batch.questions).z
            logps = [self.model.answer_logps(z_BMD, batch).double() for z_BMD in points]
            found.append(torch.stack(logps, 1).cpu())
        return torch.cat(found) if found else torch.zeros(0, self.model.steps + 1)


def load_flow(
    model: str, *, steps: int | None = None, chat: bool | None = None, name: str | None = None
) -> FlowPolicy:
    """Read a folder that training with ``objective: flow`` wrote; ``steps`` overrides k.

    Raises UserError where the folder holds no flow model.
    """
    from transformers import AutoTokenizer

    flow = read_flow(model)
    if steps is not None:
        flow.steps = steps
    tokenizer = AutoTokenizer.from_pretrained(model)
    use_chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat
    return FlowPolicy(flow, tokenizer, name or "flow", chat=use_chat)
