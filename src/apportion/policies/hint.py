"""Prompts with the answer in sight: text files with ``{problem}``, ``{answer}``, ``{skeleton}``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from apportion.errors import UserError, nearest
from apportion.trace import Problem

PROMPT_FOLDER = Path(__file__).parent / "prompts"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_KNOWN = ("problem", "answer", "skeleton")


@dataclass(frozen=True)
class Hint:
    """One prompt file. ``name`` is for the records."""

    name: str
    template: str

    def fill(self, problem: Problem, answer: str, skeleton: str = "") -> Problem:
        """The problem under this prompt. Braces inside the data mean nothing."""
        values = {
            "problem": problem.prompt.rstrip("\n"),
            "answer": answer.strip(),
            "skeleton": skeleton.strip(),
        }
        text = _PLACEHOLDER.sub(lambda match: values[match[1]], self.template)
        return problem.model_copy(update={"prompt": text})


@lru_cache(maxsize=64)
def load_hint(name: str) -> Hint:
    """A shipped prompt by name or a user's file by path.

    Raises UserError where there is no such file, where it names an unknown placeholder, and where
    it lacks the problem or the answer.
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
    used = _PLACEHOLDER.findall(text)
    for word in used:
        if word not in _KNOWN:
            raise UserError(
                f"prompt '{name}': unknown placeholder {{{word}}}{nearest(word, list(_KNOWN))}; "
                f"known: {', '.join(_KNOWN)}"
            )
    for word in _KNOWN[:2]:
        if word not in used:
            raise UserError(f"prompt '{name}' lacks the placeholder {{{word}}}")
    return Hint(name, text.rstrip("\n") + "\n")


def answer_of(problem: Problem) -> str:
    """The first gold answer. Raises UserError for a problem without one."""
    if not problem.answers or not problem.answers[0].strip():
        raise UserError(f"problem {problem.id} has no gold answer to put in sight")
    return problem.answers[0]
