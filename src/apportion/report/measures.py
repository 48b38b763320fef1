"""One number, or one learning curve, of one arm with one seed: what claims are made of."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from apportion.config.claims import Claim
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
}


def metric_of(claim: Claim) -> tuple[str, str]:
    """The metric's key, and when it is read: final, mean or last10."""
    if claim.measure in _NAMED:
        key, at, _ = _NAMED[claim.measure]
        return key, at
    return claim.measure, claim.at or "final"


def unit_of(claim: Claim) -> str:
    """In words; empty where the metric has none."""
    if claim.measure in _NAMED:
        return _NAMED[claim.measure][2]
    if claim.measure.startswith("eval/pass@"):
        return "share of problems"
    return _UNITS.get(claim.measure, "")


def measure(part: Part, claim: Claim) -> float | None:
    """The claim's measure of one arm and seed; None where the run did not record it."""
    key, at = metric_of(claim)
    values = [found.value for _, found in part.series(_split(part, claim, key, at), key)]
    if not values:
        return None
    if at == "final":
        return values[-1]
    return fmean(values[-_LAST:] if at == "last10" else values)


def _split(part: Part, claim: Claim, key: str, at: str) -> str:
    """Where the claim does not say: an evaluation's end is its final split, its course the
    validation problems; all else is of training."""
    if claim.split is not None:
        return claim.split
    if not key.startswith("eval/"):
        return "train"
    return "test" if at == "final" and "test" in part.splits() else "validation"


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
