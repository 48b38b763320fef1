"""Chains that are imitated beside the policy gradient."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class ImitationConfig(Section):
    """Chains that are imitated beside the policy gradient, from the same rollouts.

    ``chains`` "right" imitates every rollout with the full outcome (online rejection sampling),
    "edited" also edits each by its reviews with ``operations`` (Approach 2 of Deliberative Credit
    Assignment) and keeps what the policy can still answer from; with ``right_too`` unchanged right
    chains are imitated as well, with ``only_edits`` only what an edit changed. "revised" lets the
    policy write criticised chains again, ``tries`` times, which are further rollouts. The loss is
    ``policy_weight`` x GRPO + ``weight`` x mean negative log-likelihood.
    """

    chains: Literal["none", "right", "edited", "revised"] = "none"
    operations: tuple[str, ...] = ("delete", "replace")
    only_edits: bool = False
    tries: int = Field(default=2, ge=1)
    right_too: bool = True
    weight: float = Field(default=1.0, ge=0)
    policy_weight: float = Field(default=0.0, ge=0)
