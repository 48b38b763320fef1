"""Chat messages as one text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten_messages(value: Any, field: str) -> str:
    """Text as it is; a list of ``{"role", "content"}`` messages as one text.

    A single message, and messages that are all the assistant's, give their contents alone; any
    other conversation gives ``role: content`` paragraphs. A separate ``reasoning_content`` (or
    ``reasoning``) comes before its content, in ``<think>`` tags. Raises ValueError for anything
    else; ``field`` names it.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(m, Mapping) for m in value):
        raise ValueError(f"{field}: text or chat messages are needed, not {type(value).__name__}")
    texts = [_text(message, field) for message in value]
    roles = [str(message.get("role", "")) for message in value]
    if len(texts) == 1 or set(roles) <= {"assistant"}:
        return "\n".join(texts)
    return "\n\n".join(f"{role}: {text}" for role, text in zip(roles, texts, strict=True))


def _text(message: Mapping[str, Any], field: str) -> str:
    if "content" not in message:
        raise ValueError(f"{field}: a chat message has no 'content'")
    content = message["content"]
    if isinstance(content, list | tuple):
        content = "".join(_part(part) for part in content)
    if content is not None and not isinstance(content, str):
        raise ValueError(f"{field}: a message's content is {type(content).__name__}, not text")
    thought = message.get("reasoning_content") or message.get("reasoning")
    before = f"<think>\n{thought}\n</think>\n" if isinstance(thought, str) else ""
    return before + (content or "")


def _part(part: Any) -> str:
    """The text of one part of a multimodal message; parts that are no text are named."""
    if isinstance(part, str):
        return part
    kind = part.get("type", "part") if isinstance(part, Mapping) else type(part).__name__
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else f"[{kind}]"
