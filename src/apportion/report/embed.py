"""Records as JSON in the page, so that it opens at once however many traces it holds.

The first line is what the list of traces and the figures need. Each further line is the larger
part of one trace, which the script parses when that trace is first looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

# What only an open trace needs.
LATER = ("tokens", "steps", "known", "reviews", "credit", "probed", "edits")


def embed(value: Any) -> str:
    """JSON that is inert inside a script element: without ``<`` neither ``</script>`` nor
    ``<!--`` can end or nest it. It has no line end."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def embed_lines(data: Mapping[str, Any]) -> str:
    """``data`` with its ``traces`` folded, and a line for the rest of each trace."""
    traces = data["traces"]
    first = dict(data) | {"traces": [_now(trace) for trace in traces]}
    return "\n".join([embed(first), *(embed(_later(trace)) for trace in traces)])


def _now(trace: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in trace.items() if key not in LATER}
    return kept | {"peaks": {m: credit["peak"] for m, credit in trace["credit"].items()}}


def _later(trace: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: trace.get(key) for key in LATER}
    return rest | {"tokens": _folded(trace["tokens"])}


def _folded(edges: Sequence[int]) -> list[int] | dict[str, Any]:
    """Spans that touch, as most do, by their lengths: a third of the size."""
    starts, ends = edges[0::2], edges[1::2]
    if not starts or starts[1:] != ends[:-1]:
        return list(edges)
    return {"from": starts[0], "lengths": [b - a for a, b in zip(starts, ends, strict=True)]}
