"""The work of ``apportion review``: asks for the reviews that a directory lacks."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from apportion.cli.console import Progress, note, plural
from apportion.cli.specs import parse_spec
from apportion.cli.summary import Spent
from apportion.cli.train import need_training
from apportion.errors import UserError
from apportion.records import RunDirectory
from apportion.review.base import Reviewer
from apportion.review.binding import bind_policy, needing_policy, unbound
from apportion.review.cross_examine import Disputed, review_in_rounds
from apportion.review.human import TerminalReviewer
from apportion.review.panel import Item
from apportion.segment import segment as cut
from apportion.trace import Review, Rollout

if TYPE_CHECKING:
    from apportion.policies import Policy


class Rounds(NamedTuple):
    """Rounds of cross-examination, and what is in dispute."""

    number: int
    disputed: Disputed


def review_missing(
    run: RunDirectory,
    reviewers: Sequence[Reviewer],
    rollouts: Sequence[Rollout],
    segmenter: str,
    concurrency: int,
    plain: bool,
    rounds: Rounds,
) -> str | None:
    """Ask for every review that the directory lacks. Failed ones of an earlier run are asked for
    again, and leave the file first. Where reviewers hear each other, a rollout that lacks one
    review is reviewed by all of them again. Returns why, if all that were asked for failed."""
    names = {reviewer.name for reviewer in reviewers}
    dropped = run.keep(
        "reviews", lambda r: r.get("error") is None or r.get("reviewer") not in names
    )
    if dropped:
        note(f"{plural(dropped, 'failed review')} of before will be tried again")
    present = run.ids("reviews")
    panels = _missing(reviewers, rollouts, present)
    if rounds.number:
        lacking = {rollout.id for _, asked in panels for rollout in asked}
        run.keep(
            "reviews",
            lambda r: r.get("rollout_id") not in lacking or r.get("reviewer") not in names,
        )
        present = run.ids("reviews")
        panels = _missing(reviewers, rollouts, present)
    wanted = sum(len(asked) * sum(r.critiques for r in panel) for panel, asked in panels)
    spent = Spent()
    errors: list[str | None] = []
    # A live display and questions at the terminal would write over each other.
    plain = plain or any(isinstance(reviewer, TerminalReviewer) for reviewer in reviewers)
    with Progress("review", wanted, plain=plain) as progress:

        def arrived(found: Review) -> None:
            if (found.rollout_id, found.reviewer, found.critique) not in present:
                run.append("reviews", found)
            errors.append(found.error)
            spent.add(found.usage)
            progress.advance(detail=spent.short())

        asyncio.run(_ask(panels, segmenter, concurrency, arrived, rounds))
    return errors[0] if errors and None not in errors else None


def bind_reviewers(reviewers: Sequence[Reviewer], policy: str | None) -> Policy | None:
    """Give the policy of this spec to the reviewers that judge with a policy's own weights.
    Returns it; None, and nothing is loaded, where no reviewer needs one.

    Raises UserError where one of them needs a policy and none is named, or where it cannot be
    loaded or used.
    """
    needing = needing_policy(reviewers)
    if not needing:
        return None
    if policy is None:
        raise unbound(needing[0])
    need_training()
    from apportion.policies import load_policy

    loaded = load_policy(parse_spec(policy, "kind"))
    bind_policy(reviewers, loaded)
    return loaded


def reviewer_names(reviewers: Sequence[Reviewer]) -> set[str]:
    """Their names. Raises UserError where two have the same: their reviews would be one's."""
    names = [reviewer.name for reviewer in reviewers]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two reviewers are named '{name}': give one another, ...,name=OTHER")
    return set(names)


def _missing(
    reviewers: Sequence[Reviewer], rollouts: Sequence[Rollout], present: set[Hashable]
) -> list[tuple[list[Reviewer], list[Rollout]]]:
    """Rollouts together with the reviewers that have not said all they can of them."""
    by_panel: dict[tuple[int, ...], list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        lacking = tuple(
            index
            for index, reviewer in enumerate(reviewers)
            if any((rollout.id, reviewer.name, k) not in present for k in range(reviewer.critiques))
        )
        if lacking:
            by_panel[lacking].append(rollout)
    return [([reviewers[i] for i in panel], asked) for panel, asked in by_panel.items()]


async def _ask(
    panels: Sequence[tuple[list[Reviewer], list[Rollout]]],
    segmenter: str,
    concurrency: int,
    arrived: Callable[[Review], None],
    rounds: Rounds,
) -> None:
    try:
        for panel, rollouts in panels:
            await review_in_rounds(
                panel,
                [_item(rollout, segmenter) for rollout in rollouts],
                rounds=rounds.number,
                disputed=rounds.disputed,
                on_review=arrived,
                max_concurrency=concurrency,
            )
    finally:
        for reviewer in {id(r): r for panel, _ in panels for r in panel}.values():
            close = getattr(reviewer, "aclose", None)
            if close is not None:
                await close()


def _item(rollout: Rollout, segmenter: str) -> Item:
    steps = cut(rollout.text, rollout.reasoning_end, segmenter)
    return Item(rollout.problem, rollout.text, steps, rollout.outcome, rollout.id)
