"""A reward model: a language model with a scalar head that guesses the score of an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.modes import evaluating
from apportion.trace import Problem

_OPTIONS = "reward_model.json"


class Answered(NamedTuple):
    """A completion to be scored; ``reasoning_end`` is the offset where its reasoning stops."""

    problem: Problem
    text: str
    reasoning_end: int


class RewardModel:
    """``model`` is a sequence classifier of transformers with one output, read at the last token.

    With ``blind_to_reasoning`` it sees the question and ``text[reasoning_end:]``, else the whole
    completion. A completion without a final answer is then the question alone. ``chat`` sends
    questions through the chat template.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, blind_to_reasoning: bool = True, chat: bool = False
    ) -> None:
        self.model, self.blind_to_reasoning = model, blind_to_reasoning
        self._reader = LanguageModelPolicy(model, tokenizer, "reward model", chat=chat)
        model.config.pad_token_id = tokenizer.pad_token_id

    @classmethod
    def on_policy(
        cls, policy: LanguageModelPolicy, *, blind_to_reasoning: bool = True, seed: int = 0
    ) -> RewardModel:
        """A copy of the policy's network with a new head that says 0 to everything.

        Raises UserError for an adapter, whose weights are not the network's own, and for an
        architecture of which transformers knows no sequence classifier.
        """
        from transformers import AutoModelForSequenceClassification

        if hasattr(policy.model, "peft_config"):
            raise UserError("objective reward_model trains all weights: leave policy.lora out")
        config = type(policy.model.config).from_dict(policy.model.config.to_dict())
        config.num_labels, config.problem_type = 1, "regression"
        config.pad_token_id = policy.tokenizer.pad_token_id
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: Any
            try:
                model = AutoModelForSequenceClassification.from_config(
                    config, dtype=policy.model.dtype
                )
            except ValueError:
                model = None
        if not hasattr(model, "score"):
            raise UserError(
                "objective reward_model: transformers has no scalar head for "
                f"{type(policy.model).__name__}: use another policy"
            )
        model.base_model.load_state_dict(policy.model.base_model.state_dict())
        torch.nn.init.zeros_(model.score.weight)
        model.to(policy.model.device).eval()
        return cls(model, policy.tokenizer, blind_to_reasoning=blind_to_reasoning, chat=policy.chat)

    @classmethod
    def load(cls, folder: Path | str) -> RewardModel:
        """What ``save`` wrote. Raises UserError where the folder holds no reward model."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = Path(folder)
        try:
            options = json.loads((folder / _OPTIONS).read_text(encoding="utf-8"))
            model = AutoModelForSequenceClassification.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise UserError(
                f"no reward model in '{folder}' ({str(error).splitlines()[0]}): give the "
                "checkpoints/final of an arm that objective reward_model trained"
            ) from None
        return cls(model.eval(), tokenizer, **options)

    def save(self, folder: Path | str) -> None:
        """Write model, tokenizer and options into ``folder``."""
        folder = Path(folder)
        self.model.save_pretrained(folder)
        self._reader.tokenizer.save_pretrained(folder)
        options = {"blind_to_reasoning": self.blind_to_reasoning, "chat": self._reader.chat}
        (folder / _OPTIONS).write_text(json.dumps(options) + "\n", encoding="utf-8")

    def token_ids(self, answered: Answered) -> list[int]:
        """What the model sees of a completion. Raises UserError beyond its context."""
        problem, text, end = answered
        shown = text[end:] if self.blind_to_reasoning else text
        ids = self._reader.prompt_ids(problem)
        ids += self._reader.tokenizer(shown, add_special_tokens=False)["input_ids"]
        context = getattr(self.model.config, "max_position_embeddings", None)
        if not ids or (context and len(ids) > context):
            raise UserError(
                f"problem {problem.id}: question and answer have {len(ids)} tokens, a reward model "
                f"reads 1 to {context}: shorten them or lower train.max_completion_tokens"
            )
        return ids

    def forward(self, answered: Sequence[Answered]) -> torch.Tensor:
        """The scores, shape (B,), with their gradient."""
        rows = [self.token_ids(one) for one in answered]
        width, device = max(map(len, rows)), self.model.device
        pad = self._reader.tokenizer.pad_token_id
        # Padded on the right: a causal model's scores then do not depend on the batch.
        ids_BT = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
        mask_BT = torch.tensor(
            [[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device
        )
        hidden_BTD = self.model.base_model(
            input_ids=ids_BT, attention_mask=mask_BT
        ).last_hidden_state
        last_B = mask_BT.sum(1) - 1
        return self.model.score(hidden_BTD[torch.arange(len(rows)), last_B]).squeeze(-1).float()

    def score(self, answered: Sequence[Answered], *, batch_size: int = 64) -> list[float]:
        """The score of each completion: what the model expects the task to give it.

        Raises UserError for a score that is not finite.
        """
        scores: list[float] = []
        with evaluating(self.model):
            for start in range(0, len(answered), batch_size):
                scores += self.forward(answered[start : start + batch_size]).tolist()
        for one, score in zip(answered, scores, strict=True):
            if not math.isfinite(score):
                raise UserError(f"problem {one.problem.id}: the reward model says {score}")
        return scores
