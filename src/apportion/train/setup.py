"""What every objective begins with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies import load_policy
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task
from apportion.train.checkpoints import last_checkpoint, update_of
from apportion.train.progress import RunProgress


class Arm(NamedTuple):
    """One arm with one seed: what is trained on what, and where that is recorded and told."""

    config: RunConfig
    seed: int
    task: Task
    policy: LanguageModelPolicy
    directory: RunDirectory
    progress: RunProgress


def prepare(config: RunConfig, seed: int) -> None:
    """Threads and random numbers, before anything is drawn."""
    import torch
    from transformers import set_seed

    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    set_seed(seed)


def trainable_policy(config: RunConfig) -> LanguageModelPolicy:
    """The policy of the configuration. Raises UserError for one that has no weights."""
    policy = load_policy(config.policy.model_dump(exclude_none=True))
    if not isinstance(policy, LanguageModelPolicy):
        raise UserError(
            f"policy.kind '{config.policy.kind}' cannot be trained: use tiny or pretrained"
        )
    return policy


def resume_point(directory: RunDirectory) -> Path | None:
    """The newest whole checkpoint; records written after it are dropped and made again."""
    checkpoint = last_checkpoint(directory.path / "checkpoints")
    directory.rewind(update_of(checkpoint) if checkpoint else -1)
    return checkpoint
