"""Other words for the same thing, by rule: no model needed."""

from __future__ import annotations

import random
import re

from apportion.tasks.stable import stable_hash

# Words that may stand for each other where a step of reasoning uses them.
GROUPS: tuple[tuple[str, ...], ...] = (
    ("so", "then", "now", "thus", "hence", "next"),
    ("simply", "clearly", "plainly", "surely", "merely", "directly"),
    ("therefore", "consequently", "accordingly"),
    ("but", "however", "yet", "though"),
    ("because", "since", "as"),
    ("also", "moreover", "furthermore", "additionally"),
    ("first", "firstly", "initially"),
    ("finally", "lastly", "ultimately"),
    ("gives", "yields", "makes"),
    ("get", "obtain", "find", "reach"),
    ("gets", "obtains", "finds", "reaches"),
    ("calculate", "compute", "determine", "work out"),
    ("total", "sum"),
    ("altogether", "overall"),
    ("big", "large"),
    ("small", "little"),
    ("need to", "have to", "must"),
    ("start", "begin"),
    ("left", "remaining"),
    ("per", "for each"),
)
_OTHERS = {word: group for group in GROUPS for word in group}
_WORD = re.compile(
    r"\b(?:" + "|".join(sorted(map(re.escape, _OTHERS), key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)


def reworded(text: str, seed: int = 0) -> str:
    """The text with each word that has others replaced by one of them, numbers and all else as
    they are; a capital stays. The same text and seed give the same result."""
    rng = random.Random(stable_hash(f"reword {seed} {text}"))

    def other(match: re.Match[str]) -> str:
        word = match.group()
        chosen = rng.choice([w for w in _OTHERS[word.lower()] if w != word.lower()])
        return chosen.capitalize() if word[0].isupper() else chosen

    return _WORD.sub(other, text)
