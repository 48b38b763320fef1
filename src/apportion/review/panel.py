"""Asks all reviewers about all rollouts, concurrently."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from apportion.errors import UserError
from apportion.review.base import Reviewer
from apportion.trace import Problem, Review, Step

T = TypeVar("T")

# Deterministic reviewers never wait; let the replies of the others in at least this often.
BREATH_SECONDS = 0.005


class Item(NamedTuple):
    """One chain of thought to review. ``steps`` is the proposed cut, ``outcome`` is frozen."""

    problem: Problem
    text: str
    steps: Sequence[Step]
    outcome: float | None
    rollout_id: str = ""


class _Job(NamedTuple):
    row: int
    column: int
    critique: int


async def review_all(
    reviewers: Sequence[Reviewer],
    items: Sequence[Item],
    *,
    on_review: Callable[[Review], None] | None = None,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> list[list[Review]]:
    """One list of reviews per item: reviewer by reviewer, critique by critique.

    Up to ``max_concurrency`` reviews of each reviewer are in progress at once (fewer where the
    reviewer has an attribute of that name), so a slow endpoint holds nobody else up. A reviewer
    that raises, or takes longer than ``timeout`` seconds, gives a failed review that says so.
    ``on_review`` is called as each review arrives, in no fixed order; what it raises ends the
    panel.

    Raises:
        UserError: two reviewers have the same name.
    """
    _check_names(reviewers)
    width = sum(reviewer.critiques for reviewer in reviewers)
    table: list[list[Review | None]] = [[None] * width for _ in items]
    workers: list[asyncio.Task[None]] = []
    column = 0
    for reviewer in reviewers:
        jobs = _jobs(len(items), column, reviewer.critiques)
        desk = _Desk(reviewer, items, table, on_review, timeout)
        # What waits for a reviewer's own limit would wait inside its timeout.
        limit = min(max_concurrency, getattr(reviewer, "max_concurrency", max_concurrency))
        count = min(limit, len(items) * reviewer.critiques)
        workers.extend(asyncio.create_task(desk.work(jobs)) for _ in range(count))
        column += reviewer.critiques
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [[review for review in row if review is not None] for row in table]


def review_now(
    reviewers: Sequence[Reviewer],
    items: Sequence[Item],
    *,
    on_review: Callable[[Review], None] | None = None,
    max_concurrency: int = 64,
    timeout: float | None = None,
) -> list[list[Review]]:
    """:func:`review_all` for callers without an event loop, and for notebooks that have one.

    ``on_review`` is called in another thread, one call at a time.
    """
    with ReviewLoop() as loop:
        work = review_all(
            reviewers,
            items,
            on_review=on_review,
            max_concurrency=max_concurrency,
            timeout=timeout,
        )
        return loop.submit(then_close(work, reviewers)).result()


async def then_close(work: Coroutine[Any, Any, T], reviewers: Sequence[Reviewer]) -> T:
    """The result of the work; whatever happens, the reviewers close their connections after it."""
    try:
        return await work
    finally:
        for reviewer in reviewers:
            close = getattr(reviewer, "aclose", None)
            if close is not None:
                await close()


def _check_names(reviewers: Sequence[Reviewer]) -> None:
    names = [reviewer.name for reviewer in reviewers]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"{names.count(name)} reviewers are named '{name}': give each its own 'name'"
            )


def _jobs(rows: int, column: int, critiques: int) -> Iterator[_Job]:
    for row in range(rows):
        for critique in range(critiques):
            yield _Job(row, column + critique, critique)


class _Desk:
    """One reviewer's work. Its workers share one iterator of jobs: no task per review."""

    def __init__(
        self,
        reviewer: Reviewer,
        items: Sequence[Item],
        table: list[list[Review | None]],
        on_review: Callable[[Review], None] | None,
        timeout: float | None,
    ) -> None:
        self.reviewer, self.items, self.table = reviewer, items, table
        self.on_review, self.timeout = on_review, timeout

    async def work(self, jobs: Iterator[_Job]) -> None:
        breath = time.monotonic()
        for job in jobs:
            review = await self._review(self.items[job.row], job.critique)
            self.table[job.row][job.column] = review
            if self.on_review is not None:
                self.on_review(review)
            if time.monotonic() - breath > BREATH_SECONDS:
                await asyncio.sleep(0)
                breath = time.monotonic()

    async def _review(self, item: Item, critique: int) -> Review:
        clock = asyncio.timeout(self.timeout) if self.timeout is not None else None
        try:
            if clock is None:
                return await self._ask(item, critique)
            async with clock:
                return await self._ask(item, critique)
        except Exception as error:
            # One broken reviewer must not take the others, or a training run, down with it.
            if clock is not None and clock.expired():
                message = f"no review within {self.timeout:g} s"
            else:
                message = f"{type(error).__name__}: {error}"
            return Review(
                rollout_id=item.rollout_id,
                reviewer=self.reviewer.name,
                critique=critique,
                error=message,
            )

    async def _ask(self, item: Item, critique: int) -> Review:
        review = await self.reviewer.review(
            item.problem,
            item.text,
            item.steps,
            item.outcome,
            rollout_id=item.rollout_id,
            critique=critique,
        )
        family = getattr(self.reviewer, "family", None)
        if family is None:
            return review
        return review.model_copy(update={"meta": review.meta | {"family": family}})


class ReviewLoop:
    """An event loop in a thread of its own, so that reviews overlap with training.

    Use it as a context manager or call :meth:`close`.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="apportion-reviews", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine at once. Raises RuntimeError after :meth:`close`."""
        if not self._thread.is_alive() or self._loop.is_closed():
            work.close()
            raise RuntimeError("the review loop is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Cancel what is still running and end the thread. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> ReviewLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
