"""Search at sampling time: several chains a problem, or several next steps, and a judge chooses.

Candidates of one problem are continued on one key-value trunk, see
:mod:`apportion.policies.continuation`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from apportion.errors import UserError
from apportion.policies.base import rollout_id
from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Problem, Rollout

# (problem, text so far) to how good the reasoning in it looks, higher is better; None where the
# judge failed, and such a candidate is only chosen where no other is left.
Scorer = Callable[[Sequence[tuple[Problem, str]]], Sequence[float | None]]
_FAILED = float("-inf")


class How(NamedTuple):
    """``n`` candidates a problem: whole chains (best of n), or next steps at a time, shared among
    ``width`` beams. A step is a line, of at most ``step_tokens``."""

    n: int = 16
    width: int = 4
    temperature: float = 1.0
    max_tokens: int = 256
    step_tokens: int = 48
    seed: int = 0
    batch_size: int = 256


class _Beam(NamedTuple):
    text: str
    score: float = 0.0
    done: bool = False
    tokens: int = 0


def best_of_n(
    policy: LanguageModelPolicy,
    problems: Sequence[Problem],
    score: Scorer,
    how: How,
    *,
    reasoning_end: Callable[[str], int] = len,
) -> list[Rollout]:
    """Of ``how.n`` whole chains the one that scores best, the first of equals; one rollout a
    problem. Its ``meta`` holds ``search``, ``score``, and ``sampled``, the tokens of all n.

    Source: Lightman et al. 2023 (arXiv 2305.20050), section 2. Raises UserError where a prompt
    does not fit into the context.
    """
    found = continue_chains(
        policy,
        [Prefix(problem, "") for problem in problems],
        n=how.n,
        temperature=how.temperature,
        max_tokens=how.max_tokens,
        seed=how.seed,
        batch_size=how.batch_size,
    )
    pairs = [(p, text) for p, texts in zip(problems, found, strict=True) for text in texts]
    scores = iter(_numbers(score(pairs)))
    chosen = []
    for problem, texts in zip(problems, found, strict=True):
        beams = [_Beam(text, next(scores)) for text in texts]
        best = max(beams, key=lambda beam: beam.score)
        tokens = sum(_count(policy, text) for text in texts)
        meta = {"search": "best-of-n", "sampled": tokens}
        chosen.append(_rollout(policy, problem, best, how, reasoning_end, meta))
    return chosen


def beam_search(
    policy: LanguageModelPolicy,
    problems: Sequence[Problem],
    score: Scorer,
    how: How,
    *,
    reasoning_end: Callable[[str], int] = len,
) -> list[Rollout]:
    """The best of ``how.width`` beams: each is continued by one step in n / width ways, and the
    best of all, equal texts once, are the next beams; until each has an answer.

    A chain that has its answer, or as many tokens as ``how.max_tokens``, stays as it is. ``meta``
    as of :func:`best_of_n`; what was written behind the end of a step counts as sampled. Source:
    Snell et al. 2024 (arXiv 2408.03314), section 5.1, beam search against a step verifier.
    Raises UserError where n is no multiple of the width, and where a prompt does not fit.
    """
    if how.n % how.width:
        raise UserError(f"beam search: {how.n} candidates cannot be shared among {how.width} beams")
    beams = [[_Beam("")] for _ in problems]
    sampled = [0] * len(problems)
    for depth in range(how.max_tokens):
        open_ = [(i, b) for i, own in enumerate(beams) for b in own if not b.done]
        if not open_:
            break
        grown = _grow(policy, problems, open_, how, depth, reasoning_end, sampled)
        kept = [[beam for beam in own if beam.done] for own in beams]
        for i, beam in grown:
            if all(beam.text != other.text for other in kept[i]):
                kept[i].append(beam)
        beams = _scored(problems, kept, score, how.width)
    return [
        _rollout(
            policy,
            problem,
            max(own, key=lambda beam: beam.score),
            how,
            reasoning_end,
            {"search": "beam", "sampled": sampled[i]},
        )
        for i, (problem, own) in enumerate(zip(problems, beams, strict=True))
    ]


def _grow(
    policy: LanguageModelPolicy,
    problems: Sequence[Problem],
    open_: Sequence[tuple[int, _Beam]],
    how: How,
    depth: int,
    reasoning_end: Callable[[str], int],
    sampled: list[int],
) -> list[tuple[int, _Beam]]:
    """One step more for each of these beams, in several ways."""
    room = min(how.step_tokens, *(how.max_tokens - beam.tokens for _, beam in open_))
    # Before the first step there is one beam, which all candidates begin with.
    ways = how.n if depth == 0 else how.n // how.width
    found = continue_chains(
        policy,
        [Prefix(problems[i], beam.text) for i, beam in open_],
        n=ways,
        temperature=how.temperature,
        max_tokens=room,
        seed=how.seed + depth,
        batch_size=how.batch_size,
    )
    grown = []
    for (i, beam), texts in zip(open_, found, strict=True):
        for text in texts:
            written = _count(policy, text)
            sampled[i] += written
            step, end, _ = text.partition("\n")
            tokens = beam.tokens + (_count(policy, step + end) if end else written)
            whole = beam.text + step + end
            answered = bool(whole[reasoning_end(whole) :].strip())
            # Without a line end it has ended itself, unless it was cut off for want of room.
            ended = not end and written < room
            done = tokens >= how.max_tokens or ended or (answered and bool(end))
            grown.append((i, _Beam(whole, 0.0, done, tokens)))
    return grown


def _scored(
    problems: Sequence[Problem], beams: Sequence[Sequence[_Beam]], score: Scorer, width: int
) -> list[list[_Beam]]:
    pairs = [
        (problem, beam.text) for problem, own in zip(problems, beams, strict=True) for beam in own
    ]
    scores = iter(_numbers(score(pairs)))
    valued = [[beam._replace(score=next(scores)) for beam in own] for own in beams]
    return [sorted(own, key=lambda beam: -beam.score)[:width] for own in valued]


def _numbers(scores: Sequence[float | None]) -> list[float]:
    return [_FAILED if score is None else float(score) for score in scores]


def _count(policy: LanguageModelPolicy, text: str) -> int:
    return len(policy.tokenizer(text, add_special_tokens=False).input_ids)


def _rollout(
    policy: LanguageModelPolicy,
    problem: Problem,
    beam: _Beam,
    how: How,
    reasoning_end: Callable[[str], int],
    meta: dict[str, object],
) -> Rollout:
    ids = policy.tokenizer(beam.text, add_special_tokens=False).input_ids
    text, spans = policy.decode(ids)
    known = None if beam.score == _FAILED else beam.score
    return Rollout(
        id=rollout_id(problem, how.seed, 0),
        problem=problem,
        text=text,
        token_ids=tuple(ids),
        token_spans=spans,
        reasoning_end=reasoning_end(text),
        policy=policy.name,
        group=problem.id,
        finish="stop" if len(ids) < how.max_tokens else "length",
        meta=meta | {"score": known, "candidates": how.n},
    )
