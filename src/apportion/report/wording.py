"""Numbers as the page, the card and the terminal write them."""

from __future__ import annotations

import math

from apportion.report.traces import Tally
from apportion.stats import Estimate

MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3) -> str:
    """At most ``digits`` significant digits, thousands separated, a real minus sign."""
    if math.isinf(value):
        return "never" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(places, 6)}f}"
    if digits > 4 and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", MINUS)


def fixed(value: float, places: int = 3) -> str:
    """A fixed number of decimals, so that the figures of a column line up."""
    if math.isinf(value):
        return number(value)
    # Adding 0.0 turns the minus zero that rounding leaves into zero.
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", MINUS)


def signed(value: float, places: int = 3) -> str:
    """With its sign, zero too."""
    text = fixed(value, places)
    return text if text.startswith(MINUS) else f"+{text}"


def compact(value: float) -> str:
    """Axis labels: 1,280 stays, 20000 becomes 20k, 2.5e12 becomes 2.5T."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):,.6g}{unit}".replace("-", MINUS)
    return f"{value:,.6g}".replace("-", MINUS)


def interval(estimate: Estimate, places: int = 3) -> str:
    """``[low, high]``, or a sentence where the number has none."""
    if estimate.low is None or estimate.high is None:
        return "no interval"
    if math.isinf(estimate.low) and math.isinf(estimate.high):
        return "in over 97 % of resamples"
    return f"[{fixed(estimate.low, places)}, {fixed(estimate.high, places)}]"


def places_for(name: str) -> int:
    """Decimals of a column of figures."""
    return {"length": 1, "reach": 2}.get(name, 3)


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def cost(tally: Tally | None) -> str:
    """Calls, tokens, price and waiting time of reviewers, in words."""
    if tally is None:
        return "not recorded"
    if not tally.calls:
        return "no calls"
    price = "unpriced" if tally.unpriced else f"{tally.usd:,.2f} USD"
    if tally.unpriced and tally.usd:
        price = f"{tally.usd:,.2f} USD and unpriced calls"
    return f"{compact_count(tally.calls)} calls, {compact_count(tally.tokens)} tokens, {price}"


def compact_count(count: float) -> str:
    """12,345,678 as 12.3 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(count) >= size:
            scaled = count / (1e3 if unit == "k" else size)
            return f"{scaled:.3g} {unit}"
    return f"{count:,.0f}"


def visible(token: str) -> str:
    """A token as one can see it: blanks and line ends have signs."""
    return token.replace(" ", "␣").replace("\n", "⏎") or "∅"


def duration(seconds: float) -> str:
    """1 h 05 min, 12 min, 30 s."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
