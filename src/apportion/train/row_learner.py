"""Supervised gradient steps, one batch at a time, that can be saved and gone on with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from apportion.errors import UserError
from apportion.train.supervised import Row, collate, weighted_loss


class RowLearner:
    """AdamW on the parameters of ``model`` that require a gradient.

    Raises UserError where the loss is not finite.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        warmup: int = 0,
        seed: int = 0,
        micro_batch: int | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.done = 0
        self._rate, self._clip, self._warmup = learning_rate, clip, warmup
        self._micro = micro_batch
        self._weights = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay
        )
        self._order = torch.Generator().manual_seed(seed)

    def step(self, rows: Sequence[Row], share: float = 1.0) -> dict[str, float]:
        """One step on the weighted mean of -log p over the tokens of the completions, at ``share``
        of the learning rate; its loss, gradient norm and learning rate. No step where no row has
        weight."""
        rows = [row for row in rows if row.weight and row.completion]
        total = sum(row.weight * len(row.completion) for row in rows)
        if not total:
            return {"loss": 0.0, "grad_norm": 0.0, "learning_rate": 0.0}
        self.model.train()
        self._optimizer.zero_grad()
        loss = 0.0
        for part in self._parts(rows):
            batch = {k: v.to(self.model.device) for k, v in collate(part, self.tokenizer).items()}
            weights_B, labels_BT = batch.pop("weight"), batch.pop("labels")
            part_of = sum(row.weight * len(row.completion) for row in part) / total
            part_loss = weighted_loss(self.model(**batch).logits, labels_BT, weights_B) * part_of
            part_loss.backward()
            loss += part_loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._clip or math.inf).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(f"step {self.done + 1}: the loss is {loss}: lower the learning rate")
        rate = self._rate * share * min(1.0, (self.done + 1) / max(1, self._warmup))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self.model.eval()
        self.done += 1
        return {"loss": loss, "grad_norm": norm, "learning_rate": rate}

    def fit(
        self,
        rows: Sequence[Row],
        steps: int,
        batch_size: int,
        *,
        share: tuple[float, float] = (1.0, 1.0),
    ) -> float:
        """Steps on batches drawn in a new order whenever all rows were seen; the mean loss of the
        last ten. The learning rate goes from the first ``share`` of it to the second."""
        first, last = share
        losses = [
            self.step(batch, first + (last - first) * i / steps)["loss"]
            for i, batch in zip(range(steps), self._batches(rows, batch_size), strict=False)
        ]
        return sum(losses[-10:]) / max(1, len(losses[-10:]))

    def state(self) -> dict[str, Any]:
        """Optimiser, order and count; the weights are the model's own business."""
        return {
            "optimizer": self._optimizer.state_dict(),
            "order": self._order.get_state(),
            "done": self.done,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._order.set_state(state["order"])
        self.done = state["done"]

    def _parts(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        size = self._micro or len(rows)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _batches(self, rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
        queue: list[int] = []
        while rows:
            while len(queue) < size:
                queue += torch.randperm(len(rows), generator=self._order).tolist()
            yield [rows[i] for i in queue[:size]]
            queue = queue[size:]
