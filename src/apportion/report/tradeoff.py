"""Arms by what they give and what they take: accuracy, the price of reaching it, what an answer
costs, and how much of the reasoning can be read.

What is meant by each column is written down in docs/bet.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table as TextTable
from rich.text import Text

from apportion.reach import rollouts_to_reach
from apportion.records import read_kind
from apportion.report import wording
from apportion.report.bet import cost_curve
from apportion.report.data import Measure, Part, over_seeds
from apportion.stats import Estimate
from apportion.trace import Probe

# Measures that say what share of the intermediate values can be read, the best reader last.
READERS = ("stated_values", "latent_values", "latent_decoded")
_DEFAULT_REACH = 0.5


@dataclass(frozen=True)
class Price:
    """What it took to reach the accuracy: over the seeds that did, ``reached`` of ``seeds``."""

    estimate: Estimate | None
    reached: int
    seeds: int

    @property
    def shown(self) -> str:
        if self.estimate is None:
            return "never"
        low, high = self.estimate.low, self.estimate.high
        interval = "" if low is None or high is None else f" [{low:,.3g}, {high:,.3g}]"
        some = "" if self.reached == self.seeds else f", {self.reached} of {self.seeds} seeds"
        return f"{self.estimate.value:,.3g}{interval}{some}"


@dataclass(frozen=True)
class Trade:
    """An arm. ``readable`` is the share of intermediate values that can be read, ``control`` what
    the same reader finds in the question alone (probes) or in another problem's latents (step
    decoder); ``reader`` names the measure. None where it was not measured."""

    arm: str
    seeds: int
    accuracy: Estimate | None
    examples: Price
    flops: Price
    tokens: Estimate | None
    latents: Estimate | None
    readable: Estimate | None = None
    control: Estimate | None = None
    reader: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """In words, in the order of ``HEADINGS``."""
        readable = _share(self.readable)
        if self.control is not None:
            readable += f"; control {_share(self.control)}"
        return (
            _share(self.accuracy),
            self.examples.shown,
            self.flops.shown,
            _number(self.tokens),
            _number(self.latents),
            readable,
            self.reader,
        )


@dataclass(frozen=True)
class Tradeoff:
    """One row an arm; printing it with rich shows a table. ``reach`` is the accuracy whose price is
    stated, and ``split`` what the final accuracy was measured on."""

    reach: float
    split: str
    rows: tuple[Trade, ...]

    @property
    def headings(self) -> tuple[str, ...]:
        at = f"{self.reach:g}"
        return (
            f"accuracy, {self.split}",
            f"examples to {at}",
            f"FLOPs to {at}",
            "tokens an answer",
            "latents an answer",
            "values that can be read",
            "by",
        )

    def __rich__(self) -> TextTable:
        table = TextTable(title="the trade-off: interquartile means over seeds, 95 % intervals")
        for heading in ("arm", *self.headings):
            table.add_column(heading)
        for row in self.rows:
            table.add_row(Text(row.arm), *(Text(cell) for cell in row.cells))
        return table


def tradeoff(arms: Mapping[str, Sequence[Part]], split: str = "validation") -> Tradeoff | None:
    """The trade-off of the arms; None unless one of them was measured for what can be read.

    ``split`` is where the curve to ``eval.reach`` is measured.
    """
    parts = [part for group in arms.values() for part in group]
    if not any(_readings(part) for part in parts):
        return None
    final = "test" if any("test" in part.splits() for part in parts) else split
    levels = [(part.config.get("eval") or {}).get("reach") for part in parts]
    reach = float(next((level for level in levels if level), _DEFAULT_REACH))
    rows = tuple(_trade(arm, group, reach, split, final) for arm, group in arms.items())
    return Tradeoff(reach, final, rows)


def _trade(arm: str, parts: Sequence[Part], reach: float, split: str, final: str) -> Trade:
    def over(metric: str, *, share: bool = False) -> Estimate | None:
        found = [m for part in parts if (m := part.final(final, metric))]
        return over_seeds(found, share=share)

    reader, readable, control = _read(parts)
    return Trade(
        arm,
        len(parts),
        over("eval/accuracy", share=True),
        _price(parts, "cost/examples", reach, split),
        _price(parts, "cost/flops", reach, split),
        over("eval/length"),
        over("eval/latent_steps"),
        readable,
        control,
        reader,
    )


def _price(parts: Sequence[Part], metric: str, reach: float, split: str) -> Price:
    """The first cost at which an arm's curve, straight between evaluations, is at ``reach``."""
    curves = [curve for part in parts if (curve := cost_curve(part, metric, split))]
    paid = [cost for curve in curves if (cost := rollouts_to_reach(curve, reach)) is not None]
    return Price(over_seeds([Measure(cost) for cost in paid], share=False), len(paid), len(curves))


def _read(parts: Sequence[Part]) -> tuple[str, Estimate | None, Estimate | None]:
    """(measure, share, control) of the reader that reads most."""
    found = [_readings(part) for part in parts]
    best: tuple[str, Estimate | None, Estimate | None] = ("", None, None)
    for reader in READERS:
        own = [readings[reader] for readings in found if reader in readings]
        share = over_seeds([value for value, _ in own], share=False)
        controls = [control for _, control in own if control is not None]
        if share is not None and (best[1] is None or share.value > best[1].value):
            best = (reader, share, over_seeds(controls, share=False))
    return best


def _readings(part: Part) -> dict[str, tuple[Measure, Measure | None]]:
    """(share, control) by measure, of the newest probes of a part."""
    probes: list[Probe] = read_kind(part.path, "probes")[0] if part.has("probes") else []
    found = {}
    for reader in READERS:
        own = [probe for probe in probes if probe.measure == reader and probe.value is not None]
        newest = max((_moment(probe) for probe in own), default=0.0)
        last = [probe for probe in own if _moment(probe) == newest]
        if last:
            values = [probe.value for probe in last if probe.value is not None]
            control = "question" if reader == "latent_values" else "other"
            others = [other for p in last if (other := p.parts.get(control)) is not None]
            found[reader] = (_mean(values), _mean(others) if others else None)
    return found


def _moment(probe: Probe) -> float:
    """The update; a probe of a finished policy has none and is the newest."""
    return float("inf") if probe.update is None else float(probe.update)


def _mean(values: Sequence[float]) -> Measure:
    return Measure(sum(values) / len(values), len(values))


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{wording.fixed(estimate.value, 3)} {wording.interval(estimate, 3)}"


def _number(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{wording.fixed(estimate.value, 1)} {wording.interval(estimate, 1)}"


__all__ = ["READERS", "Price", "Trade", "Tradeoff", "tradeoff"]
