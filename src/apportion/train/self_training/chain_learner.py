"""Gradient steps on weighted log-likelihoods of whole chains; weights may be negative."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import get_scheduler

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.train.checkpoints import save_state

_STATE = "chains_state.pt"


class WeightedChain(NamedTuple):
    """Token ids of a prompt and of the chain after it; ``example`` numbers the problem in the
    batch."""

    example: int
    prompt: Sequence[int]
    completion: Sequence[int]
    weight: float


class ChainLearner:
    """AdamW on the parameters that require a gradient.

    Raises UserError where a number is not finite.
    """

    def __init__(self, policy: LanguageModelPolicy, config: RunConfig) -> None:
        self.policy = policy
        self.done = 0
        self._clip = config.trice.clip
        self._micro = config.train.micro_batch or config.train.prompts_per_update
        self._named = {n: p for n, p in policy.model.named_parameters() if p.requires_grad}
        self._weights = list(self._named.values())
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=config.train.learning_rate, weight_decay=config.trice.weight_decay
        )
        self._scheduler = get_scheduler(
            "constant_with_warmup",
            self._optimizer,
            num_warmup_steps=config.train.warmup_updates,
            num_training_steps=config.train.updates,
        )

    def update(
        self, chains: Sequence[WeightedChain], examples: int, *, measure: bool = False
    ) -> dict[str, float]:
        """One step on (1/examples) Σ w ∇ log p(chain | prompt); no step where there is no chain.

        Returns metrics of docs/metrics.md; with ``measure`` the variance of the gradient too,
        which takes a backward pass for each example by itself.
        """
        self.policy.model.train()
        self._optimizer.zero_grad()
        metrics: dict[str, float] = {}
        if measure and examples > 1:
            loss, metrics["chains/gradient_variance"] = self._backward_each(chains, examples)
        else:
            loss = self._backward(chains, examples)
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._clip or math.inf).item()
        if not (math.isfinite(norm) and math.isfinite(loss)):
            raise UserError(
                f"update {self.done + 1}: the gradient is not finite: lower train.learning_rate"
            )
        if chains:
            self._optimizer.step()
        self._scheduler.step()
        self.policy.model.eval()
        self.done += 1
        return metrics | {"train/loss": loss, "train/grad_norm": norm}

    def _backward(self, chains: Sequence[WeightedChain], examples: int) -> float:
        """Chains of like length share a forward pass."""
        ordered = sorted(chains, key=lambda chain: len(chain.prompt) + len(chain.completion))
        total = 0.0
        for start in range(0, len(ordered), self._micro):
            part = ordered[start : start + self._micro]
            logps_B = chain_logps(self.policy, part)
            weights_B = torch.tensor([chain.weight for chain in part], device=logps_B.device)
            loss = -(weights_B * logps_B).sum() / examples
            loss.backward()
            total += loss.item()
        return total

    def _backward_each(self, chains: Sequence[WeightedChain], examples: int) -> tuple[float, float]:
        """Backward example by example: the loss, and the trace of the covariance of the mean
        gradient, Σ_m |g_m − ḡ|² / (M (M − 1)), M = ``examples``; g_m is 0 without chains."""
        by_example: dict[int, list[WeightedChain]] = defaultdict(list)
        for chain in chains:
            by_example[chain.example].append(chain)
        before = self._flat_gradient()
        squares, loss = 0.0, 0.0
        for part in by_example.values():
            loss += self._backward(part, examples)
            after = self._flat_gradient()
            squares += (after - before).square().sum().item()
            before = after
        # ``squares`` is Σ |g_m / M|² and ``before`` is ḡ.
        spread = max(squares - before.square().sum().item() / examples, 0.0)
        return loss, spread * examples / (examples - 1)

    def _flat_gradient(self) -> torch.Tensor:
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._weights]
        return torch.cat([part.flatten() for part in parts]).double()

    def save(self, folder: Path, extra: dict[str, Any]) -> None:
        """Write weights, optimiser, schedule and ``extra``."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "weights": {name: p.detach() for name, p in self._named.items()},
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "extra": extra,
        }
        save_state(folder / _STATE, state, self.done)

    def load(self, folder: Path) -> dict[str, Any]:
        """Go on from what ``save`` wrote; returns its ``extra``."""
        state = torch.load(
            folder / _STATE, weights_only=True, map_location=self.policy.model.device
        )
        self.set_weights(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scheduler.load_state_dict(state["scheduler"])
        self.done = state["done"]
        return state["extra"]

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of what is trained."""
        return {name: p.detach().clone() for name, p in self._named.items()}

    def set_weights(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(weights[name])

    def forget(self) -> None:
        """Adam's moments go back to nothing, as at the start of a run."""
        self._optimizer.state.clear()


def chain_logps(policy: LanguageModelPolicy, chains: Sequence[WeightedChain]) -> torch.Tensor:
    """Log-probability of each chain after its prompt, shape (B,), with its gradient.

    Rows are padded on the right, where a causal model does not see it.
    """
    longest = max(len(chain.prompt) + len(chain.completion) for chain in chains)
    device = policy.model.device
    ids_BT = torch.full((len(chains), longest), policy.tokenizer.pad_token_id, device=device)
    seen_BT = torch.zeros_like(ids_BT)
    learned_BT = torch.zeros(ids_BT.shape, device=device)
    for b, chain in enumerate(chains):
        row = [*chain.prompt, *chain.completion]
        ids_BT[b, : len(row)] = torch.tensor(row, device=device)
        seen_BT[b, : len(row)] = 1
        learned_BT[b, len(chain.prompt) : len(row)] = 1.0
    logits_BTV = policy.model(input_ids=ids_BT, attention_mask=seen_BT).logits[:, :-1].float()
    logps_BT = -torch.nn.functional.cross_entropy(
        logits_BTV.transpose(1, 2), ids_BT[:, 1:], reduction="none"
    )
    return (logps_BT * learned_BT[:, 1:]).sum(dim=1)
