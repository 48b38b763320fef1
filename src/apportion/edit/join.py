"""Pieces to text, with a span for each piece that says where it comes from."""

from __future__ import annotations

from dataclasses import replace

from apportion.edit.draft import Draft, Piece, begin_pieces
from apportion.trace import Edit, EditSpan


def finish(draft: Draft, asked: tuple[str, ...]) -> Edit:
    """The record of what became of the chain."""
    rollout = draft.rollout
    text, spans = _join(draft)
    end = len(text)
    if not draft.open:  # the mark that ends the thinking lies in the tail, but before the answer
        end -= len(rollout.text) - rollout.reasoning_end
    nothing_new = text == rollout.text and not draft.open
    if nothing_new:  # equal steps may have changed places
        text, spans = _join(replace(draft, pieces=begin_pieces(draft)))
    return Edit(
        rollout_id=rollout.id,
        asked=asked,
        operations=() if nothing_new else draft.done,
        text=text,
        reasoning_end=end,
        spans=tuple(spans),
        why=() if nothing_new else draft.why,
        open=draft.open,
        refused=draft.refused or _emptied(draft),
    )


def _emptied(draft: Draft) -> str:
    if any(piece.text.strip() for piece in draft.pieces):
        return ""
    if not draft.done:
        return "there is no reasoning to edit"
    return f"nothing of the reasoning is left after {', '.join(draft.done)}"


def _join(draft: Draft) -> tuple[str, list[EditSpan]]:
    parts = [draft.head, *draft.pieces, *(() if draft.open else (draft.tail,))]
    text, spans, previous_end = "", [], 0
    for piece in parts:
        if not piece.text:
            continue
        follows = piece.source is not None and piece.source[0] == previous_end
        gap = "" if follows else _gap(draft, text, piece)
        if gap:
            spans.append(EditSpan(len(text), len(text) + len(gap), "inserted"))
            text += gap
        kind = "inserted" if piece.source is None else "kept" if follows else "moved"
        spans.append(EditSpan(len(text), len(text) + len(piece.text), kind, piece.source))
        text += piece.text
        previous_end = piece.source[1] if piece.source else -1
    return text, spans


def _gap(draft: Draft, before: str, piece: Piece) -> str:
    """White space to put between two texts that were not neighbours."""
    if not before:
        return ""
    if piece is draft.tail:  # an answer line has to start a line
        body = draft.rollout.text[: len(draft.rollout.text) - len(draft.tail.text)]
        needed = body[len(body.rstrip()) :]
        return "" if before.endswith(needed) else needed
    if before[-1].isspace() or piece.text[0].isspace():
        return ""
    return draft.separator
