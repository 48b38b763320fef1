"""Over how many latent steps does a value survive, and which cure carries it furthest?

    python benchmarks/latent_horizon.py [--rule copy] [--steps 8,16,32,64,128] [--updates 400]
    python benchmarks/latent_horizon.py --smoke          # seconds: that it runs

A question of a few bits, k latent steps, then the bits again (or their parity). ``window: 1`` lets
a step see nothing but itself and the answer nothing but the last step, so the bits have to be
carried by the latent, as in a recurrent network. A small model is trained from nothing for each
cure and k. Printed are the share of held-out answers that are right, and the gradient's norm at
the first step over that at the last one, in the first update and averaged over the last ten.
"""

import argparse
import tempfile
from itertools import islice
from pathlib import Path
from statistics import mean

import torch

from apportion.config import RunConfig
from apportion.policies.tiny import build_model, train_tokenizer
from apportion.tasks import load_task
from apportion.train.evaluate import greedy_accuracy
from apportion.train.latent import latent_policy
from apportion.train.latent_update import LatentLearner, batches, examples_of
from apportion.train.run import quiet_libraries

CURES = {
    "none": {"cell": "identity"},
    "clipped": {"cell": "identity", "gradient_norm": "clip"},
    "equalised": {"cell": "identity", "gradient_norm": "equal"},
    "norm control": {"cell": "identity", "norm": "embedding"},
    "mlp": {"cell": "mlp"},
    "lstm": {"cell": "lstm"},
    "hrpo": {"cell": "hrpo"},
    "hrpo, equalised": {"cell": "hrpo", "gradient_norm": "equal"},
    "truncated to 8": {"cell": "identity", "truncate": 8},
}


def write_start(folder: Path, task, *, hidden: int, layers: int, seed: int) -> None:
    """An untrained model and a tokenizer for the task."""
    problems = task.problems("train", 200, seed)
    tokenizer = train_tokenizer((p.prompt + str(task.gold_completion(p)) for p in problems), 300)
    model = build_model(tokenizer, hidden_size=hidden, layers=layers, heads=2, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train_one(latent: dict, options: argparse.Namespace, steps: int, seed: int, start: Path):
    """(held-out accuracy, gradient reach at first, gradient reach at last)."""
    config = RunConfig.model_validate(
        {
            "name": "horizon",
            "objective": "latent",
            "task": task_of(options),
            "policy": {"kind": "tiny", "checkpoint": str(start)},
            "latent": latent | {"steps": steps, "window": 1, "recompute": 16 * (steps > 32)},
            "train": {
                "updates": options.updates,
                "prompts_per_update": options.batch,
                "learning_rate": options.rate,
                "warmup_updates": min(20, options.updates // 4),
                "max_completion_tokens": options.bits + 4,
            },
        }
    )
    torch.manual_seed(seed)
    task = load_task(config.task)
    policy = latent_policy(config)
    learner = LatentLearner(policy, config)
    examples = examples_of(policy, task, task.problems("train", 2000, seed))
    stream = islice(batches(examples, options.batch, seed), options.updates)
    reach = [learner.update(batch).get("latent/gradient_reach", 0.0) for batch in stream]
    held_out = task.problems("validation", options.held_out, 0)
    accuracy = greedy_accuracy(policy, task, held_out, max_tokens=options.bits + 4)
    return accuracy, reach[0], mean(reach[-10:])


def task_of(options: argparse.Namespace) -> dict:
    return {"kind": "parity", "rule": options.rule, "bits": [options.bits, options.bits]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rule", choices=("copy", "parity"), default="copy")
    parser.add_argument("--bits", type=int, default=6)
    parser.add_argument("--steps", default="8,16,32,64,128")
    parser.add_argument("--cures", default=",".join(CURES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--held-out", type=int, default=100)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="two updates, two steps, two cures")
    options = parser.parse_args()
    if options.smoke:
        options.updates, options.batch, options.held_out, options.hidden = 2, 4, 4, 16
        options.steps, options.cures = "4,8", "none,lstm"
    torch.set_num_threads(options.threads)
    quiet_libraries()
    task = load_task(task_of(options))
    print(f"{'cure':16} {'steps':>5} {'right':>6} {'reach, first update':>20} {'last ten':>10}")
    for cure in options.cures.split(","):
        for steps in map(int, options.steps.split(",")):
            found = []
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    shape = {"hidden": options.hidden, "layers": options.layers}
                    write_start(Path(folder), task, seed=seed, **shape)
                    found.append(train_one(CURES[cure], options, steps, seed, Path(folder)))
            right, first, last = (mean(column) for column in zip(*found, strict=True))
            print(f"{cure:16} {steps:5} {right:6.2f} {first:20.2e} {last:10.2e}", flush=True)


if __name__ == "__main__":
    main()
