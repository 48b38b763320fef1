"""The baseline: critique and revise by principles, without any credit."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apportion.consensus import consensus
from apportion.edit.context import fits
from apportion.edit.verify import complete
from apportion.errors import UserError
from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy
from apportion.review.base import Reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.tasks import Task
from apportion.trace import Consensus, Edit, EditSpan, Review, Rollout, StepConsensus

PRINCIPLES = Path(__file__).parent / "principles"
_PLACEHOLDER = re.compile(r"\{(problem|chain|objections)\}")


def revise(
    rollouts: Sequence[Rollout],
    reviews: Sequence[Review],
    policy: LanguageModelPolicy,
    reviewers: Sequence[Reviewer],
    task: Task,
    *,
    principles: str = "reasoning",
    tries: int = 4,
    temperature: float = 1.0,
    voting: Mapping[str, Any] | None = None,
    segmenter: str = "line",
    seed: int = 0,
    max_tokens: int = 256,
) -> list[Edit]:
    """One edit per rollout: written again from the first criticised step on.

    The critique-and-revision loop of Constitutional AI (Bai et al. 2022, arXiv 2212.08073, section
    3.1): the reviews are the critique; the policy rewrites ``tries`` times, and the rewriting that
    ``reviewers`` object to least is kept, if they object to it less than to the original. Nothing
    here looks at the answer: :func:`apportion.edit.verify_edits` does.

    A chat policy is shown the chain, the objections and the ``principles`` (a shipped name or the
    path of a text file with {problem}, {chain} and {objections}); any other only goes on from the
    step before. A chain that leaves no room in the context is not rewritten. Raises UserError
    where the principles cannot be read.
    """
    prompt = load_principles(principles)
    reviews_of: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        reviews_of[review.rollout_id].append(review)
    votes = voting or {}
    judged = [
        consensus(reviews_of[r.id], r.reasoning_end, rollout_id=r.id, **votes) for r in rollouts
    ]
    criticised = [_Criticised.of(r, agreed) for r, agreed in zip(rollouts, judged, strict=True)]
    shown = prompt if policy.chat else ""
    todo = [one for one in criticised if one and fits(policy, one.prefix(shown), max_tokens)]
    written = continue_chains(
        policy,
        [one.prefix(shown) for one in todo],
        n=tries,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
    )
    drafts = [
        complete(one.edit, one.edit.text, text, task)
        for one, texts in zip(todo, written, strict=True)
        for text in texts
    ]
    objections = _objections(
        drafts, [one.rollout for one in todo], reviewers, task, votes, segmenter
    )
    best = {}
    for number, one in enumerate(todo):
        options = range(number * len(written[number]), (number + 1) * len(written[number]))
        first = min(options, key=lambda i: objections[i])
        best[one.rollout.id] = one.choose(drafts[first], objections[first])
    return [best.get(r.id) or _unchanged(r) for r in rollouts]


def load_principles(name: str) -> str:
    """A shipped text by name, or a user's file by path. Raises UserError where there is none."""
    path = PRINCIPLES / f"{name}.md"
    path = path if path.is_file() else Path(name).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        shipped = ", ".join(sorted(file.stem for file in PRINCIPLES.glob("*.md")))
        raise UserError(
            f"principles '{name}' cannot be read ({error}): give a text file, or one of {shipped}"
        ) from None
    missing = [word for word in ("problem", "chain", "objections") if f"{{{word}}}" not in text]
    if missing:
        raise UserError(f"principles '{name}': the text lacks {{{missing[0]}}}")
    return text


@dataclass(frozen=True)
class _Criticised:
    """A rollout that the reviewers object to, and the open edit that keeps what comes before."""

    rollout: Rollout
    objections: tuple[StepConsensus, ...]
    edit: Edit

    @classmethod
    def of(cls, rollout: Rollout, agreed: Consensus) -> _Criticised | None:
        objections = tuple(step for step in agreed.steps if objected(step))
        if not objections:
            return None
        # A token may hold the blank before a word, so no prefix ends with one.
        kept = rollout.text[: objections[0].start].rstrip(" \t")
        edit = Edit(
            rollout_id=rollout.id,
            asked=("revise",),
            operations=("revise",),
            text=kept,
            reasoning_end=len(kept),
            spans=(EditSpan(0, len(kept), "kept", (0, len(kept))),) if kept else (),
            open=True,
        )
        return cls(rollout, objections, edit)

    def prefix(self, prompt: str) -> Prefix:
        problem = self.rollout.problem
        if prompt:
            filled = {
                "problem": problem.prompt,
                "chain": self.rollout.text,
                "objections": "\n".join(self._objection(step) for step in self.objections),
            }
            prompt = _PLACEHOLDER.sub(lambda match: filled[match[1]], prompt)
            problem = problem.model_copy(update={"prompt": prompt})
        return Prefix(problem, self.edit.text)

    def _objection(self, step: StepConsensus) -> str:
        instead = f" Rather: {step.instead}" if step.instead else ""
        return f'- "{self.rollout.text[step.start : step.end].strip()}" is {step.label}.{instead}'

    def choose(self, draft: Edit, objections: float) -> Edit:
        before = len(self.objections)
        if objections >= before:
            return _unchanged(self.rollout)
        why = f"written again from the first of {before} objections on, {objections:g} are left"
        return draft.model_copy(update={"why": (why,)})


def objected(step: StepConsensus) -> bool:
    """Whether the reviewers agree that the step should not be there as it is."""
    return step.status == "agreed" and step.label != "useful"


def _objections(
    drafts: Sequence[Edit],
    rollouts: Sequence[Rollout],
    reviewers: Sequence[Reviewer],
    task: Task,
    voting: Mapping[str, Any],
    segmenter: str,
) -> list[float]:
    """Steps objected to in each draft; infinitely many where it has no reasoning to object to, or
    where every review of it failed."""
    by_id = {rollout.id: rollout for rollout in rollouts}
    items = []
    for number, draft in enumerate(drafts):
        problem = by_id[draft.rollout_id].problem
        steps = segment(draft.text, draft.reasoning_end, segmenter)
        outcome = task.score(problem, draft.text)
        items.append(Item(problem, draft.text, steps, outcome, f"{draft.rollout_id}/{number}"))
    counts = []
    for draft, reviews in zip(drafts, review_now(reviewers, items), strict=True):
        agreed = consensus(reviews, draft.reasoning_end, **voting)
        found = float(sum(objected(step) for step in agreed.steps))
        says_something = agreed.valid_reviews and draft.text[: draft.reasoning_end].strip()
        counts.append(found if says_something else float("inf"))
    return counts


def _unchanged(rollout: Rollout) -> Edit:
    spans = (EditSpan(0, len(rollout.text), "kept", (0, len(rollout.text))),)
    return Edit(
        rollout_id=rollout.id,
        asked=("revise",),
        text=rollout.text,
        reasoning_end=rollout.reasoning_end,
        spans=spans if rollout.text else (),
    )
