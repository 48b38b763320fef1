"""Recorded rollouts and reviews to edited chains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from apportion.consensus import consensus
from apportion.edit.chain import edit_chain
from apportion.trace import Edit, Review, Rollout


def edit_rollouts(
    rollouts: Sequence[Rollout],
    reviews: Sequence[Review],
    operations: Sequence[str],
    *,
    voting: Mapping[str, Any] | None = None,
    commitments: Mapping[str, int] | None = None,
) -> list[Edit]:
    """One edit per rollout. ``voting`` holds options of ``consensus``; ``commitments`` maps
    rollout ids to probed offsets (:func:`apportion.edit.commitment_points`): a rollout that it
    lacks is then not cut. Raises UserError as ``edit_chain`` does."""
    reviews_of: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        reviews_of[review.rollout_id].append(review)
    edits = []
    for rollout in rollouts:
        agreed = consensus(
            reviews_of[rollout.id], rollout.reasoning_end, rollout_id=rollout.id, **(voting or {})
        )
        fixed_at = None
        if commitments is not None:
            fixed_at = commitments.get(rollout.id, rollout.reasoning_end)
        edits.append(edit_chain(rollout, agreed, operations, commitment=fixed_at))
    return edits
