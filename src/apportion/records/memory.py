"""The chains that a run remembers of its training problems."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.trace import Record


class RememberedChain(Record):
    """A chain with a right answer. ``source`` is who wrote it: the policy, or a guide that had the
    answer in sight."""

    token_ids: tuple[int, ...]
    text: str
    source: Literal["policy", "guide"] = "policy"


class Remembered(Record):
    """What is remembered of one problem from ``update`` on, in place of what was before.

    ``chains`` is empty where none of those written was right: ``tried`` by the policy and
    ``hinted`` by the guide, right ones included.
    """

    update: int = Field(ge=0)
    problem_id: str
    chains: tuple[RememberedChain, ...] = ()
    tried: int = Field(default=0, ge=0)
    hinted: int = Field(default=0, ge=0)
