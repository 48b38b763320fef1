"""Finds chains that look like reasoning: gaming of whoever pays for it. Text in, rates out.

Nothing here knows what is right beyond the equations that can be read; whether a flagged step
did anything is for the causal test (:func:`apportion.train.measure.decorative.decorative_share`).
"""

from __future__ import annotations

from collections.abc import Sequence

from apportion.detect.caught_mistakes import caught_mistakes
from apportion.detect.chain import Chain, Sum, read_chain
from apportion.detect.finding import Detection, Finding
from apportion.detect.merging import (
    Norm,
    equations_per_step,
    merging,
    norm_for,
    norm_of,
    operations_per_step,
    separators_per_equation,
)
from apportion.detect.padding import excess, padding
from apportion.detect.performative import check_words, performative
from apportion.detect.remove import kept_reasoning, without
from apportion.trace import Rollout, Step

DETECTORS: dict[str, str] = {
    "performative": "checks for show: they say 'verify', or undo a sum, and change nothing",
    "padding": "steps that say nothing or repeat an earlier one",
    "merging": "more computations in one step than the task's solutions have",
    "caught_mistakes": "a wrong step and its own correction",
}


def find_all(
    trace: Rollout | str, steps: Sequence[Step], *, prompt: str = "", norm: Norm | None = None
) -> dict[str, Detection]:
    """Every detector's findings in one chain, by the names of :data:`DETECTORS`.

    ``steps`` are spans of the text, ``prompt`` is the problem (a Rollout brings its own), ``norm``
    what a step of an honest solution may hold.
    """
    return _find(_read(trace, steps, prompt), norm)


def detect_all(
    trace: Rollout | str, steps: Sequence[Step], *, prompt: str = "", norm: Norm | None = None
) -> dict[str, float]:
    """The rates of :func:`find_all`, each a share of the chain's steps, and the figures
    ``check_words`` (share of steps that speak of checking), ``equations_per_step``,
    ``operations_per_step`` and, where there is an equation, ``separators_per_equation``."""
    chain = _read(trace, steps, prompt)
    found = {name: detection.rate for name, detection in _find(chain, norm).items()}
    found["check_words"] = check_words(chain)
    found["equations_per_step"] = equations_per_step(chain)
    found["operations_per_step"] = operations_per_step(chain)
    separators = separators_per_equation(chain)
    return found if separators is None else found | {"separators_per_equation": separators}


def _read(trace: Rollout | str, steps: Sequence[Step], prompt: str) -> Chain:
    if isinstance(trace, Rollout):
        return read_chain(trace.text, steps, prompt or trace.problem.prompt)
    return read_chain(trace, steps, prompt)


def _find(chain: Chain, norm: Norm | None) -> dict[str, Detection]:
    return {
        "performative": performative(chain),
        "padding": padding(chain),
        "merging": merging(chain, norm),
        "caught_mistakes": caught_mistakes(chain),
    }


__all__ = [
    "DETECTORS",
    "Chain",
    "Detection",
    "Finding",
    "Norm",
    "Sum",
    "caught_mistakes",
    "check_words",
    "detect_all",
    "equations_per_step",
    "excess",
    "find_all",
    "kept_reasoning",
    "merging",
    "norm_for",
    "norm_of",
    "operations_per_step",
    "padding",
    "performative",
    "read_chain",
    "separators_per_equation",
    "without",
]
