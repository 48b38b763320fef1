"""GRPO on TRL's trainer with an advantage per token.

TRL 1.16 computes one advantage per completion inline, but its loss accepts (B, T). Two overrides
use that: ``_calculate_rewards`` sees rows, token ids and frozen outcomes, and starts the
reviewers; ``_generate_and_score_completions`` waits for them and replaces the advantages.
A third, ``_compute_loss``, adds the imitation term and the answer term of a likelihood reward,
and refuses a loss that is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from apportion.credit import Method, load_method
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.review.base import Reviewer
from apportion.review.binding import bind_policy, needing_policy
from apportion.train.grpo.batch import Batch, CreditedBatch, ReviewDesk
from apportion.train.grpo.imitation import Imitator, imitation_loss, imitation_tensors
from apportion.train.grpo.signals import (
    SignalSource,
    alarm_of,
    check_given,
    learn_all,
    measure_all,
    save_all,
)
from apportion.train.likelihood.term import LikelihoodTerm
from apportion.train.rows import problem_of_row


class CreditGRPOTrainer(GRPOTrainer):
    """``trl.GRPOTrainer`` whose advantages come from a credit method.

    Takes every argument of ``GRPOTrainer`` and:

    ``credit``: name or options of a credit method (default ``"dca"``), or a ``Method``.
    ``reviewers``: names, options or Reviewer objects (default the offline ``"arithmetic"``).
    ``voting``: options of ``consensus.Voting`` (rule, quorum, min_reviews, weights, ...).
    ``segmenter``: how completions are cut into steps for the reviewers.
    ``reasoning_end``: completion text to the offset where reasoning stops (default: a line that
    starts with ``####``, or after ``</think>``).
    ``on_credit``: called after each generation with a ``CreditedBatch`` of this process.
    ``review_timeout``: seconds that one review may take.
    ``cross_examine``: rounds in which reviewers see each other's reasons on disputed steps.
    ``imitate``: called with each ``CreditedBatch``; gives a chain to imitate for each rollout, or
    None (see ``train.imitation``). The loss is then ``policy_weight`` times that of GRPO plus
    ``imitation_weight`` times the mean negative log-likelihood of the chains' tokens.
    ``policy``: what reviewers that judge with the policy's own weights are given (default: the
    trainer's model and tokenizer).
    ``signals``: what measures the numbers per token that the credit method needs.
    TRL is done with the model before it computes rewards and takes
    it up again after the reviews, so they have it to themselves.

    Dataset rows may carry ``problem`` (a Problem as JSON) or ``answer``, ``solution`` or
    ``ground_truth``, and ``id``. Reviewers are not called in evaluation. A review that fails is
    left out; where all fail the step is plain outcome GRPO and ``review/failed`` says so.

    Raises UserError for a configuration that cannot give step credit, a checkpoint that would
    fall between generations, and a loss that is not finite.
    """

    # What TRL's base class declares more loosely than a constructed trainer holds.
    args: GRPOConfig
    model: Any
    processing_class: Any
    num_generations: int

    def __init__(
        self,
        *args: Any,
        credit: str | dict[str, Any] | Method = "dca",
        reviewers: Sequence[str | dict[str, Any] | Reviewer] = ("arithmetic",),
        voting: dict[str, Any] | None = None,
        segmenter: str = "line",
        reasoning_end: Callable[[str], int] | None = None,
        on_credit: Callable[[CreditedBatch], None] | None = None,
        review_timeout: float = 120.0,
        credit_seed: int = 0,
        cross_examine: int = 0,
        imitate: Imitator | None = None,
        imitation_weight: float = 1.0,
        policy_weight: float = 1.0,
        policy: LanguageModelPolicy | None = None,
        signals: Sequence[SignalSource] = (),
        **kwargs: Any,
    ) -> None:
        self.credit_method = credit if isinstance(credit, Method) else load_method(credit)
        self._signals = tuple(signals)
        check_given(self._signals, self.credit_method)
        super().__init__(*args, **kwargs)
        self._likelihood = LikelihoodTerm.of(self)
        self._check_checkpoint_interval()
        self._desk = ReviewDesk(
            reviewers if self.credit_method.reads_reviews else (),
            method=self.credit_method,
            voting=voting or {},
            segmenter=segmenter,
            reasoning_end=reasoning_end,
            timeout=review_timeout,
            seed=credit_seed,
            cross_examine=cross_examine,
        )
        if needing_policy(self._desk.reviewers):
            bind_policy(self._desk.reviewers, policy or self._as_policy())
        self._on_credit = on_credit
        self._imitate, self._imitation_weight = imitate, imitation_weight
        self._policy_weight = policy_weight
        self._open_batch: Batch | None = None
        # Spans come from decoding windows of a few tokens, and these repeat all the time.
        self._decode_cached = lru_cache(maxsize=1 << 16)(self._decode_ids)

    # -- the two overrides -----------------------------------------------------------------------

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        rewards_WF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self.model.training:
            weights_F = self.reward_weights.to(rewards_WF.device)
            outcomes_W = (rewards_WF * weights_F).nansum(dim=1)
            outcomes_W[torch.isnan(rewards_WF).all(dim=1)] = torch.nan
            first = self.accelerator.process_index * len(prompts)
            self._open_batch = self._desk.open(
                problems=[problem_of_row(row) for row in inputs],
                token_ids=completion_ids_list,
                outcomes=outcomes_W[first : first + len(prompts)].tolist(),
                decode=self._decode,
                update=self.state.global_step + 1,
                first_index=first,
                group_size=self.num_generations,
            )
        return rewards_WF

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        batch, self._open_batch = self._open_batch, None
        if batch is None:
            return output
        mask_BT = output["completion_mask"].bool()
        if "tool_mask" in output:
            mask_BT = mask_BT & output["tool_mask"].bool()
        if self._likelihood is not None:
            mask_BT = self._likelihood.enter(output, mask_BT)
        base_B = output["advantages"]
        measured = measure_all(self._signals, batch)
        local = self._desk.samples(
            batch, mask_BT.cpu().numpy(), base_B.tolist(), gather=gather_object
        )
        credited = self._desk.credit(
            batch, local, gather_object(local), self.num_generations, self._progress()
        )
        advantages_BT = torch.zeros(mask_BT.shape, dtype=base_B.dtype)
        for b, credit in enumerate(credited.credits):
            row_T = torch.from_numpy(credit.advantages_T).to(base_B.dtype)
            advantages_BT[b, : len(row_T)] = row_T
        output["advantages"] = advantages_BT.to(base_B.device) * mask_BT
        if self._imitate is not None:
            chains = self._imitate(credited)
            output |= imitation_tensors(chains, int(self.processing_class.pad_token_id))
        credited.metrics.update(measured)
        learn_all(self._signals, credited)
        self.control.should_training_stop |= alarm_of(self._signals) is not None
        self._log_credit(credited)
        if self._on_credit is not None:
            self._on_credit(credited)
        return output

    # -- guards ----------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: Any = 0.0
        if self._policy_weight or "imitation_ids" not in inputs:
            loss = self._policy_weight * super()._compute_loss(model, inputs)
        if "imitation_ids" in inputs:
            imitation = imitation_loss(self._get_per_token_logps_and_entropies, model, inputs)
            self._metrics["train"]["imitation/loss"].append(imitation.item())
            imitation = imitation / self.current_gradient_accumulation_steps
            loss = loss + self._imitation_weight * imitation
        if self._likelihood is not None and "answer_weights" in inputs:
            loss = loss + self._likelihood.loss(model, inputs)
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss is {loss.item()} at update {self.state.global_step}: lower the learning "
                "rate, the cap of the credit or the process weight, and resume from the last "
                "checkpoint"
            )
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        ended = self.state.global_step >= self.state.max_steps  # nothing is left to resume
        if self.state.global_step % self._updates_per_generation() and not ended:
            raise UserError(
                f"update {self.state.global_step} lies between two generations, where a "
                "checkpoint could not be resumed exactly: save at a multiple of "
                f"{self._updates_per_generation()}"
            )
        # First, because the trainer's own state is what marks a checkpoint as whole.
        folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
        save_all(self._signals, folder)
        super()._save_checkpoint(model, trial)

    def _updates_per_generation(self) -> int:
        """Optimiser updates taken on one batch of completions."""
        micro_steps = (self.args.steps_per_generation or 1) * self.num_iterations
        return max(1, micro_steps // self.args.gradient_accumulation_steps)

    def _check_checkpoint_interval(self) -> None:
        period = self._updates_per_generation()
        if self.args.save_strategy == "steps" and int(self.args.save_steps) % period:
            raise UserError(
                f"save_steps {int(self.args.save_steps)} is not a multiple of {period}, the "
                "updates taken on one generation: a checkpoint between two generations could not "
                "be resumed exactly"
            )

    # -- helpers ---------------------------------------------------------------------------------

    def _as_policy(self) -> LanguageModelPolicy:
        row: Any = next(iter(self.train_dataset)) if self.train_dataset is not None else {}
        chat = not isinstance(row.get("prompt", ""), str)
        model = self.accelerator.unwrap_model(self.model)
        return LanguageModelPolicy(model, self.processing_class, "policy", chat=chat)

    def _progress(self) -> float:
        return self.state.global_step / max(1, self.state.max_steps)

    def _decode(self, token_ids: list[int]) -> str:
        return self._decode_cached(tuple(token_ids))

    def _decode_ids(self, token_ids: tuple[int, ...]) -> str:
        return str(self.processing_class.decode(list(token_ids), skip_special_tokens=True))

    def _log_credit(self, credited: CreditedBatch) -> None:
        """Metrics, and TRL's completion table: it logged the advantages before they changed."""
        for name, value in credited.metrics.items():
            self._metrics["train"][name].append(value)
        local = [float(np.mean(c.advantages_T)) if len(c.advantages_T) else 0.0
                 for c in credited.credits]  # fmt: skip
        means = gather_object(local)
        logged = self._logs["advantages"]
        for _ in range(min(len(means), len(logged))):
            logged.pop()
        logged.extend(means)
        if self.args.log_completions:
            self._logs["extra"]["credit"].extend(gather_object(credited.as_json()))

    def set_reviewer_weights(self, weights: Mapping[str, float]) -> None:
        """Weights of the reviewers from the next generation on; one with 0 is not asked."""
        self._desk.set_weights(weights)

    def close(self) -> None:
        """Stop the reviewers' loop. Safe to call twice."""
        self._desk.close()
