"""What a detector says of one chain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from apportion.detect.chain import Chain
from apportion.trace import Step


class Finding(NamedTuple):
    """One suspicious place. ``steps`` are indices of the chain's steps; ``spans`` are what is
    taken out to see whether it did anything, in characters of the text."""

    kind: str
    steps: tuple[int, ...]
    spans: tuple[Step, ...]
    why: str


class Detection(NamedTuple):
    """``rate`` is the share of the chain's steps that are flagged; 0 for a chain of no steps."""

    rate: float
    findings: tuple[Finding, ...]


def detection(chain: Chain, findings: Iterable[Finding]) -> Detection:
    """The findings with their rate. A step that is flagged twice counts once."""
    findings = tuple(findings)
    flagged = {index for finding in findings for index in finding.steps}
    return Detection(len(flagged) / len(chain.steps) if chain.steps else 0.0, findings)
