"""One update of a latent policy, by whatever method, through all latent steps."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import get_scheduler

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.latent.gradient import Bptt, bad_steps
from apportion.policies.latent.model import LatentOutput
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.latent.step_decoder import StepDecoder
from apportion.train.checkpoints import load_optimisation, save_optimisation
from apportion.train.latent.methods.base import LatentMethod
from apportion.train.latent.methods.example import Example, Target

_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
_STATE = "latent_state.pt"


class LatentLearner:
    """AdamW on the policy's network and cell, and on a step decoder where there is one.

    ``method`` says what is learned (default: the answer). Raises UserError where a number is not
    finite.
    """

    def __init__(
        self, policy: LatentPolicy, config: RunConfig, method: LatentMethod | None = None
    ) -> None:
        settings = config.latent
        self.policy = policy
        self.method = method or LatentMethod(policy)
        self.method.begin(0)
        self.done = 0
        self.decoder: StepDecoder | None = None
        self._decoder_weight = settings.step_decoder.weight
        if self._decoder_weight:
            per_step, stop_id = settings.step_decoder.per_step, policy.tokenizer.eos_token_id
            self.decoder = StepDecoder(policy.model, per_step, stop_id)
        self._clip = settings.clip
        self._micro = config.train.micro_batch or config.train.prompts_per_update
        self._bptt = Bptt(settings.truncate, settings.recompute, settings.gradient_norm)
        learned = [policy.model, *([self.decoder] if self.decoder else [])]
        self._weights = [p for part in learned for p in part.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=config.train.learning_rate, weight_decay=settings.weight_decay
        )
        self._scheduler = get_scheduler(
            _SCHEDULES[settings.schedule],
            self._optimizer,
            num_warmup_steps=config.train.warmup_updates,
            num_training_steps=config.train.updates,
        )

    def update(self, examples: Sequence[Example]) -> dict[str, float]:
        """Learn from a batch; returns the metrics of docs/metrics.md, those of each step too."""
        started = time.monotonic()
        self.policy.model.train()
        if self.method.begin(self.done):
            self._optimizer.state.clear()
        self._optimizer.zero_grad()
        targets = self.method.targets(examples)
        whole = self.method.weight(targets)
        figures = _Figures()
        for start in range(0, len(targets), self._micro):
            part = targets[start : start + self._micro]
            share = self.method.weight(part) / whole
            output = self.method.learn(part, self._bptt)
            self._check(output)
            (self._with_decoder(output, part, len(targets)) + output.loss * share).backward()
            figures.add(output, share)
            if bad := bad_steps(output.gradients.norms()):
                # It comes from the last step, so there the fault begins.
                raise self._fault("the gradient", bad[-1])
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._clip or math.inf)
        if not math.isfinite(norm.item()):
            raise self._fault("the gradient of the weights")
        rate = self._optimizer.param_groups[0]["lr"]
        self._optimizer.step()
        self._scheduler.step()
        self.policy.model.eval()
        self.done += 1
        return figures.metrics() | {
            "train/grad_norm": norm.item(),
            "train/learning_rate": rate,
            "train/seconds": time.monotonic() - started,
        }

    def save(self, folder: Path) -> None:
        """Write model, optimiser, schedule and random numbers."""
        self.policy.save(folder)
        if self.decoder is not None:
            self.decoder.save(folder)
        save_optimisation(folder / _STATE, self.done, **self._optimisation())

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote. The policy has to be read from the folder as well."""
        if self.decoder is not None:
            self.decoder.load(folder)
        self.done = load_optimisation(folder / _STATE, **self._optimisation())
        # As the last update left it: an evaluation may come before the next.
        self.method.begin(max(0, self.done - 1))

    def _optimisation(self) -> dict[str, Any]:
        return {"optimizer": self._optimizer, "scheduler": self._scheduler}

    def _with_decoder(
        self, output: LatentOutput, part: Sequence[Target], rows: int
    ) -> torch.Tensor | float:
        """The step decoder's weighted loss of a part, by its share of the batch's rows."""
        if self.decoder is None:
            return 0.0
        steps = [target.example.steps for target in part]
        loss, _ = self.decoder.loss(output.states_BKD, steps)
        if not math.isfinite(loss.item()):
            raise self._fault("the loss of the step decoder")
        output.figures["train/decoder_loss"] = loss.item()
        return self._decoder_weight * loss * (len(part) / rows)

    def _check(self, output: LatentOutput) -> None:
        if bad := bad_steps(_state_norms(output)):
            raise self._fault("the hidden state", bad[0])
        if not math.isfinite(output.loss.item()):
            raise self._fault("the loss")

    def _fault(self, what: str, step: int | None = None) -> UserError:
        where = f" of latent step {step} of {self.policy.model.steps}" if step else ""
        return UserError(
            f"update {self.done + 1}: {what}{where} is not finite: lower train.learning_rate, or "
            "try latent.norm embedding, latent.gradient_norm clip or a gated latent.cell"
        )


def _state_norms(output: LatentOutput) -> list[float]:
    """Mean over rows of the hidden state's norm after each step."""
    return output.states_BKD.detach().norm(dim=-1).mean(0).tolist()


class _Figures:
    """Means over the parts of a batch, each weighted by its share of what is learned."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}

    def add(self, output: LatentOutput, share: float) -> None:
        """After the backward pass."""
        self._count("train/loss", share * output.loss.item())
        self._count("train/token_accuracy", share * output.token_accuracy)
        for name, value in output.figures.items():
            self._count(name, share * value)
        for step, norm in enumerate(_state_norms(output), 1):
            self._count(f"latent/state_norm/{step}", share * norm)
        arrived = [(t, n) for t, n in enumerate(output.gradients.norms(), 1) if n is not None]
        for step, norm in arrived:
            self._count(f"latent/gradient_norm/{step}", share * norm)
        if arrived and arrived[-1][1] > 0:
            self._count("latent/gradient_reach", share * arrived[0][1] / arrived[-1][1])

    def metrics(self) -> dict[str, float]:
        return self._sums

    def _count(self, name: str, value: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value
