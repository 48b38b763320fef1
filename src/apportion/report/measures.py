"""One number, or one learning curve, of one arm with one seed: what claims are made of."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from apportion.report import faith
from apportion.report.data import Part

WINDOW = 10
_LAST = 10
_REWARD = "reward/mean"
# name: metric, when it is read, unit
_NAMED = {
    "mean_reward": (_REWARD, "mean", "reward"),
    "final_accuracy": ("eval/accuracy", "final", "share of problems"),
    "final_sampled": ("eval/pass@1", "final", "share of problems"),
    "length": ("eval/length", "final", "tokens"),
    "step_error_rate": ("eval/step_error_rate", "final", "share of judged steps"),
    "reach_ratio": (_REWARD, "mean", "times the rollouts"),
}
_UNITS = {
    "eval/accuracy": "share of problems",
    "eval/step_error_rate": "share of judged steps",
    "eval/right_with_wrong_step": "share of right answers",
    "eval/length": "tokens",
    "eval/steps": "steps",
    "reward/mean": "reward",
    "train/length": "tokens",
    "credit/steps": "steps",
    "gaming/performative": "share of steps",
    "gaming/padding": "share of steps",
    "gaming/merging": "share of steps",
    "gaming/caught_mistakes": "share of steps",
}


def unit_of(name: str) -> str:
    """In words; empty where the metric has none."""
    if name in _NAMED:
        return _NAMED[name][2]
    if name.startswith("eval/pass@"):
        return "share of problems"
    return _UNITS.get(name, "")


def measure(part: Part, name: str, at: str | None = None, split: str | None = None) -> float | None:
    """A measure of one arm and seed, by its name or a metric's key; None where it has none.

    ``at`` is final (the default of a key), mean or last10. Where ``split`` is not given, an
    evaluation's end is its final split and its course the validation problems; all else is of
    training.
    """
    key, when, _ = _NAMED.get(name, (name, at or "final", ""))
    if key.startswith(faith.PREFIX) and when == "final":
        last = faith.final(part, key, split)
        return None if last is None else last.value
    values = [found.value for _, found in part.series(split or _split(part, key, when), key)]
    if not values:
        return None
    if when == "final":
        return values[-1]
    return fmean(values[-_LAST:] if when == "last10" else values)


def _split(part: Part, key: str, when: str) -> str:
    if key.startswith("transfer/"):
        return "test"
    if key.startswith(faith.PREFIX):
        return faith.split_of(part, key) or "validation"
    if not key.startswith("eval/"):
        return "train"
    return "test" if when == "final" and "test" in part.splits() else "validation"


def reward_curve(part: Part) -> list[tuple[float, float]]:
    """Mean reward of ``WINDOW`` updates at a time against rollouts, at the window's middle.

    Every training problem is seen once, so the reward before the update is a held-out estimate of
    sampled accuracy, on the same problems for every arm of a seed.
    """
    return windowed([(x, found.value) for x, found in part.series("train", _REWARD)])


def windowed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of ``WINDOW`` neighbouring points, half a window apart."""
    found = []
    for start in range(0, len(points) - WINDOW + 1, WINDOW // 2):
        part = points[start : start + WINDOW]
        found.append((fmean(x for x, _ in part), fmean(y for _, y in part)))
    return found
