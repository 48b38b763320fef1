"""Approach 2 of Deliberative Credit Assignment: rewrite the chain, and learn from what is left.

The operations are pure: a rollout and its consensus in, an ``Edit`` out. Only verification, the
probe for the commitment point and the critique-and-revise baseline ask a policy.
"""

from apportion.edit.apply import edit_rollouts
from apportion.edit.chain import OPERATIONS, check_operations, edit_chain
from apportion.edit.verify import Verifier, kept_shares, verify_edits

__all__ = [
    "OPERATIONS",
    "Verifier",
    "check_operations",
    "edit_chain",
    "edit_rollouts",
    "kept_shares",
    "verify_edits",
]
