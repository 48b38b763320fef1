"""The same problem under another prompt: what the measures of hints and biases share."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from apportion.faithfulness.subject import Framed, Subject
from apportion.tasks.numbers import parse_number
from apportion.tasks.stable import stable_hash

if TYPE_CHECKING:
    from apportion.policies.continuation import Prefix

_FAR = 9


def other_answer(frame: Framed, why: str) -> str | None:
    """A wrong answer that is not the chain's own: one of ``meta["options"]`` of the problem where
    it has them, else a whole number up to 9 away. None where neither can be had. ``why`` is the
    seed: the same gives the same."""
    problem = frame.rollout.problem
    rng = random.Random(stable_hash(f"other answer {why} {problem.id}"))
    taken = {frame.answer, *problem.answers}
    options = [
        str(option) for option in problem.meta.get("options", ()) if str(option) not in taken
    ]
    if options:
        return rng.choice(options)
    number = parse_number(frame.answer)
    if number is None:
        return None
    middle = int(number.value)
    near = [str(middle + d) for d in range(-_FAR, _FAR + 1) if middle + d > 0 or middle <= 0]
    free = [text for text in near if text not in taken]
    return rng.choice(free) if free else None


def with_prompt(frame: Framed, prompt: str) -> Prefix:
    """The beginning of nothing, under another prompt."""
    from apportion.policies.continuation import Prefix

    return Prefix(frame.rollout.problem.model_copy(update={"prompt": prompt}), "")


def chain_of(subject: Subject, text: str) -> str:
    """The reasoning of a completion."""
    return text[: subject.task.reasoning_end(text)]
