"""What must be measured with the policy before credit can be given.

A credit method is pure, so what it cannot compute from outcomes and reviews (the value at each
step, the log-ratio to a helper) is measured here, between the outcome and the credit, and put on
the rollouts as named numbers per token. A method says what it ``needs``; a source says what it
``gives``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from apportion.config import RunConfig
from apportion.credit import Method, load_method
from apportion.credit.shuffled import Shuffled
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.tasks import Task
from apportion.trace import Rollout, Step
from apportion.train.grpo.batch import Batch, CreditedBatch


class Measured(NamedTuple):
    """Rollouts with more ``signals`` than before, in the same order, and what it cost."""

    rollouts: list[Rollout]
    metrics: Mapping[str, float]


class SignalSource(Protocol):
    """Measures numbers per token of rollouts whose outcomes are frozen.

    A source with parameters may also have ``save(folder)`` and ``load(folder)``, so that a run
    resumes exactly, and ``alarm``, the reason why training has to stop (None while there is none).
    """

    @property
    def gives(self) -> tuple[str, ...]: ...

    def measure(
        self, rollouts: Sequence[Rollout], cuts: Sequence[tuple[Step, ...]]
    ) -> Measured: ...

    def learn(self, credited: CreditedBatch) -> None:
        """Called after each update's credit is given; a source without parameters passes."""
        ...


Builder = Callable[[RunConfig, Method, Task, LanguageModelPolicy], SignalSource]


def _hindsight(
    config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
) -> SignalSource:
    from apportion.train.grpo.hindsight_source import HindsightSource

    return HindsightSource(config, method, task, policy)


def _step_values(
    config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
) -> SignalSource:
    from apportion.train.grpo.step_values import StepValues

    return StepValues(config, method, task, policy)


def _step_effects(
    config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
) -> SignalSource:
    from apportion.train.grpo.step_effects import StepEffects

    return StepEffects(config, method, task, policy)


def _token_model(
    config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
) -> SignalSource:
    from apportion.train.grpo.token_source import TokenSource

    return TokenSource(config, method, task, policy)


# One row for each signal: its name and what builds its source.
SOURCES: dict[str, Builder] = {
    "hindsight": _hindsight,
    "hindsight_reached": _hindsight,
    "value": _step_values,
    "segment_value": _step_values,
    "effect": _step_effects,
    "effect_known": _step_effects,
    "critic_value": _token_model,
    "token_score": _token_model,
}


def inner_of(method: Method) -> Method:
    """The method whose signals are permuted by a control, else the method itself."""
    while isinstance(method, Shuffled):
        method = load_method(method.inner)
    return method


def load_signals(config: RunConfig, task: Task, policy: LanguageModelPolicy) -> list[SignalSource]:
    """The sources of what the run's credit method needs.

    Raises UserError where nothing measures a signal.
    """
    method = load_method(config.credit)
    sources: list[SignalSource] = []
    for name in method.needs:
        if any(name in source.gives for source in sources):
            continue
        if name not in SOURCES:
            raise UserError(f"nothing measures the signal '{name}'")
        sources.append(SOURCES[name](config, method, task, policy))
    return sources


def check_given(sources: Sequence[SignalSource], method: Method) -> None:
    """Raises UserError where the method needs what no source gives."""
    given = {name for source in sources for name in source.gives}
    missing = [name for name in method.needs if name not in given]
    if missing:
        raise UserError(
            f"credit method {type(method).__name__.lower()} needs the signal '{missing[0]}': "
            "pass signals=[...] with a source that gives it"
        )


def measure_all(sources: Sequence[SignalSource], batch: Batch) -> dict[str, float]:
    """Put every signal on the rollouts of an open batch; what it cost, as metrics."""
    metrics: dict[str, float] = {}
    for source in sources:
        found = source.measure(batch.rollouts, batch.cuts)
        batch.rollouts = found.rollouts
        metrics |= found.metrics
    return metrics


def learn_all(sources: Sequence[SignalSource], credited: CreditedBatch) -> None:
    """Let every source that has parameters learn from the batch."""
    for source in sources:
        source.learn(credited)


def save_all(sources: Sequence[SignalSource], folder: Path) -> None:
    """Let every source that has state write it into a checkpoint's folder."""
    for source in sources:
        if (save := getattr(source, "save", None)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
            save(folder)


def load_all(sources: Sequence[SignalSource], folder: Path) -> None:
    """Let every source that has state go on from what it wrote."""
    for source in sources:
        if (load := getattr(source, "load", None)) is not None:
            load(folder)


def alarm_of(sources: Sequence[SignalSource]) -> str | None:
    """Why a source wants training to stop; None where none does."""
    found = (getattr(source, "alarm", None) for source in sources)
    return next((reason for reason in found if reason), None)
