"""Prompts as text files, and the data that is put into them.

A prompt file has a head that names the form of the answer, the system message, a line of five
equals signs, and the user message:

    ---
    answer: steps          # steps | wrong | free | deliberate | whole
    ---
    You review ...
    =====
    {problem}
    {trace}

Placeholders are filled in one pass, so braces in a problem or a trace mean nothing, and the JSON
in a prompt needs no escapes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from apportion.errors import UserError, nearest
from apportion.trace import Problem, Step

AnswerForm = Literal["steps", "wrong", "free", "deliberate", "whole"]
# In these the reviewer cuts the text itself, by quoting it.
OWN_CUT: tuple[AnswerForm, ...] = ("free", "deliberate")

PROMPT_FOLDER = Path(__file__).parent / "prompts"
PLACEHOLDERS: dict[str, str] = {
    "problem": "the problem, fenced",
    "trace": "the chain of thought, fenced; numbered steps, or as it is where the reviewer cuts",
    "outcome": "whether the final answer is right, or an empty text where that is hidden",
    "reference": "the reference answer, or an empty text where it is hidden",
    "last": "the number of the last step",
    "own": "in cross-examination: what the reviewer itself said of the disputed steps, fenced",
    "others": "in cross-examination: what the others said of them, fenced",
}
_REQUIRED = ("problem", "trace")
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_HEAD = re.compile(r"\A---\s*\nanswer:\s*(\w+)\s*\n---\s*\n")
_DIVIDER = re.compile(r"^=====\s*$", re.MULTILINE)

# What a tokenizer or a chat template may take for the start of another speaker's turn. Every
# replacement keeps the length, so that offsets into the text stay valid.
_ROLE_TOKENS = re.compile(
    r"<[|｜][^|｜<>\n]{1,40}[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|</?(?:bos|eos|pad|unk)>"
    r"|<(?:start|end)_of_turn>|</?(?:system|user|assistant|tool)>|</?think>",
    re.IGNORECASE,
)
_HARMLESS = str.maketrans("<>|｜[]", "‹›¦¦⟦⟧")
_SPEAKER = re.compile(r"^([ \t]*(?:human|assistant|user|system|ai))(:)", re.IGNORECASE | re.M)
_LINE_BREAKS = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True)
class Prompt:
    """One prompt file. ``digest`` is a hash of its text, for the records."""

    name: str
    answer: AnswerForm
    system: str
    user: str
    digest: str


@lru_cache(maxsize=64)
def load_prompt(name: str) -> Prompt:
    """A shipped prompt by name (``steps``, ``deliberate``, ...) or a user's file by path.

    Raises:
        UserError: no such prompt, or a file that is not in the form above.
    """
    shipped = sorted(path.stem for path in PROMPT_FOLDER.glob("*.md"))
    path = PROMPT_FOLDER / f"{name}.md" if name in shipped else Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"prompt '{name}': {reason}{nearest(name, shipped)}; "
            f"shipped prompts: {', '.join(shipped)}, or give the path of a file"
        ) from None
    return parse_prompt(name, text)


def parse_prompt(name: str, text: str) -> Prompt:
    """Raises UserError where the text is no prompt."""
    head = _HEAD.match(text)
    forms = list(get_args(AnswerForm))
    if head is None or head[1] not in forms:
        given = head[1] if head else ""
        raise UserError(
            f"prompt '{name}' must begin with the three lines '---', 'answer: FORM', '---' "
            f"where FORM is one of {', '.join(forms)}{nearest(given, forms)}"
        )
    parts = _DIVIDER.split(text[head.end() :], maxsplit=1)
    if len(parts) != 2:
        raise UserError(f"prompt '{name}' has no line '=====' between system and user message")
    system, user = (part.strip() for part in parts)
    used = set(_PLACEHOLDER.findall(user)) | set(_PLACEHOLDER.findall(system))
    for word in sorted(used - set(PLACEHOLDERS)):
        known = list(PLACEHOLDERS)
        raise UserError(
            f"prompt '{name}': unknown placeholder {{{word}}}{nearest(word, known)}; "
            f"known: {', '.join(known)}"
        )
    for word in _REQUIRED:
        if word not in _PLACEHOLDER.findall(user):
            raise UserError(f"prompt '{name}': the user message lacks the placeholder {{{word}}}")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Prompt(name, forms[forms.index(head[1])], system, user, digest)


def defuse(text: str) -> str:
    """Make role tokens and speaker marks powerless. The length does not change."""
    # Half a surrogate pair is no character and cannot be sent.
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = _ROLE_TOKENS.sub(lambda match: match.group().translate(_HARMLESS), text)
    return _SPEAKER.sub(lambda match: match[1] + "：", text)


def fence_mark(prompt: Prompt, parts: Sequence[str], critique: int) -> str:
    """A mark that the data cannot contain: a hash of all of it.

    The same request gets the same mark, so that its answer can be found in the cache.
    """
    content = json.dumps([prompt.digest, critique, *parts])
    while True:
        mark = hashlib.blake2b(content.encode("utf-8", "replace"), digest_size=8).hexdigest()
        if not any(mark in part for part in parts):
            return mark
        content += mark


def fenced(title: str, mark: str, text: str) -> str:
    return f"===== BEGIN {title} {mark} =====\n{text}\n===== END {title} {mark} ====="


def render(
    prompt: Prompt,
    problem: Problem,
    text: str,
    steps: Sequence[Step],
    *,
    outcome: float | None,
    show_outcome: bool,
    show_reference: bool,
    critique: int,
    beside: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """The messages of one request. ``beside`` fills further placeholders with data, fenced."""
    question = defuse(problem.prompt.strip())
    shown = _shown_trace(prompt, text, steps)
    beside = {name: defuse(data) for name, data in (beside or {}).items()}
    mark = fence_mark(prompt, [question, shown, *beside.values()], critique)
    values = {"own": "", "others": ""}
    values |= {name: fenced(name.upper(), mark, data) for name, data in beside.items()}
    values |= {
        "problem": fenced("PROBLEM", mark, question),
        "trace": fenced("SOLUTION", mark, shown),
        "outcome": _outcome_text(outcome) if show_outcome else "",
        "reference": _reference_text(problem, mark) if show_reference else "",
        "last": str(len(steps) - 1),
    }
    return [
        {"role": "system", "content": _fill(prompt.system, values)},
        {"role": "user", "content": _fill(prompt.user, values)},
    ]


def _fill(template: str, values: Mapping[str, str]) -> str:
    filled = _PLACEHOLDER.sub(lambda match: values[match[1]], template)
    return re.sub(r"\n{3,}", "\n\n", filled) if "" in values.values() else filled


def _shown_trace(prompt: Prompt, text: str, steps: Sequence[Step]) -> str:
    start, end = steps[0].start, steps[-1].end
    answer = defuse(text[end:].strip())
    if prompt.answer in OWN_CUT:
        body = defuse(text[start:end])
    else:
        body = "\n".join(_numbered(i, step.text(text)) for i, step in enumerate(steps))
    return f"{body}\n[final answer] {_indented(answer)}" if answer else body


def _numbered(index: int, text: str) -> str:
    return f"[{index}] {_indented(defuse(text.strip()))}"


def _indented(text: str) -> str:
    """No line after the first begins at the margin, where only real step numbers stand."""
    return _LINE_BREAKS.sub("\n    ", text)


def _outcome_text(outcome: float | None) -> str:
    if outcome is None:
        return "It is not known whether the final answer is right."
    if outcome >= 1.0:
        return "The final answer was checked: it is right."
    if outcome <= 0.0:
        return "The final answer was checked: it is wrong."
    return f"The final answer was checked: it scored {outcome:g} on a scale from 0 to 1."


def _reference_text(problem: Problem, mark: str) -> str:
    if not problem.answers:
        return "No reference answer is known."
    return fenced("REFERENCE ANSWER", mark, defuse(" or ".join(problem.answers)))
