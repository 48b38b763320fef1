"""The distilled step model: a small network that learned its verdicts from recorded reviews.

It runs on numpy alone and costs microseconds a step. ``apportion distil`` trains it
(:mod:`apportion.train.step_model`).
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apportion.errors import UserError
from apportion.review.step_features import NUMBERS, VERSION, WORDS, Features, features_of
from apportion.trace import LABELS, Problem, Review, Step, StepVerdict, Usage

WEIGHTS_FILE, FACTS_FILE = "step_model.npz", "step_model.json"


class StepModelFacts(BaseModel):
    """What is known of a step model besides its weights. ``target`` says what its steps were
    labelled by: reviews of ``teacher``, or the outcome of their chain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: int = VERSION
    teacher: str
    target: str = "reviews"
    threshold: float = Field(default=0.5, ge=0, le=1)
    steps: int = 0
    problems: int = 0
    seed: int = 0


@dataclass(frozen=True)
class StepModel:
    """One hidden layer over numbers and hashed words, softmax over the labels.

    Shapes: ``mean`` and ``scale`` (F,), ``numbers`` (F, H), ``words`` (W, H), ``hidden`` (H,),
    ``out`` (H, 3), ``bias`` (3,), where F and W are ``NUMBERS`` and ``WORDS`` of
    :mod:`apportion.review.step_features`.
    """

    mean: np.ndarray
    scale: np.ndarray
    numbers: np.ndarray
    words: np.ndarray
    hidden: np.ndarray
    out: np.ndarray
    bias: np.ndarray
    facts: StepModelFacts

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        learned = (self.numbers, self.words, self.hidden, self.out, self.bias)
        return sum(array.size for array in learned)

    def probabilities(self, prompt: str, text: str, steps: Sequence[Step]) -> np.ndarray:
        """P(useful, irrelevant, harmful) of each step, (S, 3)."""
        return self.probabilities_of(features_of(prompt, text, steps))

    def probabilities_of(self, features: Features) -> np.ndarray:
        """The same from what was read already, (S, 3)."""
        drive_SH = ((features.numbers - self.mean) / self.scale) @ self.numbers + self.hidden
        for index, buckets in enumerate(features.buckets):
            drive_SH[index] += self.words[buckets].sum(axis=0)
        logits_S3 = np.maximum(drive_SH, 0.0) @ self.out + self.bias
        raised_S3 = np.exp(logits_S3 - logits_S3.max(axis=1, keepdims=True))
        return raised_S3 / raised_S3.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write both files, creating the folder. Raises UserError where that fails."""
        arrays = {name: getattr(self, name).astype(np.float32) for name in _SHAPES}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(folder / WEIGHTS_FILE, **arrays)
            text = self.facts.model_dump_json(indent=1)
            (folder / FACTS_FILE).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write the step model into {folder}: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> StepModel:
        """Raises UserError: no step model there, a damaged one, or one of other features."""
        try:
            facts = StepModelFacts.model_validate_json(
                (folder / FACTS_FILE).read_text(encoding="utf-8")
            )
            with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as file:
                arrays = {name: file[name] for name in _SHAPES}
        except FileNotFoundError:
            raise UserError(
                f"{folder} holds no step model: train one by 'apportion distil RUN --out {folder}'"
            ) from None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, ValidationError) as error:
            what = str(error).splitlines()[0]
            raise UserError(f"{folder}: the step model cannot be read: {what}") from None
        if facts.features != VERSION:
            raise UserError(
                f"{folder}: the step model was trained on features of version {facts.features}, "
                f"this package has version {VERSION}: distil it again"
            )
        _check_shapes(arrays, folder)
        return cls(**arrays, facts=facts)


_SHAPES: dict[str, tuple[int | str, ...]] = {
    "mean": (NUMBERS,),
    "scale": (NUMBERS,),
    "numbers": (NUMBERS, "H"),
    "words": (WORDS, "H"),
    "hidden": ("H",),
    "out": ("H", len(LABELS)),
    "bias": (len(LABELS),),
}


def _check_shapes(arrays: dict[str, np.ndarray], folder: Path) -> None:
    size = arrays["hidden"].shape[0] if arrays["hidden"].ndim == 1 else -1
    for name, shape in _SHAPES.items():
        wanted = tuple(size if axis == "H" else axis for axis in shape)
        if arrays[name].shape != wanted:
            raise UserError(
                f"{folder}: the step model cannot be read: {name} has the shape "
                f"{arrays[name].shape}, not {wanted}"
            )


class StepModelOptions(BaseModel):
    """``path`` is the folder that ``apportion distil`` wrote. A step is called harmful from a
    probability of ``threshold`` on (default: the model's own)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    threshold: float | None = Field(default=None, ge=0, le=1)
    name: str = "step_model"


class StepModelReviewer:
    """Judges each given step by a :class:`StepModel`: harmful and incorrect where that is likely
    enough, else the likelier of useful and irrelevant, and correct. ``confidence`` is the
    probability of harmful or of not harmful, whichever was said; ``depends_on`` is read, not
    learned. The usage records the seconds.
    """

    critiques = 1
    max_concurrency = 1  # it never waits, so a second review at once would only wait for the first

    def __init__(
        self, model: StepModel, *, threshold: float | None = None, name: str = "step_model"
    ) -> None:
        self.model, self.name = model, name
        self.threshold = model.facts.threshold if threshold is None else threshold

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        started = time.perf_counter()
        verdicts: tuple[StepVerdict, ...] = ()
        if steps:
            features = features_of(problem.prompt, rollout_text, steps)
            probabilities_S3 = self.model.probabilities_of(features)
            verdicts = tuple(map(self._verdict, probabilities_S3, features.depends_on))
        seconds = time.perf_counter() - started
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=tuple(steps),
            verdicts=verdicts,
            usage=Usage(seconds=round(seconds, 6), usd=0.0),
        )

    def _verdict(self, p_3: np.ndarray, depends_on: tuple[int, ...]) -> StepVerdict:
        useful, irrelevant, harmful = (float(p) for p in p_3)
        reason = f"probability of harmful {harmful:.2f}"
        if harmful >= self.threshold:
            return StepVerdict(
                label="harmful",
                correct=False,
                depends_on=depends_on,
                reason=reason,
                confidence=min(harmful, 1.0),
            )
        return StepVerdict(
            label="useful" if useful >= irrelevant else "irrelevant",
            correct=True,
            depends_on=depends_on,
            reason=reason,
            confidence=min(1.0, max(0.0, 1.0 - harmful)),
        )
