"""The supervised half of the gradient: references after the policy's own reasoning."""

from __future__ import annotations

from typing import Any

import torch

from apportion.errors import UserError
from apportion.policies.scoring import token_logps
from apportion.train.likelihood.reward import LikelihoodReward, ScoredBatch

_NAMES = ("answer_tokens", "answer_sizes", "answer_weights")
# TRL 1.16, GRPOTrainer._compute_loss: these divide by a number that all completions share.
_LOSSES = ("dr_grpo", "dapo", "cispo")


def answer_tensors(batch: ScoredBatch, pad_id: int) -> dict[str, torch.Tensor]:
    """For the trainer's buffer: ``answer_tokens`` (B, K, T), reasoning and reference in one row;
    ``answer_sizes`` (B, K, 2), how many tokens of either; ``answer_weights`` (B, K)."""
    references = max(len(one.answers) for one in batch.spliced_B)
    rows = [[[*one.kept, *answer] for answer in one.answers] for one in batch.spliced_B]
    longest = max((len(row) for of_one in rows for row in of_one), default=0)
    tokens_BKT = torch.full((len(rows), references, longest), pad_id)
    sizes_BK2 = torch.zeros((len(rows), references, 2), dtype=torch.long)
    weights_BK = torch.zeros((len(rows), references))
    for b, one in enumerate(batch.spliced_B):
        for k, row in enumerate(rows[b]):
            tokens_BKT[b, k, : len(row)] = torch.tensor(row)
            sizes_BK2[b, k] = torch.tensor([len(one.kept), len(one.answers[k])])
            weights_BK[b, k] = batch.weights_BK[b][k]
    return dict(zip(_NAMES, (tokens_BKT, sizes_BK2, weights_BK), strict=True))


def answer_loss(model: Any, inputs: dict[str, Any], pad_id: int) -> torch.Tensor:
    """sum_bk w_bk (-log p(a_k | x_b, r_b)) over the rows of one micro-batch.

    0 with a gradient of zeros where no row has a weight, as every process of a data-parallel run
    has to take part. ``inputs`` holds prompt_ids and prompt_mask (B, P) beside the tensors of
    :func:`answer_tensors`.
    """
    weights_BK = inputs["answer_weights"]
    before, after, weights = [], [], []
    for b, k in (weights_BK != 0).nonzero().tolist():
        kept, size = inputs["answer_sizes"][b, k].tolist()
        row = inputs["answer_tokens"][b, k].tolist()
        prompt = inputs["prompt_ids"][b][inputs["prompt_mask"][b].bool()].tolist()
        before.append([*prompt, *row[:kept]])
        after.append(row[kept : kept + size])
        weights.append(weights_BK[b, k])
    if not before:
        return torch.stack([parameter.sum() for parameter in model.parameters()]).sum() * 0.0
    logps = token_logps(model, pad_id, before, after)
    return -torch.stack([w * row.sum() for w, row in zip(weights, logps, strict=True)]).sum()


class LikelihoodTerm:
    """What a ``LikelihoodReward`` among its rewards changes in a trainer: the advantages, where
    the reasoning ends, and a second term of the loss.

    Both terms are divided by the same number, so that together they are the gradient of the form
    (with ``scale`` "none"). Raises UserError for a loss type that divides each completion by its
    own length, which no answer term can follow.
    """

    def __init__(self, reward: LikelihoodReward, trainer: Any) -> None:
        self._reward, self._trainer = reward, trainer
        self._pad = int(trainer.processing_class.pad_token_id)
        if reward.answer_term and trainer.loss_type not in _LOSSES:
            raise UserError(
                f"loss_type {trainer.loss_type} does not go with the answer term of a likelihood "
                f"reward: use {', '.join(_LOSSES)}, or reward.answer_term=false"
            )

    @classmethod
    def of(cls, trainer: Any) -> LikelihoodTerm | None:
        """The term of the trainer's likelihood reward, if it has one. Raises UserError where it is
        not the only reward."""
        rewards = [f for f in trainer.reward_funcs if isinstance(f, LikelihoodReward)]
        if not rewards:
            return None
        if len(trainer.reward_funcs) > 1:
            raise UserError("a likelihood reward sets the advantages, so it must be the only one")
        return cls(rewards[0], trainer)

    def enter(self, output: dict[str, Any], mask_BT: torch.Tensor) -> torch.Tensor:
        """Put advantages and answers into one generation's tensors; the mask of trained tokens."""
        batch = self._reward.take()
        base_B = output["advantages"]
        output["advantages"] = torch.tensor(batch.advantages_B, dtype=base_B.dtype).to(base_B)
        if self._reward.answer_term:
            output |= answer_tensors(batch, self._pad)
        for name, value in batch.metrics.items():
            self._trainer._metrics["train"][name].append(value)
        positions_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        trained_B = torch.tensor(batch.trained_B, device=mask_BT.device)
        return mask_BT & (positions_T < trained_B[:, None])

    def loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The answer term of one micro-batch, divided as TRL divides the policy term."""
        trainer = self._trainer
        with trainer.accelerator.autocast():
            total = answer_loss(model, inputs, self._pad)
        accumulated = trainer.current_gradient_accumulation_steps
        if trainer.loss_type == "dr_grpo":
            rows = len(inputs["answer_weights"])
            return total / (rows * trainer.max_completion_length * accumulated)
        tokens = inputs["num_items_in_batch"].clamp(min=1.0) / trainer.accelerator.num_processes
        return total / (tokens * accumulated / trainer.args.steps_per_generation)
