"""Reviewers that judge with the weights of the policy under review.

Such a reviewer has a method ``bind(policy)``, and whoever has a live policy (the trainer, the
command line) calls it before the first review. A reviewer that wraps others names them ``inner``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from apportion.errors import UserError
from apportion.review.base import Reviewer

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy


def needing_policy(reviewers: Sequence[Reviewer]) -> list[str]:
    """Names of the reviewers that have to be bound, also of those that are wrapped."""
    return [reviewer.name for reviewer in _with_inner(reviewers) if hasattr(reviewer, "bind")]


def bind_policy(reviewers: Sequence[Reviewer], policy: object) -> None:
    """Give the policy to every reviewer that wants it, also to those that are wrapped.

    Raises UserError where a reviewer cannot use it.
    """
    for reviewer in _with_inner(reviewers):
        if hasattr(reviewer, "bind"):
            reviewer.bind(policy)


def as_language_model(policy: object, reviewer: str) -> LanguageModelPolicy:
    """``policy``, which has to be a language model. Raises UserError for any other."""
    from apportion.policies.language_model import LanguageModelPolicy

    if not isinstance(policy, LanguageModelPolicy):
        raise UserError(
            f"reviewer {reviewer}: policy '{getattr(policy, 'name', policy)}' has no weights to "
            "review with: use a policy of kind tiny or pretrained"
        )
    return policy


def unbound(reviewer: str) -> UserError:
    return UserError(
        f"reviewer {reviewer} judges with the policy's own weights and was given no policy: "
        "add --policy tiny (or pretrained:model=...), or call its bind(policy)"
    )


def _with_inner(reviewers: Sequence[Reviewer]) -> Iterator[Any]:
    for reviewer in reviewers:
        yield reviewer
        inner = getattr(reviewer, "inner", None)
        if inner is not None:
            yield from _with_inner(inner if isinstance(inner, list | tuple) else [inner])
