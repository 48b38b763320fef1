"""Chains written with an answer in sight, on record under the question alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apportion.errors import UserError
from apportion.policies.base import Policy
from apportion.policies.hint import Hint, answer_of, load_hint
from apportion.trace import Problem, Rollout

# Of a rollout's ``meta``: the prompt that it was written under, and the answer that this showed.
PROMPT, SHOWN = "prompt", "shown"
_PLAN = "_plan"


def sample_in_sight(
    policy: Policy,
    problems: Sequence[Problem],
    prompt: str,
    *,
    answers: Sequence[str] | None = None,
    n: int = 1,
    temperature: float = 1.0,
    max_tokens: int = 256,
    seed: int = 0,
    reasoning_end: Callable[[str], int] = len,
) -> list[Rollout]:
    """``n`` completions of each problem under ``prompt``, a shipped prompt or a file, with
    ``answers`` (default: the gold ones) in sight. ``meta`` of a rollout says which.

    A prompt with the place {skeleton} is written in two steps: first the skeleton, what each step
    has to do without its content, under the prompt of the same name with ``_plan`` (greedy, one a
    problem), then the chain along it. Source: neutral, suppressed and skeleton-first prompts, Peng
    et al. 2026 (arXiv 2602.14469).

    Raises UserError for a prompt that is none, a problem without an answer, and where a filled
    prompt does not fit into the context.
    """
    hint = load_hint(prompt)
    shown = [answer_of(p) for p in problems] if answers is None else list(answers)
    if len(shown) != len(problems):
        raise UserError(f"{len(problems)} problems and {len(shown)} answers to show: give as many")
    skeletons = [""] * len(problems)
    if "{skeleton}" in hint.template:
        skeletons = _skeletons(policy, problems, shown, load_hint(_plan_of(prompt)), max_tokens)
    asked = [
        hint.fill(problem, answer, skeleton)
        for problem, answer, skeleton in zip(problems, shown, skeletons, strict=True)
    ]
    rollouts = policy.sample(
        asked,
        n=n,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        reasoning_end=reasoning_end,
    )
    place = {problem.id: i for i, problem in enumerate(problems)}
    found = []
    for rollout in rollouts:
        i = place[rollout.problem.id]
        more = {PROMPT: hint.name, SHOWN: shown[i]}
        more |= {"skeleton": skeletons[i]} if skeletons[i] else {}
        found.append(
            rollout.model_copy(update={"problem": problems[i], "meta": rollout.meta | more})
        )
    return found


def _plan_of(prompt: str) -> str:
    stem, dot, ending = prompt.rpartition(".")
    return f"{stem}{_PLAN}{dot}{ending}" if dot else f"{prompt}{_PLAN}"


def _skeletons(
    policy: Policy, problems: Sequence[Problem], shown: Sequence[str], plan: Hint, max_tokens: int
) -> list[str]:
    asked = [plan.fill(p, answer) for p, answer in zip(problems, shown, strict=True)]
    return [r.text for r in policy.sample(asked, temperature=0.0, max_tokens=max_tokens)]
