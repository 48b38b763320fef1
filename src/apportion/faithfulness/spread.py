"""Which of many steps to look at, so that long chains stay payable."""

from __future__ import annotations

from collections.abc import Mapping

# Steps of a chain that a measure looks at where nothing else is asked for.
MOST_STEPS = 64


def spread(n: int, most: int) -> list[int]:
    """At most ``most`` of 0 … n-1, evenly spaced, the last one always among them; sorted."""
    if n <= most:
        return list(range(n))
    return sorted({n - 1 - round(k * (n - 1) / max(most - 1, 1)) for k in range(most)})


def at(steps: int, places: list[int], values: list[float]) -> tuple[float | None, ...]:
    """A value for each step, None where none was measured."""
    known = dict(zip(places, values, strict=True))
    return tuple(known.get(step) for step in range(steps))


def over_step(
    steps: int, places: list[int], at_cut: Mapping[int, float]
) -> tuple[float | None, ...]:
    """How much a figure of the cuts changes over each of ``places``, None for other steps."""
    return at(steps, places, [at_cut[i + 1] - at_cut[i] for i in places])
