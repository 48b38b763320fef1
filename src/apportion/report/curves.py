"""Learning curves: numbers over seeds, and where they go in an SVG.

The template only writes down what is computed here. Each chart is laid out twice, for wide and
for narrow screens, since scaling a wide one down would make its text unreadable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from apportion.reach import common_grid
from apportion.report import faith
from apportion.report.data import Measure, Part, Run
from apportion.report.marks import mark_of, marked, style_of
from apportion.report.wording import compact, compact_count, number
from apportion.stats import RESAMPLES, SEED, interquartile_mean, wilson

# metric, title, whether it lies in [0, 1]; these come first, in this order.
KNOWN: list[tuple[str, str, bool]] = [
    ("eval/accuracy", "Accuracy", True),
    ("eval/step_error_rate", "Step error rate", True),
    ("eval/right_with_wrong_step", "Right answers with a wrong step", True),
    ("eval/length", "Length (tokens)", False),
    ("eval/steps", "Steps per completion", False),
    ("eval/separators", "Line ends per completion", False),
    ("eval/unfinished", "Cut off at the length limit", True),
    ("reward/mean", "Reward (sampled)", False),
    ("reward/equal_groups", "Groups of equal outcomes", True),
    ("credit/agreed_tokens", "Tokens in agreed steps", True),
    ("credit/disputed_tokens", "Tokens in disputed steps", True),
    ("review/failed", "Failed reviews", False),
    ("gaming/performative", "Checks for show", True),
    ("gaming/padding", "Steps that pad", True),
    ("gaming/merging", "Merged steps", True),
    ("gaming/caught_mistakes", "Mistakes that are caught", True),
    ("train/grad_norm", "Gradient norm", False),
]
_NOT_DRAWN = {"alarm", "review/calls", "review/tokens", "review/usd", "review/seconds"}
SPLITS = ("validation", "test", "train")
# What the horizontal axis counts unless it is said otherwise.
ROLLOUTS = "training rollouts"
MOST_POINTS = 120


@dataclass(frozen=True)
class Series:
    """One arm over training rollouts; ``low`` and ``high`` are nan where there is no interval."""

    arm: str
    index: int
    x: list[float]
    y: list[float]
    low: list[float]
    high: list[float]
    seeds: int
    of: str


@dataclass(frozen=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """A series as drawn: SVG paths of line and interval (which may be empty), and where its marks
    stand."""

    series: Series
    path: str
    band: str
    marks: list[tuple[float, float]]
    label: Label


@dataclass(frozen=True)
class Layout:
    """A chart ready to be drawn; all lengths are user units of its view box."""

    kind: str
    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]


@dataclass(frozen=True)
class Chart:
    """A measure of all arms. ``id`` is safe as an HTML id; ``small`` is its thumbnail."""

    id: str
    title: str
    metric: str
    split: str
    series: list[Series]
    layouts: list[Layout]
    small: Layout
    x_range: tuple[float, float]
    against: str = ROLLOUTS

    @property
    def known(self) -> bool:
        """Whether it is one of the usual measures, not one that a run added."""
        evaluated = self.metric.startswith(("eval/", faith.PREFIX))
        return evaluated or any(self.metric == m for m, *_ in KNOWN)

    def data(self) -> dict[str, object]:
        """For the readout and the table of values."""
        return {
            "id": self.id,
            "title": self.title,
            "against": self.against,
            "x": self.x_range,
            "series": [
                {
                    "arm": s.arm,
                    "style": style_of(s.index),
                    "mark": mark_of(s.index),
                    "x": s.x,
                    "y": _rounded(s.y),
                    "low": _rounded(s.low),
                    "high": _rounded(s.high),
                    "of": s.of,
                }
                for s in self.series
            ],
        }


def charts_of(run: Run, names: dict[str, int] | None = None) -> list[Chart]:
    """All charts that the run has numbers for, evaluation first."""
    index = names or {arm: i for i, arm in enumerate(run.arms)}
    return charts([(arm, i, run.parts_of(arm)) for arm, i in index.items()])


def charts(arms: Sequence[tuple[str, int, Sequence[Part]]]) -> list[Chart]:
    """Charts of named groups of parts; the integer picks the colour."""
    parts = [part for _, _, group in arms for part in group]
    found = []
    for split in SPLITS:
        metrics = {
            m for p in parts for line in p.lines if line.split == split for m in line.metrics
        }
        for metric, title, is_share in _titled(metrics, split):
            curves = [
                (arm, i, [own for part in group if (own := part.series(split, metric))])
                for arm, i, group in arms
            ]
            drawn = chart(metric, title, split, curves, is_share=is_share)
            found += [drawn] if drawn else []
    return found


def chart(
    metric: str,
    title: str,
    split: str,
    curves: Sequence[tuple[str, int, Sequence[Sequence[tuple[float, Measure]]]]],
    *,
    is_share: bool,
    against: str = ROLLOUTS,
) -> Chart | None:
    """One chart of (arm, colour, a curve for each seed); None where no arm has two points."""
    series = [_series(arm, i, own, is_share) for arm, i, own in curves]
    shown = [s for s in series if s and len(s.x) > 1]
    return _chart(metric, title, split, is_share, shown, against) if shown else None


def _titled(metrics: set[str], split: str) -> list[tuple[str, str, bool]]:
    known = [entry for entry in KNOWN if entry[0] in metrics]
    names = {entry[0] for entry in KNOWN}
    named = sorted(metric for metric in metrics if faith.is_headline(metric))
    known += [(metric, faith.title(metric), False) for metric in named]
    drawn = {metric for metric in metrics if not metric.startswith(faith.PREFIX)}
    rest = sorted(drawn - names - _NOT_DRAWN)
    titled = known + [(m, _title(m), m.startswith("eval/pass@")) for m in rest]
    if split != "validation":
        titled = [(m, f"{t}, {split}" if m.startswith("eval/") else t, s) for m, t, s in titled]
    return titled


def _title(metric: str) -> str:
    return metric.removeprefix("eval/").replace("_", " ").replace("/", " ").capitalize()


def _series(
    arm: str, index: int, curves: Sequence[Sequence[tuple[float, Measure]]], is_share: bool
) -> Series | None:
    if not curves:
        return None
    grid, rows = common_grid([[(x, m.value) for x, m in curve] for curve in curves])
    keep = np.unique(np.linspace(0, len(grid) - 1, min(len(grid), MOST_POINTS)).round().astype(int))
    if len(keep) == 0:
        return None
    grid, rows = grid[keep], rows[:, keep]
    if len(curves) == 1:
        at = dict(curves[0])
        low, high = zip(*(_bounds(at[x], is_share) for x in grid), strict=True)
    else:
        low, high = _over_seeds(rows)
    counts = [m.n for curve in curves for _, m in curve if m.n is not None]
    of = f"{len(curves)} seed" + ("s" if len(curves) > 1 else "")
    if counts:
        of += f" × {min(counts):,}" + (f"–{max(counts):,}" if max(counts) > min(counts) else "")
    y = interquartile_mean(rows, 0).tolist()
    return Series(arm, index, grid.tolist(), y, list(low), list(high), len(curves), of)


def _bounds(measure: Measure, is_share: bool) -> tuple[float, float]:
    if measure.low is not None and measure.high is not None:
        return measure.low, measure.high
    if is_share and measure.n:
        return wilson(measure.value * measure.n, measure.n)
    return math.nan, math.nan


def _over_seeds(rows: np.ndarray) -> tuple[list[float], list[float]]:
    """95 % bootstrap over seeds at each x; whole curves are drawn, so that bands are smooth."""
    rng = np.random.default_rng(SEED)
    picks = rng.integers(0, len(rows), (RESAMPLES // 4, len(rows)))
    means = interquartile_mean(rows[picks], axis=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return low.tolist(), high.tolist()


def _chart(
    metric: str, title: str, split: str, is_share: bool, series: list[Series], against: str
) -> Chart:
    x_range = min(s.x[0] for s in series), max(s.x[-1] for s in series)
    layouts = [
        _layout("wide", 760, 400, series, x_range, is_share, longest=22),
        _layout("narrow", 380, 300, series, x_range, is_share, longest=11),
    ]
    small = _layout("small", 200, 84, series, x_range, is_share, longest=0)
    name = "chart-" + "".join(c if c.isalnum() else "-" for c in f"{split}-{metric}")
    if against != ROLLOUTS:
        name += "-per-" + against.replace(" ", "-")
    return Chart(name, title, metric, split, series, layouts, small, x_range, against)


def _layout(
    kind: str,
    width: int,
    height: int,
    series: list[Series],
    x_range: tuple[float, float],
    is_share: bool,
    longest: int,
) -> Layout:
    names = [s.arm if len(s.arm) <= longest else s.arm[: longest - 1] + "…" for s in series]
    if longest:
        left, top, bottom = 44.0, 10.0, height - 40.0
        # Wide enough for the widest of the usual system fonts.
        right = width - 28.0 - 8.4 * max(len(name) for name in names)
    else:
        left, top, bottom, right = 36.0, 8.0, height - 6.0, width - 6.0
    low, high = _y_range(series, is_share)
    y_ticks = [t for t in ticks(low, high, 5 if longest else 2) if low <= t <= high]
    to_x = _scale(*x_range, left, right)
    to_y = _scale(low, high, bottom, top)
    # Thousands of thousands are no label.
    told = compact if x_range[1] < 1e7 else compact_count
    lines = []
    heights = spread_labels([to_y(s.y[-1]) for s in series], 16.0, top + 4, bottom)
    for s, name, label_y in zip(series, names, heights, strict=True):
        points = [(to_x(x), to_y(y)) for x, y in zip(s.x, s.y, strict=True)]
        label = Label(points[-1][0] + 13, label_y, name)
        marks = marked(points, s.index)
        lines.append(Line(s, _path(points), _band(s, to_x, to_y), marks, label))
    return Layout(
        kind, width, height, left, right, top, bottom,
        [(to_x(t), told(t)) for t in ticks(*x_range, 6 if kind == "wide" else 4)
         if x_range[0] <= t <= x_range[1]],
        [(to_y(t), compact(t) if abs(t) >= 1e6 else number(t, 6)) for t in y_ticks],
        lines,
    )  # fmt: skip


def _y_range(series: list[Series], is_share: bool) -> tuple[float, float]:
    values = np.array([v for s in series for v in (*s.y, *s.low, *s.high) if not math.isnan(v)])
    low, high = float(values.min()), float(values.max())
    pad = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - pad, high + pad
    if is_share:
        return max(0.0, low), min(1.0, high)
    return (max(0.0, low) if values.min() >= 0 else low), high


def _scale(a0: float, a1: float, b0: float, b1: float) -> Callable[[float], float]:
    span = (a1 - a0) or 1.0
    return lambda a: round(b0 + (b1 - b0) * (a - a0) / span, 2)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) that enclose [low, high]."""
    if high <= low:
        high = low + 1.0
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough - 1e-12)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def spread_labels(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least ``gap`` apart, in the same order, near the wanted ones, in [low, high]
    as far as they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [wanted[i] for i in order]
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + gap)
    overflow = max(0.0, placed[-1] - high) if placed else 0.0
    if overflow:
        placed[-1] -= overflow
        for k in range(len(placed) - 2, -1, -1):
            placed[k] = min(placed[k], placed[k + 1] - gap)
    if placed and placed[0] < low:
        placed = [max(y, low + gap * k) for k, y in enumerate(placed)]
    result = [0.0] * len(wanted)
    for i, y in zip(order, placed, strict=True):
        result[i] = round(y, 2)
    return result


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points)


def _band(s: Series, to_x: Callable[[float], float], to_y: Callable[[float], float]) -> str:
    """Closed outline of the interval; empty where the arm has none."""
    known = [i for i in range(len(s.x)) if not math.isnan(s.low[i])]
    if len(known) < 2:
        return ""
    upper = [(to_x(s.x[i]), to_y(s.high[i])) for i in known]
    lower = [(to_x(s.x[i]), to_y(s.low[i])) for i in reversed(known)]
    return _path(upper + lower) + "Z"


def _rounded(values: list[float]) -> list[float | None]:
    return [None if math.isnan(v) else float(f"{v:.4g}") for v in values]
