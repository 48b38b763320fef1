"""Batches for reviewers that run a model of their own in this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

Question = TypeVar("Question")
Answer = TypeVar("Answer")
Work = Callable[[list[Question], Callable[[], bool]], list[Answer]]

_LOCKS: WeakKeyDictionary[Any, threading.Lock] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


def lock_of(model: object) -> threading.Lock:
    """The lock of a model: whoever generates with it outside its training loop holds it."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(model, threading.Lock())


@dataclass(eq=False)
class _Entry(Generic[Question, Answer]):
    question: Question
    answer: asyncio.Future[Answer]
    abandoned: bool = False


class Gather(Generic[Question, Answer]):
    """Answers questions that are asked one at a time in batches: all that wait when the event loop
    has nothing else to do are one call of ``work(questions, stopped)``, in a thread.

    ``work`` gives one answer per question. It should look at ``stopped()`` between its batches
    and may then return nothing: whoever asked has gone. An asker that is cancelled (by a timeout,
    say) leaves only when the work has ended, so that nobody uses the model behind the back of a
    training loop that waited for the reviews.
    """

    def __init__(self, work: Work[Question, Answer]) -> None:
        self._work = work
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[_Entry[Question, Answer]] = []
        self._runner: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer; raises what ``work`` raises."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what an earlier loop left behind died with it
            self._loop, self._waiting, self._runner = loop, [], None
        entry: _Entry[Question, Answer] = _Entry(question, loop.create_future())
        self._waiting.append(entry)
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        try:
            return await entry.answer
        except asyncio.CancelledError:
            entry.abandoned = True
            if entry in self._waiting:
                self._waiting.remove(entry)
            elif self._runner is not None:
                await asyncio.wait([self._runner])
            raise

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._settle()
                batch, self._waiting = self._waiting, []
                if batch:
                    await self._answer(batch)
        finally:
            self._runner = None

    async def _settle(self) -> None:
        """Let everybody who is about to ask do so."""
        known = -1
        while known != len(self._waiting):
            known = len(self._waiting)
            await asyncio.sleep(0)

    async def _answer(self, batch: list[_Entry[Question, Answer]]) -> None:
        def stopped() -> bool:
            return all(entry.abandoned for entry in batch)

        try:
            answers = await asyncio.to_thread(self._work, [e.question for e in batch], stopped)
        except Exception as error:
            for entry in batch:
                if not entry.answer.done():
                    entry.answer.set_exception(error)
            return
        for entry, answer in zip(batch, answers, strict=False):
            if not entry.answer.done():
                entry.answer.set_result(answer)
