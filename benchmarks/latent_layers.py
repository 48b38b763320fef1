"""Where in a latent chain is its last value found: in time for the answer to be read from it?

    apportion train recipes/latent_graph.yaml --arms coconut,coconut_two
    python benchmarks/latent_layers.py runs/latent_graph/coconut*-s* [--problems 2400]

For each number of written steps: greedy accuracy on test problems; then for the latent at which the
last of these steps ends, and the one after it, the share of problems in which a linear probe reads
the step's value from what each layer puts out there (fitted to 7 of 10 training problems, read from
the others). What only the last layer holds no later position can see.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from apportion.config import RunConfig
from apportion.config.load import load_yaml
from apportion.faithfulness.intermediate import step_labels
from apportion.faithfulness.latent.discriminant import fit
from apportion.policies.latent.batch import pad_questions
from apportion.policies.latent.policy import LatentPolicy, load_latent
from apportion.tasks import Task, load_task
from apportion.trace import Problem
from apportion.train.measure.evaluate import sample_scored
from apportion.train.run import quiet_libraries

_AT_ONCE = 200


def states_of(policy: LatentPolicy, problems: Sequence[Problem]) -> np.ndarray:
    """(N problems, K latents, layers, D): what each layer puts out at each latent step."""
    parts = []
    for start in range(0, len(problems), _AT_ONCE):
        asked = [policy.prompt_ids(p) for p in problems[start : start + _AT_ONCE]]
        steps, pad = policy.model.steps, policy.tokenizer.pad_token_id
        with torch.no_grad(), outputs(policy.model.network) as seen:
            policy.model.think(pad_questions(asked, steps, pad))
        # The question is one pass, and each latent step one.
        by_layer = [torch.stack([s[:, -1] for s in layer[-steps:]], 1) for layer in seen]
        parts.append(torch.stack(by_layer, 2))
    return torch.cat(parts).numpy()


@contextmanager
def outputs(network: Any) -> Iterator[list[list[Tensor]]]:
    """What each layer puts out, pass by pass."""
    layers = network.base_model.layers
    seen: list[list[Tensor]] = [[] for _ in layers]

    def keep(place: int) -> Any:
        return lambda layer, given, out: seen[place].append(out[0] if type(out) is tuple else out)

    hooks = [layer.register_forward_hook(keep(place)) for place, layer in enumerate(layers)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def read_share(features_NF: np.ndarray, labels: Sequence[str]) -> float:
    fitted = len(labels) * 7 // 10
    found = fit(features_NF[:fitted], labels[:fitted]).read(features_NF[fitted:])
    return float((found == np.asarray(labels[fitted:])).mean())


def right_by_steps(
    policy: LatentPolicy, task: Task, problems: Sequence[Problem], max_tokens: int
) -> dict[int, float]:
    found: dict[int, list[float]] = defaultdict(list)
    for rollout in sample_scored(policy, task, problems, temperature=0.0, max_tokens=max_tokens):
        found[len(step_labels(rollout.problem))].append(rollout.outcome or 0.0)
    return {steps: mean(values) for steps, values in found.items()}


def report(folder: Path, n: int) -> None:
    config = RunConfig.model_validate(load_yaml(folder / "config.yaml"))
    task = load_task(config.task)
    policy = load_latent(str(folder / "checkpoints" / "final"))
    limit = policy.model.steps
    if not limit:
        raise SystemExit(f"{folder}: no latent steps to look into")
    tested = task.problems("test", 400, config.eval.seed)
    right = right_by_steps(policy, task, tested, config.train.max_completion_tokens)
    problems = task.problems("train", n, config.eval.seed + 1)
    labels = [step_labels(problem) for problem in problems]
    longest = max(map(len, labels))
    if not longest:
        raise SystemExit(f"{folder}: task {task.name} does not say what its steps arrive at")
    states_NKLD = states_of(policy, problems)
    per_step = max(1, limit // longest)
    print(f"{folder}: {limit} latents")
    for steps in range(1, longest + 1):
        rows = [row for row, found in enumerate(labels) if len(found) == steps]
        ends = [labels[row][-1] for row in rows]
        print(f"  {steps} steps: {right.get(steps, float('nan')):.2f} right")
        first = (steps - 1) * per_step
        for latent in range(first, min(first + 2, limit)):
            by_layer = states_NKLD[rows, latent].swapaxes(0, 1)
            shares = " ".join(f"{read_share(layer_ND, ends):.2f}" for layer_ND in by_layer)
            print(f"    latent {latent + 1}, by layer: {shares}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of an arm and seed")
    parser.add_argument("--problems", type=int, default=2400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    quiet_libraries()
    for folder in options.runs:
        report(folder, options.problems)


if __name__ == "__main__":
    main()
