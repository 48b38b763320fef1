"""Held-out accuracy against what training cost: a chart for each axis of the bet."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.report.bet import AXES, costs
from apportion.report.curves import Chart, chart
from apportion.report.data import Part


def cost_charts(
    arms: Sequence[tuple[str, int, Sequence[Part]]], split: str = "validation"
) -> list[Chart]:
    """Accuracy per example, per generated token and per FLOP, for the axes on which two arms paid.

    The integer picks an arm's colour.
    """
    found = []
    for metric, axis in AXES.items():
        curves = [
            (arm, i, [own for part in parts if (own := costs(part, metric, split)) and own[-1][0]])
            for arm, i, parts in arms
        ]
        if sum(bool(own) for _, _, own in curves) < 2:
            continue
        title = f"Accuracy per {axis.removesuffix('s')}"
        drawn = chart("eval/accuracy", title, split, curves, is_share=True, against=axis)
        found += [drawn] if drawn else []
    return found
