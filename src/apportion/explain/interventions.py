"""What happens to the answer when a step is taken away, falsified, or written anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from apportion.review.provenance import StepNumbers
from apportion.review.reading import show
from apportion.segment.answer_line import labelled_answer
from apportion.tasks.answers import extract_answer, same_answer
from apportion.trace import Rollout, Step

if TYPE_CHECKING:
    from apportion.policies.continuation import Prefix
    from apportion.policies.language_model import LanguageModelPolicy

LONGEST_SAMPLE = 600

Kind = Literal[
    "as_it_is", "deleted", "corrupted", "goes_on", "carried_on", "anew_before", "anew_after"
]

MEANING: dict[Kind, str] = {
    "as_it_is": "the reasoning as it is, answered again",
    "deleted": "without the step, the rest kept, answered again",
    "corrupted": "with a wrong number in the step, the rest kept, answered again",
    "goes_on": "with the step as it is, the rest written anew: what carried_on is compared with",
    "carried_on": "with a wrong number in the step, the rest written anew",
    "anew_before": "the step and the rest written anew",
    "anew_after": "the step kept, the rest written anew",
}


class Intervention(BaseModel):
    """What a policy did with a changed chain.

    ``answers`` are those of the ``n`` continuations, None where none was stated. ``same`` counts
    those equal to the answer of the record, ``right`` those equal to a reference answer (None
    where there is none to compare with). ``change`` says what was changed; ``sample`` is the
    beginning of the first continuation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    n: int
    answers: tuple[str | None, ...]
    same: int | None
    right: int | None
    change: str = ""
    sample: str = ""

    @property
    def meaning(self) -> str:
        return MEANING[self.kind]


class _Plan(NamedTuple):
    kind: Kind
    prefix: str
    change: str = ""


def intervene(
    policy: LanguageModelPolicy,
    rollout: Rollout,
    steps: Sequence[Step],
    numbers: Sequence[StepNumbers],
    asked: Sequence[int],
    *,
    resamples: int = 8,
    temperature: float = 1.0,
    max_tokens: int = 256,
    seed: int = 0,
) -> dict[int, tuple[Intervention, ...]]:
    """Interventions on each of the ``asked`` steps (counted from 0) of the reasoning.

    Deletions and falsifications are answered greedily, once; what is written anew is also sampled
    ``resamples`` times from before the step and from behind it (thought anchors, Bogdan et al.
    2025, arXiv 2506.19143, compare the two). A step without a number cannot be falsified.
    Raises UserError where a chain does not fit into the policy's context.
    """
    from apportion.policies.continuation import Prefix, continue_chains

    plans = {index: _plans(rollout, steps[index], numbers[index]) for index in asked}
    greedy = [(i, plan) for i in asked for plan in plans[i] if not _sampled(plan)]
    anew = [(i, plan) for i in asked for plan in plans[i] if _sampled(plan)] if resamples else []
    texts: dict[tuple[int, Kind], list[str]] = {}
    for chosen, n, heat in ((greedy, 1, 0.0), (anew, resamples, temperature)):
        prefixes: list[Prefix] = [Prefix(rollout.problem, plan.prefix) for _, plan in chosen]
        if not prefixes:
            continue
        found = continue_chains(
            policy, prefixes, n=n, temperature=heat, max_tokens=max_tokens, seed=seed
        )
        texts |= {(i, p.kind): rows for (i, p), rows in zip(chosen, found, strict=True)}
    return {
        index: tuple(
            _judged(plan, texts[index, plan.kind], rollout)
            for plan in plans[index]
            if (index, plan.kind) in texts
        )
        for index in asked
    }


def _sampled(plan: _Plan) -> bool:
    return plan.kind in ("anew_before", "anew_after")


def _plans(rollout: Rollout, step: Step, numbers: StepNumbers) -> list[_Plan]:
    text, end = rollout.text, rollout.reasoning_end
    before, own, after = text[: step.start], step.text(text), text[step.end : end]
    plans = [_Plan("as_it_is", text[:end]), _Plan("deleted", before + after)]
    wrong = falsified(own, numbers)
    if wrong is not None:
        changed, change = wrong
        plans.append(_Plan("corrupted", before + changed + after, change))
        plans.append(_Plan("goes_on", before + own))
        plans.append(_Plan("carried_on", before + changed, change))
    return [*plans, _Plan("anew_before", before), _Plan("anew_after", before + own)]


def falsified(text: str, numbers: StepNumbers) -> tuple[str, str] | None:
    """The text with one more than the number at which its last equation arrives, and what was
    changed; None where it arrives at no number."""
    for equation in reversed(numbers.equations):
        if equation.results:
            result = equation.results[-1]
            start, end = result.start, result.end
            wrong = show(result.value + 1)
            return text[:start] + wrong + text[end:], f"{text[start:end]} became {wrong}"
    return None


def answer_of(text: str) -> str | None:
    """The final answer as a completion states it."""
    return extract_answer(text) or labelled_answer(text)


def _judged(plan: _Plan, continuations: Sequence[str], rollout: Rollout) -> Intervention:
    answers = [answer_of(plan.prefix + text) for text in continuations]
    own = answer_of(rollout.text)
    return Intervention(
        kind=plan.kind,
        n=len(answers),
        answers=tuple(answers),
        same=None if own is None else sum(_equal(own, answer) for answer in answers),
        right=_right(answers, rollout.problem.answers),
        change=plan.change,
        sample=continuations[0][:LONGEST_SAMPLE],
    )


def _right(answers: Sequence[str | None], references: Sequence[str]) -> int | None:
    if not references:
        return None
    return sum(any(_equal(gold, answer) for gold in references) for answer in answers)


def _equal(gold: str, answer: str | None) -> bool:
    return answer is not None and bool(same_answer(gold, answer))
