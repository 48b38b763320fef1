"""One arm with one seed: trained by its objective, evaluated and recorded."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from apportion.config import RunConfig
from apportion.records import RunDirectory
from apportion.review.cache import ReviewCache
from apportion.train.progress import RunProgress

# What trains an arm, by objective. Each is imported when it is wanted: TRL takes seconds.
RUNNERS = {
    "credit": "credit_arm:run_credit_arm",
    "sft": "offline.gold_sft:run_sft_arm",
    "sft_on_edits": "offline.edits:run_edits_arm",
    "dpo_on_edits": "offline.edits:run_edits_arm",
    "trice": "self_training.chain_loop:run_chains_arm",
    "star": "self_training.chain_loop:run_chains_arm",
    "rejection": "self_training.chain_loop:run_chains_arm",
    "em": "self_training.chain_loop:run_chains_arm",
    "evolution": "evolution.arm:run_evolution_arm",
    "latent": "latent.arm:run_latent_arm",
    "flow": "latent.flow_reasoning:run_flow_arm",
    "agent": "agent.loop:run_agent_arm",
    "reward_model": "reward_model:run_reward_model_arm",
    "persona": "voices.arm:run_voices_arm",
    "judge": "voices.arm:run_voices_arm",
    "reviewer_tokens": "voices.arm:run_voices_arm",
}
_ASK_REVIEWERS = ("credit", "persona", "judge", "reviewer_tokens")


def run_arm(
    config: RunConfig,
    seed: int,
    directory: RunDirectory,
    *,
    cache: ReviewCache | None = None,
    progress: RunProgress,
) -> None:
    """Train, evaluate and record; continues from the newest checkpoint if there is one.

    Raises UserError where the configuration, the task or the policy cannot be used.
    """
    beside = {"cache": cache} if config.objective in _ASK_REVIEWERS else {}
    runner_of(config.objective)(config, seed, directory, progress=progress, **beside)


def runner_of(objective: str) -> Any:
    module, name = RUNNERS[objective].split(":")
    return getattr(import_module(f"apportion.train.{module}"), name)
