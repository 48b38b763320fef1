"""Traces that something else wrote, as rollouts."""

from apportion.imports.read import read_traces
from apportion.imports.rows import TARGETS

__all__ = ["TARGETS", "read_traces"]
