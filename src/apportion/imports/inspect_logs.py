"""Logs of Inspect evaluations, as ``.json`` or as ``.eval`` archives."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apportion.errors import UserError
from apportion.imports.rows import rename, rollout_of
from apportion.records import reason
from apportion.trace import Rollout

_WORDS = {
    "C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0,
}  # fmt: skip
_ATTACHMENT = "attachment://"


def is_inspect(path: Path) -> bool:
    """Whether the file is such a log: an archive by its name, or JSON by what it holds."""
    if path.suffix != ".json" or not path.is_file():
        return path.suffix == ".eval"
    try:
        return _is_log(json.loads(path.read_bytes()))
    except ValueError:
        return False


def _is_log(log: Any) -> bool:
    return isinstance(log, Mapping) and isinstance(log.get("eval"), Mapping) and "status" in log


def read_inspect(path: Path, renames: Mapping[str, str]) -> tuple[list[Rollout], list[str]]:
    """Rollouts of a log, one for each sample and epoch, and a complaint for each sample without.

    A single score is the outcome (C, P, I and N count 1, 1/2, 0 and 0); of several ``renames``
    has to choose. Raises UserError for a file that is no such log.
    """
    header, samples = _archive(path) if path.suffix == ".eval" else _json(path)
    complaints: list[str] = []
    model = str(header.get("eval", {}).get("model", ""))
    names = {name for sample in samples for name in (sample.get("scores") or {})}
    chosen = [source for source, target in renames.items() if target == "outcome"]
    if len(names) > 1 and not chosen:
        complaints.append(
            f"{path}: several scores ({', '.join(sorted(names))}), so no outcome is known: "
            "name one by --map SCORE=outcome"
        )
    rollouts = []
    for number, sample in enumerate(samples, start=1):
        try:
            row = rename(_row(sample, model), renames)
            if isinstance(row.get("outcome"), str):
                row["outcome"] = _value(row["outcome"])
            rollouts.append(rollout_of(f"{path.stem}-{number}", row))
        except ValueError as error:
            complaints.append(f"{path}: sample {sample.get('id', number)}: {reason(error)}")
    return rollouts, complaints


def _json(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    try:
        log = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable JSON: {error}") from None
    if not _is_log(log):
        raise UserError(f"{path}: not a log of Inspect")
    return log, [s for s in log.get("samples") or [] if isinstance(s, Mapping)]


def _archive(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(n for n in archive.namelist() if n.startswith("samples/"))
            header = next(
                (n for n in ("header.json", "_journal/start.json") if n in archive.namelist()), None
            )
            if header is None:
                raise UserError(f"{path}: an archive without header.json is no log of Inspect")
            found = [json.loads(archive.read(name)) for name in names]
            return json.loads(archive.read(header)), found
    except NotImplementedError:
        raise UserError(
            f"{path}: packed by a method that this Python cannot unpack: convert it by "
            "inspect log convert --to json"
        ) from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable log of Inspect: {error}") from None


def _row(sample: Mapping[str, Any], model: str) -> dict[str, Any]:
    if sample.get("error"):
        raise ValueError(f"it failed: {str(sample['error'])[:200]}")
    sample = _resolved(sample, sample.get("attachments") or {})
    given, messages = sample.get("input"), sample.get("messages") or []
    # The input's messages open the conversation; solvers may put a system message before it.
    first = next((i for i, m in enumerate(messages) if _assistant(m) and not _given(m, given)), 0)
    written = [_plain(m) for m in messages[first:]] if messages else []
    if not written or not _assistant(messages[first]):
        raise ValueError("the model wrote no message in it")
    prompt = given if isinstance(given, str) else [_plain(m) for m in given or []]
    scores = {name: s.get("value") for name, s in (sample.get("scores") or {}).items()}
    row = {
        "prompt": prompt,
        "completion": written,
        "answer": sample.get("target"),
        "id": f"{sample.get('id')}-{sample.get('epoch', 1)}",
        "policy": model,
        "outcome": _value(next(iter(scores.values()))) if len(scores) == 1 else None,
    }
    return scores | row


def _assistant(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "assistant"


def _given(message: Mapping[str, Any], given: Any) -> bool:
    """Whether an assistant's message is part of the input (an example, say)."""
    return isinstance(given, list) and any(
        isinstance(m, Mapping)
        and m.get("role") == "assistant"
        and m.get("content") == message.get("content")
        for m in given
    )


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose reasoning, which Inspect keeps as a part of the content, is a field."""
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    thoughts = [p for p in content if isinstance(p, Mapping) and p.get("type") == "reasoning"]
    said = [p for p in content if p not in thoughts]
    text = "\n".join(str(p.get("reasoning", "")) for p in thoughts)
    return {**message, "content": said} | ({"reasoning_content": text} if text else {})


def _resolved(value: Any, attachments: Mapping[str, str]) -> Any:
    """Long texts are kept once, aside, and named where they belong."""
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return attachments.get(value.removeprefix(_ATTACHMENT), value)
    if isinstance(value, Mapping):
        return {k: _resolved(v, attachments) for k, v in value.items() if k != "attachments"}
    return [_resolved(v, attachments) for v in value] if isinstance(value, list) else value


def _value(value: Any) -> float | None:
    """A score as a number; None where it is none."""
    if isinstance(value, str):
        known = _WORDS.get(value, _WORDS.get(value.lower()))
        if known is not None:
            return known
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, bool | int | float) else None
