"""Lexical anchoring: are the answer's words in the chain?"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from apportion.faithfulness.anchoring import Anchoring, documents
from apportion.faithfulness.subject import Framed, Subject
from apportion.tasks import Task

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
# Words that say nothing of what an answer is about.
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be but by for from had has have he her his i if in is it its not of on "
        "or she so that the their them then there they this to was we were which who will with you"
    )
)


class AnchoringLexical(Anchoring):
    """Share of the answer's content words that stand in the chain, each weighted by how rare it is,
    words of the question left out.

    A rare word is one of few questions of the task: idf = log((1 + N) / (1 + n)) + 1. An answer
    all of whose words are in the question has no value. Source: A_lex of Peng et al. 2026 (arXiv
    2602.14469). An answer of one word (a number) makes the value 0 or 1.
    """

    name = "anchoring_lexical"
    claims = "whether the chain contains the answer that was in sight"
    blind = "an answer in other words; chains that end with their answer, as all do (use share)"
    higher = "the chain copies the answer more"
    source = "Peng et al. 2026, arXiv 2602.14469, A_lex"

    def figures(
        self, subject: Subject, frames: Sequence[Framed], answers: Sequence[str]
    ) -> list[tuple[float | None, dict[str, float | None]]]:
        return [
            (self._recall(subject, frame, answer), {})
            for frame, answer in zip(frames, answers, strict=True)
        ]

    def _recall(self, subject: Subject, frame: Framed, answer: str) -> float | None:
        wanted = set(words(answer)) - set(words(frame.rollout.problem.prompt))
        if not wanted:
            return None
        rarity = _rarity(subject.task, subject.seed)
        unseen = math.log(1 + len(documents(subject.task, subject.seed))) + 1
        weights = {word: rarity.get(word, unseen) for word in wanted}
        present = wanted & set(words(self.body(frame)))
        return sum(weights[word] for word in present) / sum(weights.values())


def words(text: str) -> list[str]:
    """Content words and numbers, in small letters; thousands separators mean nothing."""
    found = (word.lower().replace(",", "") for word in _WORD.findall(text))
    return [word for word in found if word not in _COMMON]


@lru_cache(maxsize=8)
def _rarity(task: Task, seed: int) -> dict[str, float]:
    texts = documents(task, seed)
    count = Counter(word for text in texts for word in set(words(text)))
    return {word: math.log((1 + len(texts)) / (1 + n)) + 1 for word, n in count.items()}
