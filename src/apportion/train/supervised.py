"""Supervised training on rows of token ids, for the small jobs beside credit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

_IGNORED = -100


class Row(NamedTuple):
    """Token ids of a prompt and of what is to be learned after it. ``weight`` scales its loss."""

    prompt: Sequence[int]
    completion: Sequence[int]
    weight: float = 1.0


def fit(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    *,
    updates: int,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    say_every: int = 100,
) -> None:
    """Minimise sum_i w_i sum_t -log p(completion_it) / sum_i w_i n_i over ``updates`` batches.

    Trains the parameters that require a gradient. The model is left in evaluation mode, its cache
    switched on, as sampling needs it.
    """
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    from transformers import PrinterCallback, Trainer, TrainingArguments

    class Weighted(Trainer):
        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            weights_B = inputs.pop("weight")
            labels_BT = inputs.pop("labels")
            output = model(**inputs)
            loss = weighted_loss(output.logits, labels_BT, weights_B)
            return (loss, output) if return_outputs else loss

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            if "loss" in logs:
                say(f"update {self.state.global_step}/{updates}: loss {logs['loss']:.3f}")

    disable_progress_bar()
    with TemporaryDirectory() as folder:
        trainer = Weighted(
            model=model,
            train_dataset=Dataset.from_list([_features(row) for row in rows]),
            data_collator=_Collator(tokenizer),
            args=TrainingArguments(
                output_dir=str(Path(folder)),
                per_device_train_batch_size=batch_size,
                train_sampling_strategy="group_by_length",
                max_steps=updates,
                learning_rate=learning_rate,
                lr_scheduler_type="cosine_with_min_lr",
                lr_scheduler_kwargs={"min_lr_rate": 0.1},
                warmup_steps=min(20, updates // 5),
                weight_decay=0.0,
                adam_beta2=0.98,
                logging_steps=say_every,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                remove_unused_columns=False,
                use_cpu=not torch.cuda.is_available(),
                seed=seed,
            ),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    model.config.use_cache = True


def weighted_loss(
    logits_BTV: torch.Tensor, labels_BT: torch.Tensor, weights_B: torch.Tensor
) -> torch.Tensor:
    """Mean over the learned tokens of -log p, each weighted by its row."""
    labels_BT = labels_BT[:, 1:]
    losses_BT = torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].transpose(1, 2).float(),
        labels_BT,
        ignore_index=_IGNORED,
        reduction="none",
    )
    weights_BT = weights_B.to(losses_BT)[:, None] * (labels_BT != _IGNORED)
    return (weights_BT * losses_BT).sum() / weights_BT.sum().clamp_min(1e-9)


def _features(row: Row) -> dict[str, Any]:
    ids = [*row.prompt, *row.completion]
    labels = [_IGNORED] * len(row.prompt) + list(row.completion)
    return {"input_ids": ids, "labels": labels, "weight": float(row.weight)}


class _Collator:
    """Pads on the right, where a causal model does not see it."""

    def __init__(self, tokenizer: Any) -> None:
        self.pad = tokenizer.pad_token_id

    def __call__(self, features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        length = max(len(f["input_ids"]) for f in features)

        def padded(name: str, filler: int) -> torch.Tensor:
            return torch.tensor([f[name] + [filler] * (length - len(f[name])) for f in features])

        ids_BT = padded("input_ids", self.pad)
        sizes_B = torch.tensor([len(f["input_ids"]) for f in features])
        return {
            "input_ids": ids_BT,
            "attention_mask": (torch.arange(length) < sizes_B[:, None]).long(),
            "labels": padded("labels", _IGNORED),
            "weight": torch.tensor([f["weight"] for f in features]),
        }


def collate(rows: Sequence[Row], tokenizer: Any) -> dict[str, torch.Tensor]:
    """The rows padded on the right: ``input_ids``, ``attention_mask`` and ``labels`` (B, T), and
    ``weight`` (B,). Labels are the completions' tokens, all else is ignored."""
    return _Collator(tokenizer)([_features(row) for row in rows])
