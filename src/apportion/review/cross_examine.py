"""Reviewers see each other's reasons on what they dispute, and vote again.

A reviewer that can change its mind has a method

    async reconsider(problem, rollout_text, steps, outcome, others, *, own, rollout_id, critique)

where ``own`` is its review so far, ``steps`` its cut, and ``others`` are the reviews of the others
with nothing but their verdicts on the disputed parts. It returns a Review in the same cut, with
the usage of this call alone. Only its verdicts on disputed steps are taken over. A reviewer without
the method keeps its verdicts: one that computes them has nothing to learn from an opinion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from apportion.errors import UserError
from apportion.review.base import Reviewer
from apportion.review.check import total_usage
from apportion.review.others import on_spans, overlaps
from apportion.review.panel import Item, ReviewLoop, review_all, then_close
from apportion.trace import Problem, Review, Step, StepVerdict

# The parts of [0, end) on which these reviews are in dispute.
Disputed = Callable[[Sequence[Review], int], Sequence[Step]]

MOST_ROUNDS = 8


@runtime_checkable
class Reconsiders(Protocol):
    """A reviewer that can change its mind."""

    async def reconsider(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        others: Sequence[Review],
        *,
        own: Review,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review: ...


async def review_in_rounds(
    reviewers: Sequence[Reviewer],
    items: Sequence[Item],
    *,
    rounds: int,
    disputed: Disputed,
    on_review: Callable[[Review], None] | None = None,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> list[list[Review]]:
    """``review_all``, then up to ``rounds`` rounds of cross-examination.

    ``disputed`` says what is in dispute (``consensus.disputed_spans``). In a round all reviewers
    of a chain reconsider at once, each seeing the others as they stood before it. A chain is done
    when nothing is disputed or nobody changed anything. ``Review.meta["rounds"]`` records each
    round: its number, the reviewer's steps in dispute, and what changed or why nothing could. A
    reconsideration that fails, or returns another cut, leaves the review as it was, and says so
    there. ``on_review`` is called once per review, when its chain is done.

    Raises:
        UserError: as ``review_all``; or ``rounds`` outside 0 to 8.
    """
    if not 0 <= rounds <= MOST_ROUNDS:
        raise UserError(f"rounds of cross-examination: {rounds} is not within 0 to {MOST_ROUNDS}")
    if rounds == 0:
        return await review_all(
            reviewers, items, on_review=on_review, max_concurrency=max_concurrency, timeout=timeout
        )
    first = await review_all(reviewers, items, max_concurrency=max_concurrency, timeout=timeout)
    examination = _Examination(reviewers, rounds, disputed, on_review, max_concurrency, timeout)
    chains = [
        asyncio.create_task(examination.hold(item, reviews))
        for item, reviews in zip(items, first, strict=True)
    ]
    try:
        return await asyncio.gather(*chains)
    finally:
        for chain in chains:
            chain.cancel()
        await asyncio.gather(*chains, return_exceptions=True)


def review_in_rounds_now(
    reviewers: Sequence[Reviewer], items: Sequence[Item], *, rounds: int, disputed: Disputed
) -> list[list[Review]]:
    """:func:`review_in_rounds` for callers without an event loop; closes the reviewers."""
    with ReviewLoop() as loop:
        work = review_in_rounds(reviewers, items, rounds=rounds, disputed=disputed)
        return loop.submit(then_close(work, reviewers)).result()


class _Examination:
    def __init__(
        self,
        reviewers: Sequence[Reviewer],
        rounds: int,
        disputed: Disputed,
        on_review: Callable[[Review], None] | None,
        max_concurrency: int,
        timeout: float | None,
    ) -> None:
        self.rounds, self.disputed, self.on_review = rounds, disputed, on_review
        self.timeout = timeout
        self.able = {r.name: r for r in reviewers if isinstance(r, Reconsiders)}
        self.room = {
            r.name: asyncio.Semaphore(
                min(max_concurrency, getattr(r, "max_concurrency", max_concurrency))
            )
            for r in reviewers
        }

    async def hold(self, item: Item, reviews: list[Review]) -> list[Review]:
        """All rounds on one chain."""
        end = item.steps[-1].end if item.steps else 0
        for number in range(1, self.rounds + 1):
            spans = self.disputed(reviews, end)
            if not spans:
                break
            before = reviews
            reviews = list(
                await asyncio.gather(*(self._round(item, r, before, spans, number) for r in before))
            )
            if all(a.verdicts == b.verdicts for a, b in zip(before, reviews, strict=True)):
                break
        if self.on_review is not None:
            for review in reviews:
                self.on_review(review)
        return reviews

    async def _round(
        self, item: Item, own: Review, everyone: list[Review], spans: Sequence[Step], number: int
    ) -> Review:
        at_stake = [i for i, step in enumerate(own.steps) if overlaps(step, spans)]
        if not own.ok or not at_stake:
            return own
        entry: dict[str, Any] = {"round": number, "steps": at_stake, "changed": []}
        if own.reviewer not in self.able:
            return _noted(own, entry | {"kept": "this reviewer does not reconsider"})
        others = [on_spans(review, spans) for review in everyone if review is not own and review.ok]
        again = await self._ask(item, own, others)
        return _merged(own, again, at_stake, entry)

    async def _ask(self, item: Item, own: Review, others: list[Review]) -> Review:
        try:
            async with self.room[own.reviewer], asyncio.timeout(self.timeout):
                return await self.able[own.reviewer].reconsider(
                    item.problem,
                    item.text,
                    own.steps,
                    item.outcome,
                    others,
                    own=own,
                    rollout_id=own.rollout_id,
                    critique=own.critique,
                )
        except Exception as error:
            # Whatever ails one reviewer must not cost the others' rounds.
            late = isinstance(error, TimeoutError) and self.timeout is not None
            message = f"no answer within {self.timeout:g} s" if late else repr(error)
            return Review(
                rollout_id=own.rollout_id,
                reviewer=own.reviewer,
                critique=own.critique,
                error=message,
            )


def _merged(own: Review, again: Review, at_stake: list[int], entry: dict[str, Any]) -> Review:
    """The review with its disputed verdicts replaced, or as it was where that is impossible."""
    usage = total_usage([own.usage, again.usage])
    cached = own.usage.cached and again.usage.cached
    own = own.model_copy(update={"usage": usage.model_copy(update={"cached": cached})})
    if again.error is not None:
        return _noted(own, entry | {"error": again.error})
    if again.steps != own.steps:
        return _noted(own, entry | {"error": "the answer was about other steps"})
    if again.meta.get("repairs"):
        entry["repairs"] = again.meta["repairs"]
    verdicts = list(own.verdicts)
    for index in at_stake:
        old, new = verdicts[index], again.verdicts[index]
        if (old.label, old.correct) != (new.label, new.correct):
            verdicts[index] = new
            entry["changed"].append(_change(index, old, new))
    return _noted(own.model_copy(update={"verdicts": tuple(verdicts)}), entry)


def _change(index: int, old: StepVerdict, new: StepVerdict) -> dict[str, Any]:
    return {"step": index, "from": _stance(old), "to": _stance(new), "reason": new.reason}


def _stance(verdict: StepVerdict) -> str:
    """A verdict in a word: its label, else whether it says right or wrong."""
    if verdict.abstains:
        return "abstains"
    return verdict.label or ("correct" if verdict.correct else "incorrect")


def _noted(review: Review, entry: dict[str, Any]) -> Review:
    rounds = [*review.meta.get("rounds", []), entry]
    return review.model_copy(update={"meta": review.meta | {"rounds": rounds}})
