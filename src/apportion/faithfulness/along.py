"""What the policy does from every cut of a chain: shared by the measures that compare cuts.

Cut 0 is before the first step and cut S behind the last. Of a long chain only some cuts are asked
at (:func:`cuts_of`). The same question is asked once for all measures that look at one subject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from apportion.faithfulness.spread import spread
from apportion.faithfulness.subject import Answer, Framed, Subject
from apportion.review.perturb import perturbed

if TYPE_CHECKING:
    from apportion.policies.continuation import Prefix

T = TypeVar("T")

_ASKED: WeakKeyDictionary[Subject, dict[Hashable, Any]] = WeakKeyDictionary()
MOST_CANDIDATES = 4
_END = "</think>"


class Rollouts(NamedTuple):
    """Continuations of each of ``cuts``, without and with the beginning."""

    cuts: list[int]
    continuations: list[list[str]]
    answers: list[list[Answer]]


class Forced(NamedTuple):
    """Asked for the answer at each of ``cuts``: the greedy answers, and the confidence in the
    chain's own answer. ``distribution[i][k]`` is, at cut ``cuts[i]``, that in ``candidates[k]``,
    the first of which is the chain's own."""

    cuts: list[int]
    answers: list[Answer]
    confidence: list[float]
    candidates: list[str]
    distribution: list[list[float]]


def until(frame: Framed, cut: int) -> str:
    """The reasoning up to a cut."""
    return frame.body[: frame.steps[cut - 1].end - frame.steps[0].start] if cut else ""


def falsified(frame: Framed, seed: int) -> list[tuple[int, str]]:
    """The steps that can get a wrong number, and what is written in their place instead."""
    wrong = [perturbed(text, seed) for text in frame.texts]
    return [(place, text) for place, text in enumerate(wrong) if text is not None]


def cuts_of(frame: Framed, steps: int) -> list[int]:
    """Both ends of the chain, and the cuts on both sides of at most ``steps`` steps, which are
    those of :func:`~apportion.faithfulness.spread.spread`."""
    places = spread(len(frame.steps), steps)
    return sorted({0, len(frame.steps), *places, *(place + 1 for place in places)})


def free_rollouts(
    subject: Subject, framed: Sequence[Framed], n: int, temperature: float | None, steps: int
) -> list[Rollouts]:
    """``n`` continuations of the cuts around at most ``steps`` steps, free to think on; batched
    over all chains."""

    def ask(missing: Sequence[Framed]) -> list[Rollouts]:
        cuts = [cuts_of(frame, steps) for frame in missing]
        begun = [
            [_begun(subject, frame, until(frame, cut)) for cut in own]
            for frame, own in zip(missing, cuts, strict=True)
        ]
        prefixes = [prefix for own in begun for prefix in own]
        found = iter(subject.go_on(prefixes, n=n, temperature=temperature))
        results = []
        for own, places in zip(begun, cuts, strict=True):
            answers = [next(found) for _ in own]
            texts = [[a.text[len(p.text) :] for a in several]
                     for p, several in zip(own, answers, strict=True)]  # fmt: skip
            results.append(Rollouts(places, texts, answers))
        return results

    return _once(subject, framed, ("free", n, temperature, steps), ask)


def forced_answers(subject: Subject, framed: Sequence[Framed], n: int, steps: int) -> list[Forced]:
    """The answers that are given at once at the cuts around at most ``steps`` steps: exact where
    there are probabilities, else shares of ``n`` samples."""
    ask = _forced_exact if subject.exact else _forced_sampled

    def run(missing: Sequence[Framed]) -> list[Forced]:
        return ask(subject, missing, [cuts_of(frame, steps) for frame in missing], n)

    return _once(subject, framed, ("forced", n, steps), run)


def confidences(
    subject: Subject, asks: Sequence[tuple[Framed, Prefix]], n: int
) -> list[float]:  # fmt: skip
    """Confidence in the chain's own answer behind each forced prefix: its probability, else its
    share among ``n`` samples."""
    prefixes = [prefix for _, prefix in asks]
    if subject.exact:
        return subject.probabilities(prefixes, [frame.tail for frame, _ in asks])
    found = subject.go_on(prefixes, n=n, max_tokens=subject.answer_tokens)
    return [
        sum(subject.same(frame, answer) for answer in answers) / n
        for (frame, _), answers in zip(asks, found, strict=True)
    ]


