"""Supervised fine-tuning with a weight for each token, on TRL's trainer.

TRL 1.16 computes log-probabilities in its own head and builds the loss from them, so the weights
go onto the log-probabilities: the loss, its denominator and all else stay TRL's.
"""

from __future__ import annotations

from typing import Any

import torch
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from apportion.errors import UserError

WEIGHTS = "loss_weights"


class WeightedSFTTrainer(SFTTrainer):
    """``trl.SFTTrainer`` with an optional dataset column ``loss_weights``, parallel to
    ``input_ids``.

    The loss of a batch is sum_t w_t (-log p_t) / n over its n tokens whose label is not -100. All
    weights 1, or no such column, is TRL's own trainer to the bit.

    Raises UserError for packing and padding-free batches, which would lose the weights' places.
    """

    args: SFTConfig
    model: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.args.packing or self.padding_free:
            raise UserError("loss weights do not go with packing or padding_free: switch both off")
        if type(self.data_collator) is DataCollatorForLanguageModeling:
            self.data_collator = _Collator(self.data_collator)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns = self._signature_columns or []
        self._signature_columns = [*columns, *({WEIGHTS} - set(columns))]

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        weights_BT = inputs.pop(WEIGHTS, None)
        heavy = model if weights_BT is None else _weighing(model, weights_BT)
        return super().compute_loss(heavy, inputs, return_outputs, num_items_in_batch)


def _weighing(model: Any, weights_BT: torch.Tensor) -> Any:
    """The model with its log-probabilities multiplied by the weights of the tokens they are of."""

    def forward(**inputs: Any) -> Any:
        output = model(**inputs)
        if inputs.get("fused_lm_head"):
            # Position t predicts token t + 1; virtual tokens of prompt learning stand in front.
            next_BT = weights_BT[:, 1:].to(output.log_probs.dtype)
            log_probs_BT = output.log_probs[:, -next_BT.shape[1] :]
            output.log_probs = log_probs_BT * next_BT
        return output

    return forward


class _Collator:
    """TRL's collator, and the weights padded like the labels."""

    def __init__(self, inner: DataCollatorForLanguageModeling) -> None:
        self.inner = inner

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self.inner(features)
        if all(WEIGHTS in feature for feature in features):
            weights_BT = torch.zeros(batch["input_ids"].shape)
            for row_T, feature in zip(weights_BT, features, strict=True):
                given = feature[WEIGHTS][: len(feature["input_ids"])]  # the ids may be truncated
                row_T[: len(given)] = torch.tensor(given)
            batch[WEIGHTS] = weights_BT
        return batch
