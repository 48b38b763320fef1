"""Turns of phrase that say of a step what it pretends to do: check, correct, or fill.

They are words only. Whether a step that says "let me verify" verifies anything is for whoever
reads its numbers.
"""

from __future__ import annotations

import re

from apportion.review.reading.numbers import words

_I = r"(?:i(?:'ll| will| should| must| want to| need to| have to| can)?|we(?:'ll| can| should)?)"
_LET = r"(?:let me|let's|let us)"
_ADVERBS = r"(?:(?:now|just|quickly|also|first|then|carefully)\s+)*"
_VERIFY = r"(?:(?:double|re|cross)[- ]?check|recheck|check|verify|confirm|validate|make sure)"

CHECKING = re.compile(
    rf"\b(?:{_LET}|{_I})\s+{_ADVERBS}{_VERIFY}\b"
    r"|\b(?:double|re|cross)[- ]?check(?:s|ed|ing)?\b"
    r"|\bsanity[- ]check\b"
    r"|(?:^|[.!?,;]\s+)(?:just )?to (?:be (?:sure|certain|safe)|verify|confirm|make sure)\b"
    r"|^\W*(?:check|verify|verifying|checking|verification)\b"
    r"(?=\s*[:,.\d(]|\s*$|\s+(?:that|again|whether|if|this|it|once)\b|[^\n=]*\d[^\n]*=)"
    r"|(?:^|[.!?,;]\s+)(?:wait|hold on|hang on|hmm+)\b(?=\s*[,.!?…:;—–-]|\s*$)"
    r"|^\W*wait\b"
    r"|\b(?:is|was) (?:that|this|it) (?:right|correct)\b"
    r"|\b(?:this|that|it) (?:does )?(?:looks? (?:right|correct|good)|checks out|adds up)\b"
    r"|\b(?:that's|that is|this is|it's|it is) (?:indeed )?(?:right|correct)(?=\s*[.,!;]|\s*$)",
    re.IGNORECASE | re.MULTILINE,
)

CORRECTING = re.compile(
    r"(?:^|[.!?,;]\s*|\d\s+)(?:wait|no|oops|sorry|actually|correction|hmm+|scratch that)\b"
    r"(?=\s*[,.!:;—–-]|\s+(?:wait|no|that is|that's|this is|it is|it's|i)\b)"
    r"|(?:^|\d\s+)\W*(?:wait|correction|actually)\b"
    r"|\b(?:that|this|it)(?:'s| is| was)\s+(?:wrong|incorrect|not right|not correct|a mistake)\b"
    r"|\b(?:that|this|it) (?:isn't|wasn't)\s+(?:right|correct)\b"
    r"|\bi(?:'ve| have)? (?:made|make) (?:a|an) (?:\w+ )?(?:mistake|error|slip)\b"
    r"|\bmy (?:mistake|error|bad)\b"
    r"|\bshould have been\b"
    rf"|\b(?:{_LET}|{_I})\s+{_ADVERBS}(?:fix|correct|redo|recompute|recalculate|try again)\b",
    re.IGNORECASE | re.MULTILINE,
)

# A step made of these words alone says nothing, in whatever order they stand.
_FILLER = frozenset(
    words(
        """
    a about again ahead alright also and as begin but by can careful carefully check checking
    clearly continue correct course done double fine first forward get go going good great here
    hmm hold i i'll i'm in indeed interesting is it it's just keep let let's look looking make me
    move moving must need next nice no now of ok okay on once our out over perfect point problem
    proceed question ready really reason right see should so solution solve start step still sure
    that that's the then there think this thought through thus time to together um us verify wait
    we we'll well with work working yes you
        """
    )
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def says_nothing(text: str) -> bool:
    """Whether a text holds no figure and no word but fillers ("okay, let me think ...")."""
    if any(character.isdigit() for character in text):
        return False
    spoken = _WORD.findall(text.lower().replace("’", "'"))
    return all(word in _FILLER for word in spoken)
