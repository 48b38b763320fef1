"""Run directories: what a run writes, and how it is read back after anything that may happen."""

from apportion.records.atomic import write_json_atomic, write_text_atomic
from apportion.records.directory import KINDS, MetricsLine, RunDirectory, is_run, read_kind
from apportion.records.jsonl import JsonlWriter, parse_lines, read_jsonl, reason
from apportion.records.manifest import describe_run

__all__ = [
    "KINDS",
    "JsonlWriter",
    "MetricsLine",
    "RunDirectory",
    "describe_run",
    "is_run",
    "parse_lines",
    "read_jsonl",
    "read_kind",
    "reason",
    "write_json_atomic",
    "write_text_atomic",
]
