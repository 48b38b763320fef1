"""The prompts of a dialogue: files to copy and change, and the turns between the two sides."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from apportion.errors import UserError, nearest
from apportion.review.llm_prompt import (
    PROMPT_FOLDER,
    Prompt,
    defuse,
    fenced,
    parse_prompt,
)
from apportion.review.llm_protocol import MAX_CONTENT, SCHEMAS

DIALOGUE_FOLDER = PROMPT_FOLDER / "dialogue"
REVIEWER_PROMPT = "dialogue_reviewer"
NO_FRAMING = "none"
_DIVIDER = re.compile(r"^=====\s*$", re.MULTILINE)
_SLOT = "{framing}"


class Framing(NamedTuple):
    """What each side is told about what the other one wants; empty texts say nothing."""

    name: str
    reviewer: str = ""
    assistant: str = ""


def load_framing(name: str) -> Framing:
    """``none``, a shipped framing (``common_goal``), or the path of a file: the text for the
    reviewer and, after a line of five equals signs, the text for the assistant.

    Raises UserError: no such framing.
    """
    if name == NO_FRAMING:
        return Framing(name)
    text = _read(name, DIALOGUE_FOLDER / "framing", "framing", [NO_FRAMING])
    parts = [part.strip() for part in _DIVIDER.split(text, maxsplit=1)]
    return Framing(name, *parts)


def load_dialogue_prompt(name: str, framing: Framing) -> Prompt:
    """The reviewer's prompt with the framing in its place; ``name`` is shipped or a path.

    Raises UserError: no such prompt, one that is not in the form of a prompt, or one without a
    place for the framing.
    """
    text = _read(name, DIALOGUE_FOLDER, "prompt", [])
    if framing.reviewer and _SLOT not in text:
        raise UserError(
            f"prompt '{name}' has no place for the framing: write {_SLOT} in it, or set "
            f"framing: {NO_FRAMING}"
        )
    return parse_prompt(name, text.replace(_SLOT, framing.reviewer))


def _read(name: str, folder: Path, what: str, built_in: list[str]) -> str:
    shipped = [*built_in, *sorted(file.stem for file in folder.glob("*.md"))]
    path = folder / f"{name}.md" if name in shipped else Path(name).expanduser()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"dialogue: {what} '{name}': {reason}{nearest(name, shipped)}; "
            f"shipped: {', '.join(shipped)}, or give the path of a file"
        ) from None


def asking_schema(prompt: Prompt) -> dict[str, Any]:
    """The JSON schema of a turn that may be a question: the verdict's, with a question before."""
    verdict = SCHEMAS[prompt.answer]
    return verdict | {
        "properties": {"question": {"type": ["string", "null"]}, **verdict["properties"]},
        "required": ["question", *verdict["required"]],
    }


def read_question(content: str) -> str | None:
    """The question of a reply: that of the last JSON object in it that holds one; None where the
    reply asks nothing."""
    decoder = json.JSONDecoder()
    position, found = 0, None
    content = content[:MAX_CONTENT]
    while (position := content.find("{", position)) >= 0:
        try:
            value, end = decoder.raw_decode(content, position)
        except (json.JSONDecodeError, RecursionError):
            position += 1
            continue
        position = end
        if isinstance(value, Mapping) and "question" in value:
            question = value["question"]
            found = question.strip() if isinstance(question, str) and question.strip() else None
    return found


def answer_turn(answer: str | None, left: int) -> str:
    """What the reviewer is told after its question: the answer, fenced as data, and how many more
    questions it has. ``answer`` None means that the question was withheld."""
    if answer is None:
        said = (
            "Your question was not passed on: it gives away what the answer should be. Ask "
            "without that, or judge."
        )
    elif not answer:
        said = "The student gave no answer."
    else:
        said = fence_of("STUDENT'S ANSWER", defuse(answer))
    if left <= 0:
        return f"{said}\n\n{verdict_turn()}"
    more = "one more question" if left == 1 else f"{left} more questions"
    return f"{said}\n\nYou may ask {more}, or give your verdict, as one JSON object."


def fence_of(title: str, text: str) -> str:
    """Text between marked lines, under a mark that it does not contain."""
    mark = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
    while mark in text:
        mark = hashlib.blake2b((mark + text).encode("utf-8", "replace"), digest_size=8).hexdigest()
    return fenced(title, mark, text)


def verdict_turn() -> str:
    return "You have no more questions. Give your verdict on every step now, as one JSON object."
