"""An edited chain is kept only where the right answer is still reached from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from apportion.edit.answer import cue
from apportion.edit.context import fits
from apportion.errors import UserError
from apportion.stats import Estimate, share
from apportion.tasks import Task
from apportion.trace import Edit, EditSpan, Problem, Rollout

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy

# The share of attempts, in [0, 1], that reach the right answer from the edited reasoning.
Verifier = Callable[[Edit, Rollout], float]


def verify_edits(
    edits: Sequence[Edit],
    rollouts: Sequence[Rollout],
    policy: LanguageModelPolicy | Verifier,
    task: Task,
    *,
    n: int = 1,
    temperature: float = 0.0,
    threshold: float = 1.0,
    seed: int = 0,
    max_tokens: int = 256,
) -> list[Edit]:
    """Answer again from each edited reasoning, score again, and refuse what fails.

    ``policy`` goes on ``n`` times from where the edited reasoning ends (once, greedily, at
    temperature 0); an edit is kept where at least ``threshold`` of the answers are right. It is
    asked for the answer at once, by the mark that the original puts before it: else it could think
    again what the edit deleted. An open edit is gone on with freely and becomes whole: it takes
    the first right continuation. Refused without an attempt: an edit
    that keeps a wrong answer, one whose outcome cannot be decided, and one whose new text marks
    an answer before the answer, and one that leaves no room for ``max_tokens`` more in the
    policy's context. Edits that changed nothing or were refused before come back as they are. A
    verifier gives the share itself, and cannot go on from an open edit.

    ``edits`` and ``rollouts`` go together by id. Raises UserError for an edit of a rollout that is
    not there.
    """
    by_id = {rollout.id: rollout for rollout in rollouts}
    for edit in edits:
        if edit.rollout_id not in by_id:
            raise UserError(f"edit of rollout {edit.rollout_id}: there is no such rollout")
    checked = [_check(edit, by_id[edit.rollout_id], task) for edit in edits]
    waiting = [i for i, edit in enumerate(checked) if edit.changed and not edit.refused]
    asked = [checked[i] for i in waiting]
    theirs = [by_id[edit.rollout_id] for edit in asked]
    if callable(policy):
        done = [_by_verifier(e, r, policy, threshold) for e, r in zip(asked, theirs, strict=True)]
    else:
        tries = n if temperature > 0 else 1
        attempt = _Attempt(policy, task, tries, temperature, threshold, seed, max_tokens)
        done = attempt.answer(asked, theirs)
    for i, edit in zip(waiting, done, strict=True):
        checked[i] = edit
    return checked


def kept_shares(edits: Sequence[Edit]) -> dict[str, Estimate]:
    """Share of the changed edits that are usable, with its Wilson interval: ``all``, and for each
    operation those edits in which it did something."""
    changed = [edit for edit in edits if edit.changed]
    groups = {"all": changed}
    for edit in changed:
        for operation in edit.operations:
            groups.setdefault(operation, []).append(edit)
    shares = {name: share(sum(e.usable for e in some), len(some)) for name, some in groups.items()}
    return {name: estimate for name, estimate in shares.items() if estimate is not None}


def refuse(edit: Edit, reason: str) -> Edit:
    return edit.model_copy(update={"refused": reason})


def _check(edit: Edit, rollout: Rollout, task: Task) -> Edit:
    """What can be refused without asking anyone."""
    if not edit.changed or edit.refused:
        return edit
    if task.reasoning_end(edit.text) != edit.reasoning_end:
        return refuse(edit, "the new text marks an answer, which an edit must not give")
    if edit.open:
        return edit
    outcome = task.score(rollout.problem, edit.text)
    if outcome is None:
        return refuse(edit, "the outcome of this problem cannot be decided")
    if outcome <= 0.5:
        return refuse(edit, "the answer is wrong, and this edit keeps it")
    return edit


def _by_verifier(edit: Edit, rollout: Rollout, verifier: Verifier, threshold: float) -> Edit:
    if edit.open:
        return refuse(edit, "the policy has to go on from here, and none was given")
    return _judged(edit, verifier(edit, rollout), 1, threshold)


def _prefix(edit: Edit, rollout: Rollout) -> str:
    reasoning = edit.text[: edit.reasoning_end]
    # A token may hold the blank before a word, so no prefix ends with one.
    return reasoning.rstrip(" \t") if edit.open else (reasoning + cue(rollout)).rstrip(" \t")


@dataclass(frozen=True)
class _Attempt:
    """The policy answers from edited reasonings."""

    policy: LanguageModelPolicy
    task: Task
    n: int
    temperature: float
    threshold: float
    seed: int
    max_tokens: int

    def answer(self, edits: Sequence[Edit], rollouts: Sequence[Rollout]) -> list[Edit]:
        from apportion.policies.continuation import Prefix, continue_chains

        prefixes = [
            Prefix(rollout.problem, _prefix(edit, rollout))
            for edit, rollout in zip(edits, rollouts, strict=True)
        ]
        room = [fits(self.policy, prefix, self.max_tokens) for prefix in prefixes]
        answers = continue_chains(
            self.policy,
            [prefix for prefix, enough in zip(prefixes, room, strict=True) if enough],
            n=self.n,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
        )
        texts = iter(answers)
        return [
            self._judge(edit, *prefix, next(texts)) if enough else refuse(edit, self._no_room())
            for edit, prefix, enough in zip(edits, prefixes, room, strict=True)
        ]

    def _no_room(self) -> str:
        return f"too long for the policy to answer in {self.max_tokens} tokens more"

    def _judge(self, edit: Edit, problem: Problem, prefix: str, texts: Sequence[str]) -> Edit:
        scores = [self.task.score(problem, prefix + text) for text in texts]
        right = [s is not None and s > 0.5 for s in scores]
        if edit.open and any(right):
            edit = complete(edit, prefix, texts[right.index(True)], self.task)
        return _judged(edit, sum(right), self.n, self.threshold)


def complete(edit: Edit, prefix: str, continuation: str, task: Task) -> Edit:
    """The open edit, whole: ``prefix`` is its text (blanks at the end cut off), the rest the
    policy's."""
    spans = [
        EditSpan(s.start, min(s.end, len(prefix)), s.kind, _cut_source(s, len(prefix)))
        for s in edit.spans
        if s.start < len(prefix)
    ]
    text = prefix + continuation
    if continuation:
        spans.append(EditSpan(len(prefix), len(text), "inserted"))
    return edit.model_copy(
        update={
            "text": text,
            "reasoning_end": max(len(prefix), task.reasoning_end(text)),
            "spans": tuple(spans),
            "open": False,
        }
    )


def _cut_source(span: EditSpan, end: int) -> tuple[int, int] | None:
    if span.source is None:
        return None
    return span.source[0], span.source[0] + min(span.end, end) - span.start


def _judged(edit: Edit, right: float, answered: int, threshold: float) -> Edit:
    edit = edit.model_copy(update={"right": float(right), "answered": answered})
    if right / answered < threshold - 1e-9:
        return refuse(edit, f"re-answered: {right:g} of {answered} right, {threshold:g} needed")
    return edit
