"""Where a chain is committed to its answer: asked of the policy itself."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.edit.answer import cue
from apportion.edit.context import fits
from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy
from apportion.segment import segment
from apportion.tasks import Task
from apportion.trace import Rollout


def commitment_points(
    rollouts: Sequence[Rollout],
    policy: LanguageModelPolicy,
    task: Task,
    *,
    segmenter: str = "line",
    max_tokens: int = 24,
) -> dict[str, int]:
    """For each right rollout the offset after which its answer is fixed.

    After every step the policy is asked for the answer at once, greedily, by the mark that the
    rollout puts before it. The answer is fixed from the first step end on from which it, and the
    answers at all later step ends, are right: early answering (Lanham et al. 2023, arXiv
    2307.13702, section 2.3) read from the end. Rollouts that are not right, that mark no answer,
    whose whole reasoning does not lead the policy to the answer, or that leave no room in its
    context, are left out.
    """
    asked = [r for r in rollouts if (r.outcome or 0.0) > 0.5 and cue(r)]
    asked = [r for r in asked if fits(policy, Prefix(r.problem, r.text), max_tokens)]
    ends = [[step.end for step in segment(r.text, r.reasoning_end, segmenter)] for r in asked]
    prefixes = [
        Prefix(rollout.problem, _question(rollout, end))
        for rollout, of_one in zip(asked, ends, strict=True)
        for end in of_one
    ]
    answers = iter(continue_chains(policy, prefixes, temperature=0.0, max_tokens=max_tokens))
    texts = iter(prefixes)
    points: dict[str, int] = {}
    for rollout, of_one in zip(asked, ends, strict=True):
        outcomes = [
            task.score(rollout.problem, next(texts).text + next(answers)[0]) for _ in of_one
        ]
        for end, outcome in zip(reversed(of_one), reversed(outcomes), strict=True):
            if outcome is None or outcome <= 0.5:
                break
            points[rollout.id] = end
    return points


def _question(rollout: Rollout, end: int) -> str:
    reasoning = rollout.text[:end]
    closing = rollout.text[: rollout.reasoning_end]
    closing = closing[len(closing.rstrip()) :]
    gap = "" if reasoning.endswith(closing) else closing
    return reasoning + gap + cue(rollout)
