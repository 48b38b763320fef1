"""What a chain of thought itself has to say when somebody asks about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from apportion.review.provenance import StepNumbers, Taken, read_numbers, takers_of, users_of
from apportion.review.quoting import quote, quotes_in, steps_quoted
from apportion.review.reading import Value, numbers_in, show, stated_answer
from apportion.segment import segment
from apportion.segment.answer_line import find_reasoning_end
from apportion.trace import Step

MAX_STEPS = 3  # a question about more is answered about these
_NUMBERED = re.compile(
    r"\b(?:step|thought|line)s?\s*#?(\d{1,4})((?:\s*(?:,|and|or|&)\s*\d{1,4})*)", re.I
)


@dataclass(frozen=True)
class _Chain:
    """A chain as read: sentence by sentence, so that a quote of any length finds its place."""

    problem: str
    text: str
    steps: tuple[Step, ...]
    numbers: tuple[StepNumbers, ...]
    answer: Value | None

    def said(self, index: int) -> str:
        return quote(self.steps[index].text(self.text))

    def arriving_at(self, value: Value) -> list[int]:
        return [i for i, step in enumerate(self.numbers) if value in step.results]

    @property
    def last_computing(self) -> int | None:
        return max((i for i, step in enumerate(self.numbers) if step.results), default=None)


def answer_from_chain(problem: str, chain: str, question: str) -> str:
    """What the chain says about the steps that the question quotes, or names by number (counted
    from 0, as reviewers see them), and about the numbers that it asks for.

    Of a step: what it computes, where each number comes from, which later step takes its result.
    Everything that is claimed is quoted. Where the chain does not say, the answer says so.
    """
    end = find_reasoning_end(chain)
    steps = segment(chain, end, "sentence")
    numbers = read_numbers(problem, [step.text(chain) for step in steps])
    stated = stated_answer(chain[end:]) or (stated_answer(steps[-1].text(chain)) if steps else None)
    read = _Chain(problem, chain, steps, numbers, stated[0] if stated else None)
    asked = _steps_asked(question, read)
    said = [_describe(index, read) for index in asked[:MAX_STEPS]]
    if not asked:
        said = [_arrival(value, read) for value in _numbers_asked(question)[:MAX_STEPS]]
    if not said:
        return "The chain does not say: the question names none of its thoughts and no number."
    return " ".join(said)


def _steps_asked(question: str, read: _Chain) -> list[int]:
    found: dict[int, None] = {}
    for quoted in quotes_in(question):
        found |= dict.fromkeys(steps_quoted(quoted.text, read.text, read.steps))
    if not found:
        lines = segment(read.text, read.steps[-1].end if read.steps else 0)
        for match in _NUMBERED.finditer(question):
            for number in re.findall(r"\d+", match.group()):
                if int(number) < len(lines):
                    line = lines[int(number)]
                    inside = (
                        i for i, s in enumerate(read.steps) if line.start <= s.start < line.end
                    )
                    found |= dict.fromkeys(inside)
    return list(found)


def _numbers_asked(question: str) -> list[Value]:
    return sorted(numbers_in(_NUMBERED.sub(" ", question)), key=float)


def _describe(index: int, read: _Chain) -> str:
    step = read.numbers[index]
    if not step.equations:
        return _without_equation(index, read)
    computed = "; ".join(equation.text for equation in step.equations)
    origins = [_origin(taken, index, read) for taken in step.taken]
    return " ".join([f"{read.said(index)} computes {computed}.", *origins, _use(index, read)])


def _origin(taken: Taken, index: int, read: _Chain) -> str:
    number = show(taken.value)
    if taken.source is not None:
        others = [read.said(step) for step in taken.steps if step != taken.source]
        places = [*others, *(["the problem"] if taken.sentences else [])]
        instead = f", not from {_listed(places)}" if places else ""
        # What it is taken from stands last: that is the claim.
        return f"As to {number}{instead}: it is what {read.said(taken.source)} arrives at."
    if taken.sentences:
        cited = _listed([quote(sentence) for sentence in taken.sentences])
        others = sorted({i for i in takers_of(taken.value, read.numbers) if i != index})
        too = f" {_subject([read.said(i) for i in others], 'take')} it too." if others else ""
        return f"As to {number}: it is in the problem, {cited}.{too}"
    if taken.known:
        return f"As to {number}: it needs no source."
    return f"As to {number}: the chain does not say where it comes from."


def _use(index: int, read: _Chain) -> str:
    users = users_of(index, read.numbers)
    results = _listed([show(value) for value in read.numbers[index].results]) or "its result"
    if users:
        return f"{_subject([read.said(user) for user in users], 'take')} {results} from it."
    if read.answer is not None and read.answer in read.numbers[index].results:
        return f"It arrives at the answer, {show(read.answer)}."
    return f"Nothing later takes {results}."


def _without_equation(index: int, read: _Chain) -> str:
    """Prose: what it says again, and who takes a number that it is the first to say."""
    said = f"{read.said(index)} computes nothing that can be read."
    stated = numbers_in(read.steps[index].text(read.text))
    for value in sorted(stated, key=float):
        earlier = [i for i in read.arriving_at(value) if i < index]
        if earlier:
            return f"{said} It says again {show(value)}, at which {read.said(earlier[-1])} arrives."
    for value in sorted(stated - numbers_in(read.problem), key=float):
        for later in range(index + 1, len(read.steps)):
            for taken in read.numbers[later].taken:
                if taken.value == value and taken.source is None:
                    return f"{said} {read.said(later)} takes {show(value)} from it."
    return f"{said} The chain does not say what it is for."


def _arrival(value: Value, read: _Chain) -> str:
    """Which thought arrives at a number, and if none does, where the chain ended up."""
    arriving = read.arriving_at(value)
    if arriving:
        return f"{read.said(arriving[-1])} arrives at {show(value)}."
    last = read.last_computing
    if last is None:
        return f"The chain does not say where {show(value)} comes from."
    reached = show(read.numbers[last].results[-1])
    return (
        f"No thought arrives at {show(value)}. The last that arrives at a number is "
        f"{read.said(last)}, at {reached}."
    )


def _subject(items: Sequence[str], verb: str) -> str:
    return f"{_listed(items)} {verb if len(items) > 1 else verb + 's'}"


def _listed(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
