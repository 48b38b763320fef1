"""What a recipe says will come out, written down before it runs; ``report.claims`` judges it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from apportion.config.section import Section
from apportion.errors import nearest

# Measures with a name of their own; any other is a metric's key, such as credit/moved.
MEASURES = (
    "mean_reward",
    "final_accuracy",
    "final_sampled",
    "reach_ratio",
    "length",
    "step_error_rate",
)


class Sweep(Section):
    """Several arms that differ in one quantity ``x``, called ``label``: is there a relation?

    ``test`` says which figure of it the claim is about: the ``slope`` of a straight line,
    ``spearman``'s rank correlation, or the ``crossing``, the x at which the line is zero. It is
    compared with ``value``.
    """

    arms: tuple[str, ...] = Field(min_length=3)
    x: tuple[float, ...]
    label: str = "x"
    test: Literal["slope", "spearman", "crossing"] = "slope"
    value: float = 0.0

    @model_validator(mode="after")
    def _one_x_for_each_arm(self) -> Self:
        if len(self.x) != len(self.arms):
            raise ValueError(f"{len(self.arms)} arms and {len(self.x)} values of x")
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("an arm occurs twice")
        if len(set(self.x)) < 2:
            raise ValueError("all values of x are the same")
        return self


class Claim(Section):
    """One claim. ``text`` says it in words and ``source`` where it comes from.

    ``measure`` of ``arm`` (or, over a ``sweep``, of each of its arms) is compared with
    ``against``: the same measure of another arm, paired by seed, or a number. For
    ``reach_ratio`` an arm is what the rollouts are divided by, to be compared with 1; a number is
    compared with the ratio to the arm ``outcome``.

    A metric's key is read ``at`` the end, as the mean over the run, or over the last ten
    recordings; of ``split``, by default train except for eval/ metrics. ``expect`` greater or
    less means by more than ``margin``; equal means within it.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    text: str = Field(min_length=1)
    source: str = ""
    measure: str
    at: Literal["final", "mean", "last10"] | None = None
    split: Literal["train", "validation", "test"] | None = None
    arm: str | None = None
    against: float | str
    expect: Literal["greater", "less", "equal"]
    margin: float = Field(default=0.0, ge=0)
    sweep: Sweep | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All arms that the claim needs."""
        tested = self.sweep.arms if self.sweep else (self.arm,)
        other = (self.against,) if isinstance(self.against, str) else ()
        if self.measure == "reach_ratio" and not other:
            other = ("outcome",)
        return tuple(dict.fromkeys(name for name in (*tested, *other) if name is not None))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.arm is None) == (self.sweep is None):
            raise ValueError("give arm, or a sweep, and not both")
        if self.arm is not None and self.arm == self.against:
            raise ValueError(f"arm {self.arm} is compared with itself")
        if self.expect == "equal" and not self.margin:
            raise ValueError("expect equal needs a margin above 0: no measurement shows exactly 0")
        if self.measure in MEASURES:
            if self.at or self.split:
                raise ValueError(f"at and split belong to a metric's key, not to {self.measure}")
            if self.measure == "reach_ratio" and self.sweep:
                raise ValueError("reach_ratio is no single number of a seed: take another measure")
        elif "/" not in self.measure:
            raise ValueError(
                f"measure: no '{self.measure}'{nearest(self.measure, list(MEASURES))}; metrics "
                "are written with a slash, such as credit/moved"
            )
        return self


def check_arms(claims: Sequence[Claim], arms: Sequence[str]) -> None:
    """Raises ValueError where two claims share a name or one needs an arm that is not trained."""
    seen: set[str] = set()
    for claim in claims:
        if claim.name in seen:
            raise ValueError(f"two claims have the name {claim.name}")
        seen.add(claim.name)
        for arm in claim.names:
            if arm not in arms:
                raise ValueError(
                    f"claim {claim.name}: no arm '{arm}'{nearest(arm, list(arms))} (without the "
                    "claims: claims=[])"
                )
