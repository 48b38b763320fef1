"""What does a head that halts ask for, problem by problem, and what are more steps worth?

    apportion train recipes/latent_halting_start.yaml
    apportion train recipes/latent_halting.yaml
    python benchmarks/halting_steps.py runs/latent_halting/expected-s* [--problems 400]

The steps that are taken, the first after which the head has stopped as likely as not, are a whole
number and often the same one for all problems. Printed beside them is what the head expects, the
mean of its distribution over 1 to the limit, with its rank correlation with the number of
operations (95 % bootstrap over problems), and the greedy accuracy where all problems get 1, 2, ...
steps.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch

from apportion.config import RunConfig
from apportion.config.load import load_yaml
from apportion.errors import UserError
from apportion.policies.latent.batch import pad_questions
from apportion.policies.latent.halting import choose_steps
from apportion.policies.latent.policy import LatentPolicy, load_latent
from apportion.stats import Estimate
from apportion.tasks import Task, load_task
from apportion.trace import Problem
from apportion.train.measure.latent_figures import rank_correlation
from apportion.train.run import quiet_libraries


def asked_for(policy: LatentPolicy, problems: Sequence[Problem]) -> tuple[list[float], list[float]]:
    """(mean of the head's distribution, steps taken), for each problem."""
    model = policy.model
    if model.halting is None:
        raise UserError(f"{policy.name}: no head that halts; train with latent.learning halting")
    prompts = [policy.prompt_ids(problem) for problem in problems]
    questions = pad_questions(prompts, model.steps, policy.tokenizer.pad_token_id)
    with torch.no_grad():
        log_p_BK = model.halting(model.think(questions).states_BKD)
    counted_K = torch.arange(1, model.steps + 1)
    expected_B = (log_p_BK.exp() * counted_K).sum(1)
    return expected_B.tolist(), choose_steps(log_p_BK, sample=False).float().tolist()


def accuracy_after(
    policy: LatentPolicy, task: Task, problems: Sequence[Problem], max_tokens: int
) -> list[list[float]]:
    """For 1, 2, ... steps whether each problem is answered."""
    limit, head = policy.model.steps, policy.model.halting
    policy.model.halting, found = None, []
    try:
        for steps in range(1, limit + 1):
            policy.model.steps = steps
            rollouts = policy.sample(problems, temperature=0.0, max_tokens=max_tokens)
            found.append([task.score(r.problem, r.text) or 0.0 for r in rollouts])
    finally:
        policy.model.steps, policy.model.halting = limit, head
    return found


def by_difficulty(hard: Sequence[int], values: Sequence[float]) -> str:
    groups: dict[int, list[float]] = defaultdict(list)
    for count, value in zip(hard, values, strict=True):
        groups[count].append(value)
    return "  ".join(f"{count}: {mean(groups[count]):.2f}" for count in sorted(groups))


def interval(found: Estimate | None) -> str:
    return "none" if found is None else f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of an arm and seed")
    parser.add_argument("--problems", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    quiet_libraries()
    for folder in options.runs:
        config = RunConfig.model_validate(load_yaml(folder / "config.yaml"))
        task = load_task(config.task)
        problems = task.problems("test", options.problems, config.eval.seed)
        hard = [int(problem.meta["operations"]) for problem in problems]
        policy = load_latent(str(folder / "checkpoints" / "final"))
        expected, taken = asked_for(policy, problems)
        print(f"{folder}, by operations")
        print(f"  expected steps  {by_difficulty(hard, expected)}; rank correlation "
              f"{interval(rank_correlation(hard, expected))}")  # fmt: skip
        print(f"  steps taken     {by_difficulty(hard, taken)}; rank correlation "
              f"{interval(rank_correlation(hard, taken))}")  # fmt: skip
        right = accuracy_after(policy, task, problems, config.train.max_completion_tokens)
        for steps, values in enumerate(right, 1):
            print(f"  right after {steps}   {by_difficulty(hard, values)}", flush=True)


if __name__ == "__main__":
    main()
