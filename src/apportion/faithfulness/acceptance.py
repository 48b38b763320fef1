"""What each measure was seen to tell apart: the figures of ``benchmarks/faithfulness_roc.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

FILE = Path(__file__).with_name("acceptance.json")
# The area under the ROC curve from which on a measure is taken to see what it claims to see.
ENOUGH = 0.95
TOGETHER = 10


class Area(BaseModel):
    """AUC of a pair with its 95 % interval over ``problems``: over single chains, and over means
    of :data:`TOGETHER` problems. ``claimed``: whether the measure claims to tell these apart.
    ``means`` are those of both sides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: str
    label: str
    higher: str
    lower: str
    claimed: bool
    problems: int
    chain: tuple[float, float, float]
    together: tuple[float, float, float]
    means: tuple[float, float]
    tokens: float


class Standing(NamedTuple):
    """``accepted`` "chain": a single chain can be told; "problems": ten problems can; "no"; or
    "untried". ``least`` is the lowest AUC of the claimed pairs in that unit, and ``pair`` which."""

    accepted: str
    least: float | None
    pair: str

    def __str__(self) -> str:
        if self.least is None:
            return "not tried on ground truth"
        unit = "a chain" if self.accepted == "chain" else f"{TOGETHER} problems"
        word = "not accepted" if self.accepted == "no" else "accepted"
        return f"{word} (AUC {self.least:.2f} by {unit}, {self.pair})"


@cache
def areas() -> tuple[Area, ...]:
    """All figures, as they were measured last."""
    if not FILE.is_file():
        return ()
    return tuple(TypeAdapter(list[Area]).validate_json(FILE.read_bytes()))


def standing(measure: str, found: Sequence[Area] | None = None) -> Standing:
    """Whether a measure is accepted: its AUC is at least :data:`ENOUGH` for every pair that it
    claims to tell apart."""
    own = [a for a in (areas() if found is None else found) if a.measure == measure and a.claimed]
    if not own:
        return Standing("untried", None, "")
    by_chain = min(own, key=lambda area: area.chain[0])
    if by_chain.chain[0] >= ENOUGH:
        return Standing("chain", by_chain.chain[0], _pair(by_chain))
    together = min(own, key=lambda area: area.together[0])
    accepted = "problems" if together.together[0] >= ENOUGH else "no"
    return Standing(accepted, together.together[0], _pair(together))


def _pair(area: Area) -> str:
    return f"{area.higher} over {area.lower}"
