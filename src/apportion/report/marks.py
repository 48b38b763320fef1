"""What tells one arm from another: a colour, and a mark for eyes that do not see the colour.

Colours and marks repeat after 8 and 7 arms, so no two of 56 arms share both. Lines of the second
eight are broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

COLOURS = 8
# SVG paths around (0, 0), of about equal area.
MARKS = (
    "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0Z",  # disc
    "M-2.7,-2.7h5.4v5.4h-5.4Z",  # square
    "M0,-3.8L3.7,2.7H-3.7Z",  # triangle
    "M0,-3.9L3.9,0L0,3.9L-3.9,0Z",  # diamond
    "M-1.2,-3.8h2.4v2.6h2.6v2.4h-2.6v2.6h-2.4v-2.6h-2.6v-2.4h2.6Z",  # plus
    "M0,3.8L3.7,-2.7H-3.7Z",  # triangle on its point
    "M-3.6,-1.9L-1.9,-3.6L0,-1.7L1.9,-3.6L3.6,-1.9L1.7,0L3.6,1.9L1.9,3.6L0,1.7L-1.9,3.6"
    "L-3.6,1.9L-1.7,0Z",  # cross
)
# A line with more points than this has a mark at some of them only.
_ALL_MARKED = 12
_SOME_MARKED = 7


def style_of(index: int) -> str:
    """The classes of the arm with this index: its colour, and how often colours were used up."""
    turn = index // COLOURS
    return f"arm-{index % COLOURS}" + (f" turn-{min(turn, 2)}" if turn else "")


def mark_of(index: int) -> str:
    """The SVG path of the arm with this index."""
    return MARKS[index % len(MARKS)]


def marked(points: Sequence[T], index: int) -> list[T]:
    """The points of a line that have a mark: all of a few, else some, the last one among them.

    Lines of other indices are marked elsewhere, so that marks of close lines do not cover each
    other.
    """
    if len(points) <= _ALL_MARKED:
        return list(points)
    gap = len(points) / _SOME_MARKED
    shift = gap * (index % len(MARKS)) / len(MARKS)
    places = {int(shift + gap * k) for k in range(_SOME_MARKED)} | {len(points) - 1}
    return [points[k] for k in sorted(places) if k < len(points)]
