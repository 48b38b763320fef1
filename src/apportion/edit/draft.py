"""A chain while it is being rewritten: pieces of text that remember where they come from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from apportion.errors import UserError
from apportion.trace import Consensus, Label, Rollout, Step, StepConsensus, check_partition

# These belong to the form of a completion, not to a step that could be moved or deleted.
_OPENING = re.compile(r"\s*<think>\s*", re.IGNORECASE)
_CLOSING = re.compile(r"\s*</think>\s*\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Piece:
    """``source`` is the span of the original text, None for new text; ``step`` the index of the
    step that it is, None for anything else."""

    text: str
    source: tuple[int, int] | None = None
    step: int | None = None


@dataclass(frozen=True)
class Draft:
    """``steps`` are all steps of the original and never change; ``pieces`` are what is left of the
    reasoning, in order, between ``head`` (a mark of thinking) and ``tail`` (the answer).

    ``done`` names the operations that did something and ``why`` says what. An ``open`` draft has
    no answer: the policy has to go on from its end. ``refused`` says why nothing can be done.
    """

    rollout: Rollout
    steps: tuple[StepConsensus, ...]
    head: Piece
    pieces: tuple[Piece, ...]
    tail: Piece
    open: bool = False
    refused: str = ""
    done: tuple[str, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[int, ...]:
        """Indices of the steps that are left, in their present order."""
        return tuple(piece.step for piece in self.pieces if piece.step is not None)

    def agreed(self, index: int, label: Label) -> bool:
        step = self.steps[index]
        return step.status == "agreed" and step.label == label

    def changed(self, operation: str, pieces: Iterable[Piece], why: str) -> Draft:
        """The draft after an operation that did something."""
        return replace(
            self, pieces=tuple(pieces), done=(*self.done, operation), why=(*self.why, why)
        )

    def without(self, operation: str, gone: set[int], why: str) -> Draft:
        """The draft after these steps were taken out."""
        return self.changed(operation, (p for p in self.pieces if p.step not in gone), why)

    def refuse(self, reason: str) -> Draft:
        return replace(self, refused=reason)

    @property
    def separator(self) -> str:
        """The white space that most steps end with; a line end where there is only one step."""
        steps = [p.text for p in begin_pieces(self)][:-1]
        ends = Counter(text[len(text.rstrip()) :] for text in steps)
        return ends.most_common(1)[0][0] if ends else "\n"


def begin(rollout: Rollout, agreed: Consensus) -> Draft:
    """The unchanged chain, cut into the steps of the consensus.

    Raises UserError where the consensus is of another rollout or does not partition its reasoning.
    """
    if agreed.rollout_id and agreed.rollout_id != rollout.id:
        raise UserError(f"rollout {rollout.id}: the consensus is of rollout {agreed.rollout_id}")
    if agreed.steps:
        try:
            check_partition([Step(s.start, s.end) for s in agreed.steps], rollout.reasoning_end)
        except ValueError as error:
            raise UserError(
                f"rollout {rollout.id}: the consensus does not cut its reasoning ({error}): vote "
                "on reviews of this very text"
            ) from None
    start, end = _body(rollout)
    head = Piece(rollout.text[:start], (0, start))
    tail = Piece(rollout.text[end:], (end, len(rollout.text)))
    draft = Draft(rollout, agreed.steps, head, (), tail)
    return replace(draft, pieces=begin_pieces(draft))


def begin_pieces(draft: Draft) -> tuple[Piece, ...]:
    """The steps of the original as pieces, without the marks of thinking around them."""
    text = draft.rollout.text
    start = len(draft.head.text)
    end = len(text) - len(draft.tail.text)
    spans = [(max(step.start, start), min(step.end, end)) for step in draft.steps]
    return tuple(Piece(text[a:b], (a, b), i) for i, (a, b) in enumerate(spans) if a < b)


def _body(rollout: Rollout) -> tuple[int, int]:
    """The reasoning without the marks of thinking around it."""
    reasoning = rollout.text[: rollout.reasoning_end]
    opening, closing = _OPENING.match(reasoning), _CLOSING.search(reasoning)
    start = opening.end() if opening else 0
    return start, max(start, closing.start() if closing else len(reasoning))
