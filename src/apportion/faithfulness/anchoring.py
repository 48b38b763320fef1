"""How far a chain hangs on an answer that its writer saw: what the three measures share.

A chain that was written towards an answer explains it after the fact. Three things show: the
answer's words in the chain (lexical), writing that goes more surely once the answer is seen
(trajectory), and an answer that the chain gives away (probability). The last alone, with little of
the second, is what good reasoning looks like too; see Peng et al. 2026 (arXiv 2602.14469).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from pydantic import Field

from apportion.faithfulness.base import Measure, over_problems
from apportion.faithfulness.subject import Framed, Subject
from apportion.policies.in_sight import SHOWN
from apportion.stats import Estimate
from apportion.tasks import Task
from apportion.tasks.stable import stable_hash
from apportion.trace import Probe

_POOL = 200
CONTROLS = ("other", "shuffled")


class Anchoring(Measure):
    """Base of the three: a figure of the answer in sight, and the same of answers that were not.

    The answer is the one that the chain was written under (``meta["shown"]``), else the first gold
    one. ``parts`` holds the figure for two controls: ``other``, the answer of another problem, and
    ``shuffled``, the answer with its words (or, if it is one word, its characters) in another
    order. The third control are chains that were written without an answer in sight. ``share`` is
    how much of the chain's steps is looked at, from the start: where a chain ends with its answer
    every chain gives it away.
    """

    share: float = Field(default=1.0, gt=0, le=1)

    def body(self, frame: Framed) -> str:
        """The part of the chain that is looked at, at least one step."""
        count = max(1, round(self.share * len(frame.steps)))
        return "".join(frame.texts[:count])

    def figures(
        self, subject: Subject, frames: Sequence[Framed], answers: Sequence[str]
    ) -> list[tuple[float | None, dict[str, float | None]]]:
        """For each frame the figure under an answer, None where it has none, and further parts."""
        raise NotImplementedError

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        places: list[int] = []
        names: list[str] = []
        answers: list[str] = []
        for place, frame in enumerate(framed):
            true = shown_to(frame)
            if true is None:
                continue
            for name, answer in {"value": true, **controls(subject, frame, true)}.items():
                places.append(place)
                names.append(name)
                answers.append(answer)
        found = iter(self.figures(subject, [framed[i] for i in places], answers) if places else [])
        parts: list[dict[str, float | None]] = [{} for _ in framed]
        for place, name in zip(places, names, strict=True):
            figure, more = next(found)
            parts[place][name] = figure
            if name == "value":
                parts[place] |= more
        return [
            self.found(
                subject, frame, own.pop("value"), parts=own, meta={"answer": shown_to(frame)}
            )
            if own
            else self.failed(frame.rollout, "no answer was in sight and none is known")
            for frame, own in zip(framed, parts, strict=True)
        ]

    def summarise(self, probes: Sequence[Probe]) -> dict[str, Estimate]:
        found = super().summarise(probes)
        for name in CONTROLS:
            estimate = over_problems([(p.problem_id, p.parts.get(name)) for p in probes])
            found |= {} if estimate is None else {name: estimate}
        return found


def shown_to(frame: Framed) -> str | None:
    """The answer that the chain was written under, else the first gold one."""
    rollout = frame.rollout
    known = rollout.meta.get(SHOWN) or next(iter(rollout.problem.answers), "")
    return str(known).strip() or None


def controls(subject: Subject, frame: Framed, answer: str) -> dict[str, str]:
    """The control answers of a chain; one that cannot be made is left out."""
    rng = random.Random(stable_hash(f"anchoring {subject.seed} {frame.rollout.problem.id}"))
    others = [text for text in _pool(subject.task, subject.seed) if text != answer]
    found = {"other": rng.choice(others)} if others else {}
    mixed = shuffled(answer, rng)
    return found | ({} if mixed is None else {"shuffled": mixed})


def shuffled(answer: str, rng: random.Random) -> str | None:
    """The answer's words, or the characters of a single word, in another order; None where there
    is no other."""
    words = answer.split()
    parts, glue = (words, " ") if len(words) > 1 else (list(answer), "")
    if len(set(parts)) < 2:
        return None
    order = list(parts)
    while order == parts:
        rng.shuffle(order)
    return glue.join(order)


@lru_cache(maxsize=8)
def _pool(task: Task, seed: int) -> tuple[str, ...]:
    drawn = task.problems("validation", _POOL, seed)
    return tuple(dict.fromkeys(p.answers[0].strip() for p in drawn if p.answers))


@lru_cache(maxsize=8)
def documents(task: Task, seed: int) -> tuple[str, ...]:
    """Questions with their answers, for how common a word is."""
    drawn = task.problems("validation", _POOL, seed)
    return tuple(f"{p.prompt}\n{' '.join(p.answers)}" for p in drawn)
