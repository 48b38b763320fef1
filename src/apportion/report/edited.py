"""An edited chain against its original, as pieces that a reader can follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apportion.report.data import Part, Run
from apportion.trace import Edit, Rollout

# Beyond this an edit is named and not shown: nobody reads it, and a page must open.
LONGEST = 40_000
_Piece = tuple[str, str]


def edits_by_rollout(run: Run, part: Part) -> dict[str, list[Edit]]:
    """The edits of each rollout, the last of each kind that was asked for."""
    found: dict[str, dict[tuple[str, ...], Edit]] = {}
    for edit in run.read(part, "edits"):
        found.setdefault(edit.rollout_id, {})[edit.asked] = edit
    return {rollout: list(edits.values()) for rollout, edits in found.items()}


def edited(rollout: Rollout, edits: Sequence[Edit]) -> list[dict[str, Any]]:
    """The ``edits`` part of a trace as JSON."""
    return [
        {
            "asked": list(edit.asked),
            "operations": list(edit.operations),
            "state": _state(edit),
            "why": [text for text in edit.why if text][:40],
            "pieces": _joined(pieces(rollout.text, edit))
            if len(rollout.text) + len(edit.text) <= LONGEST
            else [],
        }
        for edit in edits
    ]


def pieces(original: str, edit: Edit) -> list[_Piece]:
    """(kind, text) in reading order: ``kept``, ``inserted`` and ``moved`` make up the edited text;
    ``deleted`` is gone, and ``away`` stands elsewhere now. Both come where they stood.

    Kept, deleted and away pieces, and moved ones in place of the away, are the whole original.
    """
    moved = sorted(s.source for s in edit.spans if s.kind == "moved" and s.source is not None)
    found: list[_Piece] = []
    at = 0
    for span in edit.spans:
        if span.kind == "kept" and span.source is not None and span.source[0] >= at:
            found += _gap(original, at, span.source[0], moved)
            at = span.source[1]
        found.append((span.kind, edit.text[span.start : span.end]))
    return [piece for piece in found + _gap(original, at, len(original), moved) if piece[1]]


def _gap(original: str, start: int, end: int, moved: Sequence[tuple[int, int]]) -> list[_Piece]:
    """What stood in [start, end) and is not there any more."""
    found: list[_Piece] = []
    at = start
    for a, b in moved:
        a, b = max(a, at), min(b, end)
        if a < b:
            found += [("deleted", original[at:a]), ("away", original[a:b])]
            at = b
    return [*found, ("deleted", original[at:end])]


def _joined(found: Sequence[_Piece]) -> list[list[str]]:
    """Neighbours of one kind are one piece."""
    joined: list[list[str]] = []
    for kind, text in found:
        if joined and joined[-1][0] == kind:
            joined[-1][1] += text
        else:
            joined.append([kind, text])
    return joined


def _state(edit: Edit) -> str:
    """In words, what became of it."""
    if edit.refused:
        return f"refused: {edit.refused}"
    if not edit.changed:
        return "nothing to change"
    if edit.open:
        return "open: the policy goes on from its end"
    if not edit.answered:
        return "not verified"
    return f"{edit.right:g} of {edit.answered} answers from it were right"
