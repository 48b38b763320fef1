"""Chains without what was flagged, to see whether it did anything."""

from __future__ import annotations

from collections.abc import Iterable

from apportion.detect.finding import Finding
from apportion.trace import Step


def without(text: str, findings: Iterable[Finding]) -> str:
    """The text without the spans of the findings, which may overlap; nothing else changes."""
    return _cut_out(text, len(text), findings)


def kept_reasoning(text: str, reasoning_end: int, findings: Iterable[Finding]) -> str:
    """The reasoning without the spans of the findings and without the final answer: what a policy
    is given to answer again from."""
    return _cut_out(text, reasoning_end, findings)


def _cut_out(text: str, end: int, findings: Iterable[Finding]) -> str:
    spans = sorted({Step(*span) for finding in findings for span in finding.spans})
    kept: list[str] = []
    position = 0
    for span in spans:
        kept.append(text[position : max(position, min(span.start, end))])
        position = max(position, min(span.end, end))
    kept.append(text[position:end])
    return "".join(kept)
