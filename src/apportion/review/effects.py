"""What each step does to the answer: the chain is changed there and the policy asked again.

Two ways. *Removing*: the step is taken out (or gets a wrong number), the rest stays as written, and
forward passes say how likely the rest and the answer still are. *Resampling*: the policy goes on
from before the step, over and over, and what became of the continuations that put something else
there is compared with those from behind it.

    _S  steps of a chain
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from apportion.review.perturb import perturbed
from apportion.review.resample import Compare, first_step, key_of
from apportion.segment.answer_line import labelled_answer
from apportion.tasks.answers import extract_answer, same_answer
from apportion.trace import Problem, Step

if TYPE_CHECKING:
    from apportion.policies.continuation import Prefix
    from apportion.policies.language_model import LanguageModelPolicy

Removal = Literal["delete", "replace"]
Score = Callable[[Problem, str], float]


class Chain(NamedTuple):
    """A completion; ``steps`` partition its reasoning."""

    problem: Problem
    text: str
    steps: tuple[Step, ...]


class Effect(NamedTuple):
    """The chance of the answer with a step and without it. ``others`` is how many continuations
    ``without`` was counted in; None where it is a probability."""

    given: float
    without: float
    others: int | None = None

    @property
    def value(self) -> float:
        return self.given - self.without


class Effects(NamedTuple):
    """``by_step`` is None where the effect of a step cannot be known: nothing else was ever written
    in its place, or it holds no number to make wrong. ``edges[i][j]`` is the share of its chance
    that step j loses without step i, 0 for j <= i; empty where it was not measured. ``written`` and
    ``read`` count tokens."""

    by_step: tuple[Effect | None, ...]
    edges: tuple[tuple[float, ...], ...] = ()
    written: int = 0
    read: int = 0

    @property
    def tokens(self) -> int:
        return self.written + self.read

    def depends_on(self, step: int, least: float) -> tuple[int, ...]:
        """The earlier steps without which this one loses at least that share of its chance."""
        return tuple(i for i in range(step) if self.edges and self.edges[i][step] >= least)


# -- resampling ---------------------------------------------------------------------------------


class Sampler(NamedTuple):
    """How to go on: ``samples`` continuations of each beginning, ``max_tokens`` long at most.
    ``compare`` says when two steps are the same, see :mod:`apportion.review.resample`."""

    samples: int = 8
    temperature: float = 1.0
    max_tokens: int = 128
    compare: Compare = "value"
    segment: str = "line"
    seed: int = 0


def resampled_effects(
    policy: LanguageModelPolicy, chains: Sequence[Chain], score: Score, how: Sampler
) -> list[Effects]:
    """Mean score of the continuations from behind each step, against the mean of those from before
    it that do not begin with the same step. Equal beginnings are continued once.

    Source: Bogdan et al. 2025 (arXiv 2506.19143), section 3, with a rule in place of the
    embedding distance. Raises UserError where a beginning does not fit into the context.
    """
    from apportion.policies.continuation import Prefix, continue_chains

    wanted = [
        Prefix(chain.problem, chain.text[:cut])
        for chain in chains
        for cut in (*(step.start for step in chain.steps), *(s.end for s in chain.steps[-1:]))
    ]
    once = list({_key(prefix): prefix for prefix in wanted}.values())
    # Beginnings of one problem share a trunk, and those of like length a call.
    once.sort(key=lambda prefix: (len(prefix.problem.prompt), prefix.problem.id, len(prefix.text)))
    written = continue_chains(
        policy,
        once,
        n=how.samples,
        temperature=how.temperature,
        max_tokens=how.max_tokens,
        seed=how.seed,
        batch_size=256,
    )
    found = {_key(prefix): texts for prefix, texts in zip(once, written, strict=True)}
    scores = {
        _key(prefix): [score(prefix.problem, prefix.text + text) for text in texts]
        for prefix, texts in zip(once, written, strict=True)
    }
    return [_resampled(policy, chain, found, scores, how) for chain in chains]


def _resampled(
    policy: LanguageModelPolicy,
    chain: Chain,
    found: dict[tuple[str, str, str], list[str]],
    scores: dict[tuple[str, str, str], list[float]],
    how: Sampler,
) -> Effects:
    by_step: list[Effect | None] = []
    for step in chain.steps:
        before = chain.problem.id, chain.problem.prompt, chain.text[: step.start]
        behind = chain.problem.id, chain.problem.prompt, chain.text[: step.end]
        own = key_of(step.text(chain.text), how.compare)
        firsts = (key_of(first_step(text, how.segment), how.compare) for text in found[before])
        others = [s for s, first in zip(scores[before], firsts, strict=True) if first != own]
        given = sum(scores[behind]) / len(scores[behind])
        by_step.append(Effect(given, sum(others) / len(others), len(others)) if others else None)
    texts = [text for step in chain.steps for text in found[
        chain.problem.id, chain.problem.prompt, chain.text[: step.start]
    ]]  # fmt: skip
    ids = policy.tokenizer(texts, add_special_tokens=False).input_ids if texts else []
    return Effects(tuple(by_step), written=sum(map(len, ids)))


def _key(prefix: Prefix) -> tuple[str, str, str]:
    return prefix.problem.id, prefix.problem.prompt, prefix.text


# -- removing -----------------------------------------------------------------------------------


def removal_effects(
    policy: LanguageModelPolicy,
    chains: Sequence[Chain],
    how: Removal,
    *,
    answer: Literal["right", "stated"] = "right",
    seed: int = 0,
) -> list[Effects | str]:
    """Effects by forward passes, or why a chain has none. One pass for each step, one for the
    chain as it is, and as many again where the reference answer is not the one stated.

    The chance is that of the answer which the chain states, where this is right or ``answer`` is
    "stated"; a step acts on it by itself or through later steps: its effect is that of the widest
    path to the answer, whose width is the least share of its chance that a step on it loses when
    the one before it goes. Where the chain is wrong, the chance is that of the first reference
    answer, by itself alone.
    """
    from apportion.policies.continuation import Prefix, score_pieces

    plans = [_plan(chain, how, answer, seed) for chain in chains]
    rows: list[tuple[Prefix, list[str]]] = []
    for plan in plans:
        if not isinstance(plan, str):
            rows += [(Prefix(plan.problem, before), pieces) for before, pieces in plan.rows()]
    scores = iter(score_pieces(policy, [r[0] for r in rows], [r[1] for r in rows]))
    found: list[Effects | str] = []
    for plan in plans:
        if isinstance(plan, str):
            found.append(plan)
            continue
        own = plan.rows()
        ids = policy.tokenizer(["".join((b, *p)) for b, p in own], add_special_tokens=False)
        found.append(plan.read([next(scores) for _ in own], sum(map(len, ids.input_ids))))
    return found


class _Plan(NamedTuple):
    """One chain: its steps, what stands in place of each when it goes (None: cannot go), what leads
    to the answer, the answer, and the reference answer where that is another one."""

    problem: Problem
    steps: list[str]
    instead: list[str | None]
    closing: str
    answer: str
    reference: str | None

    def rows(self) -> list[tuple[str, list[str]]]:
        """Beginnings, and the pieces to score behind each: the chain as it is, then without each
        of its steps; then the same with the reference."""
        whole = [*self.steps, self.closing, self.answer]
        rows = [("", whole)]
        for i, other in enumerate(self.instead):
            if other is not None:
                rows.append(("".join(self.steps[:i]) + other, whole[i + 1 :]))
        if self.reference is not None:
            forced = [before + "".join(pieces[:-1]) for before, pieces in rows]
            rows += [(before, [self.reference]) for before in forced]
        return rows

    def read(self, scores: list[list[float]], tokens: int) -> Effects:
        changed = [i for i, other in enumerate(self.instead) if other is not None]
        whole, without = scores[0], dict(zip(changed, scores[1:], strict=False))
        count = len(self.steps)
        edges = [[0.0] * count for _ in range(count)]
        for i, row in without.items():
            for j in range(i + 1, count):
                edges[i][j] = -math.expm1(min(0.0, row[j - i - 1] - whole[j]))
        if self.reference is None:
            given = math.exp(whole[-1])
            direct = {i: given - math.exp(row[-1]) for i, row in without.items()}
            effects = {i: min(given, e) for i, e in widest_paths(direct, edges).items()}
        else:
            chances = [math.exp(row[0]) for row in scores[len(changed) + 1 :]]
            given = chances[0]
            effects = {i: given - p for i, p in zip(changed, chances[1:], strict=True)}
        by_step = tuple(
            Effect(given, given - effects[i]) if i in effects else None for i in range(count)
        )
        return Effects(by_step, tuple(map(tuple, edges)), read=tokens)


def together(sampled: Effects, removed: Effects | str, right: bool) -> Effects:
    """Effects by resampling, and, from those by removal, the edges. On a right chain the latter
    also stand where nothing else was ever written: they are blind to what is wrong only."""
    if isinstance(removed, str):
        return sampled
    by_step = tuple(
        own if own is not None or not right else other
        for own, other in zip(sampled.by_step, removed.by_step, strict=True)
    )
    return Effects(by_step, removed.edges, sampled.written, removed.read)


def widest_paths(direct: dict[int, float], edges: Sequence[Sequence[float]]) -> dict[int, float]:
    """The effect of each step on the answer: what it does by itself (``direct``), or through later
    steps, whichever is more. A path is as wide as its narrowest part, from 0 to 1."""
    total: dict[int, float] = {}
    for i in sorted(direct, reverse=True):
        through = [min(edges[i][j], total[j]) for j in total if edges[i][j] > 0 and total[j] > 0]
        total[i] = max([direct[i], *through])
    return total


def _plan(chain: Chain, how: Removal, answer: str, seed: int) -> _Plan | str:
    texts = [step.text(chain.text) for step in chain.steps]
    part = chain.text[chain.steps[-1].end :] if chain.steps else ""
    stated = stated_answer_of(part)
    if stated is None:
        return "the chain states no answer that can be read"
    at = part.index(stated) if stated in part else len(part) - len(part.lstrip())
    closing = part[:at].rstrip(" \t")
    lead = part[len(closing) : at]
    reference = None
    if answer == "right":
        if not chain.problem.answers:
            return "the problem has no reference answer: set answer: stated"
        if not any(same_answer(gold, stated) for gold in chain.problem.answers):
            reference = lead + chain.problem.answers[0]
    instead = [perturbed(text, seed) if how == "replace" else "" for text in texts]
    return _Plan(chain.problem, texts, instead, closing, lead + stated, reference)


def stated_answer_of(part: str) -> str | None:
    """What the text behind the reasoning answers; None where it answers nothing."""
    if not part.strip():
        return None
    return labelled_answer(part) or extract_answer(part, last_number=True)
