"""How much work a recipe asks for, before any of it is done."""

from __future__ import annotations

from collections import Counter

from apportion.config.load import expand_arms
from apportion.config.schema import RunConfig

_TRAINED_ONCE = ("warm_start", "persona", "judge", "reviewer_tokens")  # evaluated in their own way


def planned_work(config: RunConfig) -> str:
    """A line such as ``2 arms × 3 seeds: 672 training rollouts, 240 evaluation completions``."""
    runs = expand_arms(config)
    arms = len(dict.fromkeys(name for name, _, _ in runs))
    work: Counter[str] = Counter()
    for _, _, arm in runs:
        work.update(_training(arm))
    for _, _, arm in runs:
        if arm.objective not in _TRAINED_ONCE:
            work["evaluation completion"] += _evaluations(arm)
    listed = ", ".join(_counted(number, unit) for unit, number in work.items() if number)
    return f"{_counted(arms, 'arm')} × {_counted(len(config.seeds), 'seed')}: {listed}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _training(arm: RunConfig) -> dict[str, int]:
    """Units of work of one arm and seed."""
    train, objective = arm.train, arm.objective
    problems = train.updates * train.prompts_per_update
    if objective == "warm_start":
        return {"worked solution": arm.warm_start.problems * arm.warm_start.epochs}
    if objective == "sft":
        return {"worked solution": problems * train.epochs}
    if objective in ("latent", "flow"):
        return {"answer": problems * train.epochs}
    if objective == "evolution":
        tried = train.updates * arm.evolution.population
        return {"perturbation": tried, "perturbed completion": tried * train.prompts_per_update}
    if objective in ("persona", "judge"):
        section = arm.persona if objective == "persona" else arm.judge
        return {"planted chain": section.updates * section.batch_size}
    if objective == "reviewer_tokens":
        tokens = arm.reviewer_tokens
        learned = (tokens.gold_updates + tokens.updates) * tokens.batch_size
        return {"training rollout": tokens.problems * tokens.group_size, "learned chain": learned}
    if objective in ("sft_on_edits", "dpo_on_edits"):
        return {"edited chain": train.updates * train.epochs * arm.edits.batch_size}
    if objective in ("trice", "star", "rejection", "em"):
        return {"proposed chain": _proposals(arm)}
    if objective == "agent":
        return {"episode": train.updates * train.rollouts_per_update}
    return {"training rollout": train.updates * train.rollouts_per_update}


def _proposals(arm: RunConfig) -> int:
    """Chains that the policy writes for objectives that remember them; a guide's come on top."""
    settings, train = arm.trice, arm.train
    if arm.objective == "em":
        return train.updates * train.prompts_per_update * arm.em.samples
    if arm.objective != "trice":
        return settings.problems * settings.samples * settings.rounds
    fill = settings.tries * settings.problems if settings.bootstrap == "policy" else 0
    return fill + train.updates * train.prompts_per_update


def _evaluations(arm: RunConfig) -> int:
    every = arm.eval.every
    during = 1 + (arm.train.updates * arm.train.epochs // every if every else 0)
    return during * arm.eval.problems + arm.eval.final_problems * (1 + arm.eval.samples)
