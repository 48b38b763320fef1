"""Over how many latent steps does a value survive, and which cure carries it furthest?

    python benchmarks/latent_horizon.py [--rule copy] [--steps 8,16,32,64,128] [--updates 150]
    python benchmarks/latent_horizon.py --smoke          # seconds: that it runs

A question of a few bits, k latent steps, then the bits again (or their parity). ``window: 1`` lets
a step see nothing but itself and the answer nothing but the last step, so the bits have to be
carried by the latent, as in a recurrent network. For each seed a small model first learns the task
over one latent step; from there each cure learns it over k steps at once, until the answers of ten
updates running are right or ``--updates`` are spent. A cure that is right less often than
``--stop-below`` is not tried over more steps. Printed are the share of the rows of bits that come
back whole (rows that were trained on: the question is what survives the steps, not whether copying
generalises; mean over seeds, lowest and highest), the updates taken, and the gradient's norm at
the first step over that at the last one, in the first update and averaged over the last ten.
"""

import argparse
import tempfile
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from statistics import mean

import torch

from apportion.config import RunConfig
from apportion.policies.tiny import build_model, train_tokenizer
from apportion.tasks import load_task
from apportion.train.draws import batches
from apportion.train.latent.arm import latent_policy
from apportion.train.latent.latent_update import LatentLearner
from apportion.train.latent.methods.example import examples_of
from apportion.train.measure.evaluate import greedy_accuracy
from apportion.train.run import quiet_libraries

CURES = {
    "none": {"cell": "identity"},
    "clipped": {"cell": "identity", "gradient_norm": "clip"},
    "equalised": {"cell": "identity", "gradient_norm": "equal"},
    "norm control": {"cell": "identity", "norm": "embedding"},
    "mlp": {"cell": "mlp"},
    "lstm": {"cell": "lstm"},
    "hrpo": {"cell": "hrpo"},
    "hrpo+equalised": {"cell": "hrpo", "gradient_norm": "equal"},
    "truncated to 8": {"cell": "identity", "truncate": 8},
}


def write_start(folder: Path, task, *, hidden: int, layers: int, seed: int) -> None:
    """An untrained model and a tokenizer for the task."""
    problems = task.problems("train", 200, seed)
    tokenizer = train_tokenizer((p.prompt + str(task.gold_completion(p)) for p in problems), 300)
    model = build_model(tokenizer, hidden_size=hidden, layers=layers, heads=2, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def learn(latent: dict, options: argparse.Namespace, updates: int, seed: int, start: Path):
    """The policy trained from ``start``, and what each update reported."""
    config = RunConfig.model_validate(
        {
            "name": "horizon",
            "objective": "latent",
            "task": task_of(options),
            "policy": {"kind": "tiny", "checkpoint": str(start)},
            "latent": latent | {"window": 1},
            "train": {
                "updates": updates,
                "prompts_per_update": options.batch,
                "learning_rate": options.rate,
                "warmup_updates": min(10, updates // 4),
                "max_completion_tokens": options.bits + 4,
            },
        }
    )
    torch.manual_seed(seed)
    task = load_task(config.task)
    policy = latent_policy(config)
    learner = LatentLearner(policy, config)
    examples = examples_of(policy, task, task.problems("train", 2000, seed))
    reports: list[dict[str, float]] = []
    for batch in islice(batches(examples, options.batch, seed), updates):
        reports.append(learner.update(batch))
        if len(reports) >= 10 and min(r["train/token_accuracy"] for r in reports[-10:]) == 1:
            break
    return policy, reports


def one_step(options: argparse.Namespace, seed: int, folder: Path) -> None:
    """Write a model that has learned the task over one latent step, and say how well."""
    task = load_task(task_of(options))
    write_start(folder, task, hidden=options.hidden, layers=options.layers, seed=seed)
    policy, reports = learn({"steps": 1}, options, options.start_updates, seed, folder)
    policy.model.network.save_pretrained(folder)
    right = share_right(policy, options)
    print(f"seed {seed}: over one step {right:.2f} after {len(reports)} updates", flush=True)


def train_one(cure: str, options: argparse.Namespace, steps: int, seed: int, start: Path):
    """(share right, updates, gradient reach at first, gradient reach at last)."""
    latent = CURES[cure] | {"steps": steps, "recompute": options.recompute}
    policy, reports = learn(latent, options, options.updates, seed, start)
    reach = [report.get("latent/gradient_reach", 0.0) for report in reports]
    return share_right(policy, options), len(reports), reach[0], mean(reach[-10:])


def share_right(policy, options: argparse.Namespace) -> float:
    task = load_task(task_of(options))
    rows = {p.prompt: p for p in task.problems("train", 500, 0)}
    few = list(rows.values())[: options.rows]
    return greedy_accuracy(policy, task, few, max_tokens=options.bits + 4)


def task_of(options: argparse.Namespace) -> dict:
    return {"kind": "parity", "rule": options.rule, "bits": [options.bits, options.bits]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rule", choices=("copy", "parity"), default="copy")
    parser.add_argument("--bits", type=int, default=5)
    parser.add_argument("--steps", default="8,16,32,64,128")
    parser.add_argument("--cures", default=",".join(CURES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--start-updates", type=int, default=800)
    parser.add_argument("--stop-below", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--recompute", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="two updates, two steps, two cures")
    options = parser.parse_args()
    if options.smoke:
        options.updates, options.batch, options.rows, options.hidden = 2, 4, 4, 16
        options.steps, options.cures, options.start_updates = "4,8", "none,lstm", 2
        options.stop_below = 0.0
    torch.set_num_threads(options.threads)
    quiet_libraries()
    with ExitStack() as stack:
        starts = [
            Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(options.seeds)
        ]
        for seed, start in enumerate(starts):
            one_step(options, seed, start)
        print(f"{'cure':16} {'steps':>5} {'right':>6} {'range':>12} {'updates':>8} "
              f"{'reach, first':>13} {'last ten':>10}")  # fmt: skip
        for cure in options.cures.split(","):
            for steps in map(int, options.steps.split(",")):
                found = [train_one(cure, options, steps, s, path) for s, path in enumerate(starts)]
                rights = [row[0] for row in found]
                right, taken, first, last = (mean(column) for column in zip(*found, strict=True))
                print(f"{cure:16} {steps:5} {right:6.2f} {min(rights):5.2f}-{max(rights):<6.2f} "
                      f"{taken:8.0f} {first:13.2e} {last:10.2e}", flush=True)  # fmt: skip
                if right < options.stop_below:
                    break


if __name__ == "__main__":
    main()
