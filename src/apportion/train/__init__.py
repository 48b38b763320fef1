"""Training: TRL's GRPO with a credit per token, warm starts, evaluation, and whole runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apportion.train.grpo.trl import CreditGRPOTrainer

__all__ = ["CreditGRPOTrainer"]


def __getattr__(name: str) -> Any:
    # TRL takes seconds to import, so it loads with the first use of the trainer.
    if name == "CreditGRPOTrainer":
        from apportion.train.grpo.trl import CreditGRPOTrainer

        return CreditGRPOTrainer
    raise AttributeError(f"module 'apportion.train' has no attribute '{name}'")
