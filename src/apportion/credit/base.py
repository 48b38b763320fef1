"""What every credit method takes and gives.

A method sees the completions of one prompt and returns a number per token. It is pure: frozen
outcomes and consensus in, numpy arrays out; no policy, no training loop, no clock.

    _G  completions of one prompt    _T  tokens of one completion (padding already cut off)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from apportion.trace import Consensus, Credit, Step, StepConsensus, StepCredit

EPSILON = 1e-4  # in every (x - mean) / (std + eps); TRL's value

FloatArray = np.ndarray


@dataclass(frozen=True)
class Sample:
    """One completion of a group.

    ``outcome`` NaN means undecided. ``mask_T`` is True where a token may be trained on (False for
    padding and for tokens that a tool wrote). ``spans_T`` holds each token's character span,
    shape (T, 2). ``consensus`` None means that no review succeeded. ``signals`` holds what was
    measured with the policy for methods that need it, each (T,) float64. ``reasoning_end`` is the
    character where the answer begins, None where that is not known.
    """

    rollout_id: str
    outcome: float
    mask_T: np.ndarray
    spans_T: np.ndarray
    consensus: Consensus | None = None
    signals: Mapping[str, np.ndarray] = field(default_factory=dict)
    reasoning_end: int | None = None

    def tokens_of(self, start: int, end: int) -> np.ndarray:
        """Trainable tokens whose first character lies in [start, end), shape (T,) bool."""
        starts_T = self.spans_T[:, 0]
        return self.mask_T & (starts_T >= start) & (starts_T < end)

    @property
    def steps(self) -> tuple[StepConsensus, ...]:
        return self.consensus.steps if self.consensus else ()

    @property
    def reviewed(self) -> bool:
        return self.consensus is not None and self.consensus.valid_reviews > 0


@dataclass(frozen=True)
class Group:
    """The G completions of one prompt, with the advantage that the engine computed for each.

    ``base_G`` is (R - mean) / (std + eps) or R - mean over the group, 0 where R is undecided.
    ``progress`` is the share of training done, in [0, 1]; ``seed`` feeds the random controls.
    """

    samples: tuple[Sample, ...]
    base_G: FloatArray
    progress: float = 0.0
    seed: int = 0

    @property
    def outcomes_G(self) -> FloatArray:
        return np.array([sample.outcome for sample in self.samples], dtype=np.float64)

    @property
    def mixed(self) -> bool:
        """True if the group holds different outcomes, so that outcome alone says something."""
        known = self.outcomes_G[~np.isnan(self.outcomes_G)]
        return len(known) > 0 and bool(known.min() != known.max())


@dataclass(frozen=True)
class TokenCredit:
    """``values_T`` in the method's own unit and ``advantages_T`` for the update, both (T,)."""

    values_T: FloatArray
    advantages_T: FloatArray


class Method(BaseModel):
    """Base of the credit methods: the fields are the options, the docstring is the method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Whether the method reads reviews; training skips the reviewers of one that does not.
    reads_reviews: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the signals that samples must carry; see ``apportion.train.grpo.signals``."""
        return ()

    def assign(self, group: Group) -> list[TokenCredit]:
        """Credit for each completion of the group, in order."""
        raise TypeError(f"{type(self).__name__} does not say how it assigns credit")


def group_advantage(
    outcomes_G: FloatArray, scale: Literal["group", "none"] = "group"
) -> FloatArray:
    """(R - mean) / (std + eps), or R - mean; (G,) float64. Undecided outcomes get 0.

    The standard deviation is the unbiased one, as in TRL's GRPO. Source: Shao et al. 2024
    (arXiv 2402.03300), section 4.1; without the division: Liu et al. 2025 (arXiv 2503.20783).
    """
    outcomes_G = np.asarray(outcomes_G, dtype=np.float64)
    known = ~np.isnan(outcomes_G)
    advantage_G = np.zeros_like(outcomes_G)
    if known.sum() == 0:
        return advantage_G
    advantage_G[known] = outcomes_G[known] - outcomes_G[known].mean()
    if scale == "group" and known.sum() > 1:
        advantage_G[known] /= outcomes_G[known].std(ddof=1) + EPSILON
    return advantage_G


def blamed_tokens(
    sample: Sample, step: StepConsensus, blame_on: Literal["step", "focus"]
) -> np.ndarray:
    """Tokens of a wrong step that carry its blame, (T,) bool: all, or those under its focus."""
    inside_T = sample.tokens_of(step.start, step.end)
    if blame_on == "focus" and step.focus is not None:
        starts_T, ends_T = sample.spans_T[:, 0], sample.spans_T[:, 1]
        under_T = inside_T & (starts_T < step.focus[1]) & (ends_T > step.focus[0])
        if under_T.any():
            return under_T
    return inside_T


def stable_rng(seed: int, *key: str) -> np.random.Generator:
    """A generator that depends on the key alone, never on the order of calls."""
    digest = hashlib.blake2b("\x1f".join([str(seed), *key]).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def to_record(method: str, sample: Sample, credit: TokenCredit, cut: Sequence[Step] = ()) -> Credit:
    """The Credit record of one completion, explained by its steps.

    The steps are those of the consensus; ``cut`` serves where there is none, so that a trace can
    be shown under methods that read no reviews.
    """
    spans: Sequence[Step | StepConsensus] = sample.steps or cut
    steps = []
    for step in spans:
        inside_T = sample.tokens_of(step.start, step.end)
        value = float(credit.advantages_T[inside_T].mean()) if inside_T.any() else 0.0
        why = _why(step, sample) if isinstance(step, StepConsensus) else "not reviewed"
        steps.append(StepCredit(start=step.start, end=step.end, value=round(value, 6), why=why))
    return Credit(
        rollout_id=sample.rollout_id,
        method=method,
        values=tuple(np.round(credit.values_T, 6).tolist()),
        advantages=tuple(np.round(credit.advantages_T, 6).tolist()),
        steps=tuple(steps),
    )


def _why(step: StepConsensus, sample: Sample) -> str:
    if step.status == "unreviewed":
        return "not reviewed"
    share = f"{step.agreement:.0%} of the votes"
    if sample.consensus and sample.consensus.rule == "dawid_skene":
        share = f"probability {step.agreement:.2f}"
    return f"{step.status}: {step.label} ({share})"
