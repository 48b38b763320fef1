"""Approach 2 of Deliberative Credit Assignment: rewrite the chain, and learn from what is left.

The operations are pure: a rollout and its consensus in, an ``Edit`` out. Only verification, the
probe for the commitment point and the critique-and-revise baseline ask a policy; torch loads with
the first use of one of the latter two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apportion.edit.apply import edit_rollouts
from apportion.edit.chain import OPERATIONS, check_operations, edit_chain
from apportion.edit.verify import Verifier, kept_shares, verify_edits

if TYPE_CHECKING:
    from apportion.edit.commitment import commitment_points
    from apportion.edit.revision import revise

__all__ = [
    "OPERATIONS",
    "Verifier",
    "check_operations",
    "commitment_points",
    "edit_chain",
    "edit_rollouts",
    "kept_shares",
    "revise",
    "verify_edits",
]


def __getattr__(name: str) -> Any:
    if name == "commitment_points":
        from apportion.edit.commitment import commitment_points

        return commitment_points
    if name == "revise":
        from apportion.edit.revision import revise

        return revise
    raise AttributeError(f"module 'apportion.edit' has no attribute '{name}'")
