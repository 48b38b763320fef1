"""Verdicts as the page, the card and the terminal write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from apportion.report import wording
from apportion.report.claims import Verdict

# With the word, never colour alone.
SIGNS = {
    "confirmed": "\N{CHECK MARK}",
    "refuted": "\N{MULTIPLICATION X}",
    "undecided": "?",
}


def signed_word(verdict: Verdict) -> str:
    return f"{SIGNS[verdict.verdict]} {verdict.verdict}"


def figure(verdict: Verdict) -> str:
    """The effect with its interval and unit."""
    if verdict.effect is None:
        return "–"
    plus = verdict.claim.measure != "reach_ratio" and isinstance(verdict.claim.against, str)
    text = _number(verdict.effect, plus)
    if verdict.low is not None and verdict.high is not None:
        text += f" [{_number(verdict.low, plus)}, {_number(verdict.high, plus)}]"
    return text


def _number(value: float, plus: bool) -> str:
    if math.isinf(value):
        text = f"{wording.MINUS if value < 0 else ''}∞"
    elif 0 < abs(value) < 1e-3:
        text = f"{value:.1e}".replace("-", wording.MINUS)
    else:
        text = wording.number(value)
    return f"+{text}" if plus and value > 0 else text


def expectation(verdict: Verdict) -> str:
    """``> 0``, ``< 0.5``, ``0 ± 0.01``."""
    claim, reference = verdict.claim, verdict.reference
    if claim.expect == "equal":
        return f"{_given(reference)} ± {_given(claim.margin)}"
    bound = reference + (claim.margin if claim.expect == "greater" else -claim.margin)
    return f"{'>' if claim.expect == 'greater' else '<'} {_given(bound)}"


def _given(value: float) -> str:
    """A number that a person wrote, as it was written."""
    return f"{value:,.6g}".replace("-", wording.MINUS)


def rests_on(verdict: Verdict) -> str:
    return f"{verdict.seeds} seed{'' if verdict.seeds == 1 else 's'}" if verdict.seeds else ""


def table(verdicts: Sequence[Verdict]) -> Table:
    """For the terminal."""
    made = Table()
    for heading in ("claim", "verdict", "what is compared", "expected", "measured", "why"):
        made.add_column(heading)
    for verdict in verdicts:
        rests = ", ".join(filter(None, (verdict.unit, rests_on(verdict))))
        measured = "\n".join(filter(None, (figure(verdict), rests)))
        why = "\n".join((verdict.reason, *verdict.notes))
        cells = [verdict.claim.name, signed_word(verdict), verdict.compared]
        made.add_row(*map(Text, (*cells, expectation(verdict), measured, why)))
    return made
