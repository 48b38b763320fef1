"""Where the reasoning of a completion ends and a reference answer is put in its place.

The reasoning is the completion up to and with the answer's marker, as the tokens that were
sampled; they are never tokenised again. The reference is tokenised after the marker as the policy
would write it, so that reasoning and answer meet where a token ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from apportion.policies.language_model import LanguageModelPolicy
from apportion.segment import decode_with_spans

_END_OF_THINKING = "</think>"
_BLANK = " "  # between the marker and the answer, as tasks write it


@dataclass(frozen=True)
class Spliced:
    """``kept`` are the sampled tokens before the references and ``answers`` the tokens of each
    reference with the end of text; ``reasoning`` counts the kept tokens that begin before the
    marker. Without ``answered`` the marker was not written, and ``answers`` begin with it."""

    kept: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    reasoning: int
    answered: bool
    empty: bool


class Boundary:
    """Splices references into completions of one policy. ``marker`` begins the answer's line."""

    def __init__(self, policy: LanguageModelPolicy, marker: str = "####") -> None:
        self._policy = policy
        self._marker = marker
        self._pattern = re.compile(rf"^[ \t]*{re.escape(marker)}", re.MULTILINE)
        self._tokens_after = lru_cache(maxsize=1 << 14)(self._tokenise)
        # Spans come from decoding windows of a few tokens, and these repeat all the time.
        self._window = lru_cache(maxsize=1 << 16)(self._decode)

    def splice(self, token_ids: Sequence[int], references: Sequence[str]) -> Spliced:
        """Put each reference after the reasoning of a completion of these tokens."""
        text, spans = decode_with_spans(token_ids, lambda ids: self._window(tuple(ids)))
        found = self._find(text)
        if found is None:
            return self._append(list(token_ids), text, references)
        start, end = found
        kept = sum(low < end for low, _ in spans)
        written = spans[kept - 1][1]
        goal = text[:end] + _BLANK
        if written > end and not goal.startswith(text[:written]):
            # The marker's last token also spells part of the sampled answer: cut before it.
            kept -= 1
            written = spans[kept - 1][1] if kept else 0
        context = text[min(start, written) : written]
        tails = [(goal + reference)[written:] for reference in references]
        return Spliced(
            kept=tuple(token_ids[:kept]),
            answers=tuple(self._tokens_after(context, tail) for tail in tails),
            reasoning=sum(low < start for low, _ in spans[:kept]),
            answered=True,
            empty=not text[:start].strip(),
        )

    def without_reasoning(self, references: Sequence[str]) -> Spliced:
        """The references right after the marker."""
        kept = tuple(self._ids(self._marker))
        answers = tuple(self._tokens_after(self._marker, _BLANK + r) for r in references)
        return Spliced(kept, answers, reasoning=0, answered=True, empty=True)

    def longest(self, references: Sequence[str]) -> int:
        """Tokens that the longest reference can take, marker and end of text included."""
        tails = (f"\n{self._marker}{_BLANK}{reference}" for reference in references)
        return max(len(self._tokens_after("", tail)) for tail in tails)

    def _find(self, text: str) -> tuple[int, int] | None:
        """Span of the first marker that begins a line, after the thinking where there is one."""
        thinking = text.rfind(_END_OF_THINKING)
        begin = thinking + len(_END_OF_THINKING) if thinking >= 0 else 0
        match = self._pattern.search(text, begin)
        return (match.start(), match.end()) if match else None

    def _append(self, ids: list[int], text: str, references: Sequence[str]) -> Spliced:
        special = set(self._policy.tokenizer.all_special_ids)
        while ids and ids[-1] in special:
            ids.pop()
        line = "" if not text or text.endswith("\n") else "\n"
        tails = [f"{line}{self._marker}{_BLANK}{reference}" for reference in references]
        return Spliced(
            kept=tuple(ids),
            answers=tuple(self._tokens_after("", tail) for tail in tails),
            reasoning=len(ids),
            answered=False,
            empty=not text.strip(),
        )

    def _tokenise(self, context: str, tail: str) -> tuple[int, ...]:
        """Tokens of ``tail`` as they follow ``context``, and the end of text."""
        end = self._policy.tokenizer.eos_token_id
        encoded = self._policy.tokenizer(
            context + tail, add_special_tokens=False, return_offsets_mapping=True
        )
        cut = len(context)
        offsets = encoded["offset_mapping"]
        if any(low < cut < high for low, high in offsets):
            return (*self._ids(tail), end)  # no token ends here, so the tail stands alone
        pairs = zip(encoded["input_ids"], offsets, strict=True)
        return (*(token for token, (low, _) in pairs if low >= cut), end)

    def _decode(self, token_ids: tuple[int, ...]) -> str:
        return str(self._policy.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def _ids(self, text: str) -> list[int]:
        return list(self._policy.tokenizer(text, add_special_tokens=False)["input_ids"])


def trained_tokens(spliced: Spliced, token_ids: Sequence[int]) -> int:
    """How many of the sampled tokens the reward answers for: the reasoning with its marker, or,
    where no marker was written, everything, the decision to stop included."""
    return len(spliced.kept) if spliced.answered else len(token_ids)


def references_of(answers: Sequence[Any]) -> tuple[str, ...]:
    """Reference answers as text, each once, in order."""
    return tuple(dict.fromkeys(str(answer).strip() for answer in answers))