def share_of_answer(subject: Subject, frame: Framed, answers: Sequence[Answer]) -> float:
    """Share of answers that the task's checker takes for the chain's own."""
    return sum(subject.same(frame, answer) for answer in answers) / len(answers)


def later_chain(subject: Subject, text: str, start: int) -> str:
    """The reasoning of a completion from ``start`` on, without the end of thinking."""
    rest = text[start : max(start, subject.task.reasoning_end(text))]
    return rest[: rest.rindex(_END)] if rest.rstrip().endswith(_END) else rest


def _begun(subject: Subject, frame: Framed, body: str) -> Prefix:
    # A token may hold the blank before a word, so no beginning ends with one.
    return subject.begun(frame, body.rstrip(" \t"))


def _once(
    subject: Subject, framed: Sequence[Framed], what: Hashable,
    ask: Callable[[Sequence[Framed]], list[T]],
) -> list[T]:  # fmt: skip
    kept = _ASKED.setdefault(subject, {})
    keys = [(what, frame.rollout.id, frame.rollout.text) for frame in framed]
    missing = {key: f for key, f in zip(keys, framed, strict=True) if key not in kept}
    kept |= zip(missing, ask(list(missing.values())), strict=True)
    return [kept[key] for key in keys]


def _forced_exact(
    subject: Subject, framed: Sequence[Framed], cuts: Sequence[list[int]], _: int
) -> list[Forced]:
    asks = _asked_at(subject, framed, cuts)
    greedy = iter(subject.answers([prefix for own in asks for prefix in own]))
    answers = [[next(greedy) for _ in own] for own in asks]
    candidates = [_candidates(subject, f, a) for f, a in zip(framed, answers, strict=True)]
    rows = [
        (prefix, _tail(frame, candidate))
        for frame, own, several in zip(framed, asks, candidates, strict=True)
        for prefix in own
        for candidate in several
    ]
    scores = iter(subject.probabilities([p for p, _ in rows], [t for _, t in rows]))
    found = []
    for own, given, several in zip(cuts, answers, candidates, strict=True):
        distribution = [[next(scores) for _ in several] for _ in own]
        found.append(Forced(own, given, [row[0] for row in distribution], several, distribution))
    return found


def _asked_at(
    subject: Subject, framed: Sequence[Framed], cuts: Sequence[list[int]]
) -> list[list[Prefix]]:
    return [
        [subject.forced(frame, until(frame, cut)) for cut in own]
        for frame, own in zip(framed, cuts, strict=True)
    ]


def _forced_sampled(
    subject: Subject, framed: Sequence[Framed], cuts: Sequence[list[int]], n: int
) -> list[Forced]:
    flat = [prefix for own in _asked_at(subject, framed, cuts) for prefix in own]
    samples = iter(subject.go_on(flat, n=n, max_tokens=subject.answer_tokens))
    found = []
    for frame, own in zip(framed, cuts, strict=True):
        drawn = [next(samples) for _ in own]
        candidates = _candidates(subject, frame, [a for answers in drawn for a in answers])
        shares = [[_share(subject, frame, c, answers) for c in candidates] for answers in drawn]
        typical = [_most_common(subject, frame, answers) for answers in drawn]
        found.append(Forced(own, typical, [row[0] for row in shares], candidates, shares))
    return found


def _candidates(subject: Subject, frame: Framed, answers: Sequence[Answer]) -> list[str]:
    """The chain's own answer, then the most common others."""
    others = Counter(a.stated for a in answers if a.stated and not subject.same(frame, a))
    return [frame.answer, *(text for text, _ in others.most_common(MOST_CANDIDATES - 1))]


def _tail(frame: Framed, candidate: str) -> str:
    """How the text would go on with another answer, put where the answer stands."""
    at = frame.tail.find(frame.answer)
    if candidate == frame.answer or at < 0:
        return frame.tail
    return frame.tail[:at] + candidate + frame.tail[at + len(frame.answer) :]


def _share(subject: Subject, frame: Framed, candidate: str, answers: Sequence[Answer]) -> float:
    if candidate == frame.answer:
        return share_of_answer(subject, frame, answers)
    return sum(a.stated == candidate for a in answers) / len(answers)


def _most_common(subject: Subject, frame: Framed, answers: Sequence[Answer]) -> Answer:
    counted = Counter(frame.answer if subject.same(frame, a) else a.stated for a in answers)
    stated = counted.most_common(1)[0][0]
    return next(
        a for a in answers
        if (frame.answer if subject.same(frame, a) else a.stated) == stated
    )  # fmt: skip
