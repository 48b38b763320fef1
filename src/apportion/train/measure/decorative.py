"""The causal test behind the detectors: take a step out, and see whether the answer changes.

A flagged step only looks decorative. It *is*, for a policy, where the policy answers the same
without it. The same test on the steps that a reviewer calls useful says how far the reviewer is
fooled: the gap between what it pays for and what matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apportion.detect import Finding, kept_reasoning
from apportion.edit.answer import cue
from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy
from apportion.stats import Estimate, share
from apportion.tasks import Task
from apportion.tasks.answers import extract_answer
from apportion.tasks.numbers import parse_number, same_number
from apportion.trace import Label, Review, Rollout, Step

# What a policy that states no answer is asked for one by, where the trace shows no other way.
_CUE = "####"


@dataclass(frozen=True)
class Tested:
    """One finding, put to the test. ``before`` and ``after`` are the answers with the whole
    reasoning and without the finding's spans."""

    rollout_id: str
    finding: Finding
    before: str
    after: str

    @property
    def unchanged(self) -> bool:
        return _same(self.before, self.after)


@dataclass(frozen=True)
class Decorative:
    """``tested`` findings, and ``undecided``, how many more could not be tested because the policy
    states no answer after the whole reasoning."""

    tested: tuple[Tested, ...]
    undecided: int

    def shares(self) -> dict[str, Estimate]:
        """Share of findings whose removal leaves the answer as it was, with its Wilson interval:
        ``all`` and by kind. Findings of one chain hang together, so the interval is narrow."""
        groups = {"all": list(self.tested)}
        for one in self.tested:
            groups.setdefault(one.finding.kind, []).append(one)
        found = {
            name: share(sum(one.unchanged for one in some), len(some))
            for name, some in groups.items()
        }
        return {name: estimate for name, estimate in found.items() if estimate is not None}


def decorative_share(
    policy: LanguageModelPolicy,
    task: Task,
    rollouts: Sequence[Rollout],
    findings: Mapping[str, Sequence[Finding]],
    *,
    max_tokens: int = 32,
) -> Decorative:
    """Put each finding (by rollout id) to the test, one at a time.

    The policy reads the reasoning with and without the finding's spans, is asked for the answer at
    once by the mark that the trace puts before its own, and answers greedily. Raises UserError
    where a reasoning does not fit into the context.
    """
    jobs = [(rollout, finding) for rollout in rollouts for finding in findings.get(rollout.id, ())]
    prefixes = [_prefix(rollout, (finding,)) for rollout, finding in jobs]
    whole = {rollout.id: _prefix(rollout, ()) for rollout, _ in jobs}
    asked = list(dict.fromkeys([(p.problem.id, p.text) for p in [*whole.values(), *prefixes]]))
    problems = {rollout.problem.id: rollout.problem for rollout, _ in jobs}
    continued = continue_chains(
        policy,
        [Prefix(problems[problem], text) for problem, text in asked],
        temperature=0.0,
        max_tokens=max_tokens,
    )
    answers = {
        key: _answer(task, key[1] + texts[0]) for key, texts in zip(asked, continued, strict=True)
    }
    tested, undecided = [], 0
    for (rollout, finding), prefix in zip(jobs, prefixes, strict=True):
        before = answers[rollout.problem.id, whole[rollout.id].text]
        if before is None:
            undecided += 1
            continue
        after = answers[prefix.problem.id, prefix.text]
        tested.append(Tested(rollout.id, finding, before, after or ""))
    return Decorative(tuple(tested), undecided)


def labelled_steps(review: Review, label: Label = "useful") -> list[Finding]:
    """The steps that a review gives this label, each a finding of kind ``REVIEWER:LABEL``."""
    kind = f"{review.reviewer}:{label}"
    return [
        Finding(kind, (index,), (Step(*step),), verdict.reason)
        for index, (step, verdict) in enumerate(zip(review.steps, review.verdicts, strict=True))
        if verdict.label == label
    ]


def _prefix(rollout: Rollout, findings: Sequence[Finding]) -> Prefix:
    reasoning = kept_reasoning(rollout.text, rollout.reasoning_end, findings)
    if reasoning and not reasoning.endswith("\n"):
        reasoning += "\n"
    return Prefix(rollout.problem, reasoning + (cue(rollout) or _CUE))


def _answer(task: Task, text: str) -> str | None:
    part = text[task.reasoning_end(text) :]
    return extract_answer(part, last_number=True)


def _same(one: str, other: str) -> bool:
    a, b = parse_number(one), parse_number(other)
    return one.strip() == other.strip() if a is None or b is None else same_number(a, b)
