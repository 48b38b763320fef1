"""``apportion cost``: what reviewing cost for each token that got credit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apportion.cli.console import complain, duration, say
from apportion.cli.options import AsJson

if TYPE_CHECKING:
    from apportion.report.cost import Growth, ReviewerCost


def cost(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory with reviews; all arms.")],
    as_json: AsJson = False,
) -> None:
    """Tokens, time and money of each reviewer for each credited token, and how they grow."""
    from apportion.report.cost import cost_of_run

    found = cost_of_run(run)
    complain(found.complaints)
    if as_json:
        say(json.dumps(found.as_json(), indent=1))
        return
    for line in _table(found.reviewers):
        say(line)
    for reviewer in found.reviewers:
        for line in _growth_lines(reviewer):
            say(line)
    if found.train_seconds is not None:
        say(f"updates took {duration(found.train_seconds)}, what they waited for reviews included")


_COLUMNS = (
    "reviewer",
    "reviews",
    "failed",
    "cached",
    "calls",
    "credited tokens",
    "tokens each",
    "µs each",
    "USD per 1,000",
    "context",
)


def _table(costs: Sequence[ReviewerCost]) -> list[str]:
    rows = [_COLUMNS, *(_row(cost) for cost in costs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _row(cost: ReviewerCost) -> tuple[str, ...]:
    tokens = cost.per_credited_token("tokens")
    seconds = cost.per_credited_token("seconds")
    usd = cost.per_credited_token("usd")
    ratio = cost.context_ratio
    return (
        cost.reviewer,
        f"{cost.reviews:,}",
        f"{cost.failed:,}",
        f"{cost.cached:,}",
        f"{cost.calls:,}",
        f"{cost.credited_tokens:,}",
        "-" if tokens is None else f"{tokens:.3g}",
        "-" if seconds is None else f"{seconds * 1e6:,.0f}",
        "unpriced" if cost.usd is None else "-" if usd is None else f"{usd * 1000:.3g}",
        "-" if ratio is None else f"{ratio:.2f}x",
    )


def _growth_lines(cost: ReviewerCost) -> list[str]:
    from apportion.report.cost import QUANTITIES

    if not cost.growth:
        return []
    prompts = f" (prompt {', '.join(sorted(cost.prompts))})" if cost.prompts else ""
    lines = [f"{cost.reviewer}{prompts}, against the n tokens of a chain:"]
    for name, growth in cost.growth.items():
        lines.append(f"  {QUANTITIES[name]}: {_growth(growth)}")
    return lines


def _growth(growth: Growth) -> str:
    seen = f"{growth.chains:,} chains of {growth.shortest:,} to {growth.longest:,}"
    if growth.fixed is None or growth.per_token is None or growth.square_share is None:
        return f"undecided: {seen} are too few or too alike"
    return (
        f"{growth.form}, {growth.fixed:.4g} + {growth.per_token:.4g} n; of the longest the square "
        f"is {growth.square_share:.0%} [{growth.low:.0%}, {growth.high:.0%}] ({seen})"
    )
