"""Step time of the credit trainer over the stock TRL trainer, on the same work, paired.

    python benchmarks/step_time.py [--pairs 5] [--updates 10]

The same tiny policy, prompts and seed; stock and credit trainer alternate within each pair. To do
the same work the learning rate is 0: with one seed both then sample the same completions, and only
reviewing and credit differ.
"""

import argparse
import statistics
import tempfile
import time

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from apportion.policies import load_policy
from apportion.stats import mean, stratified_bootstrap
from apportion.tasks import load_task
from apportion.trace import Problem
from apportion.train import CreditGRPOTrainer
from apportion.train.rows import row_of_problem

PROMPTS, GROUP = 8, 8
ARMS = {
    "outcome": {"credit": "outcome"},
    "capo": {"credit": "capo", "reviewers": ["arithmetic"]},
    "dca": {"credit": "dca", "reviewers": ["arithmetic"]},
}


def seconds_per_update(cls: type, updates: int, **options: object) -> float:
    task = load_task({"kind": "words", "operations": [2, 4], "largest": 300})
    policy = load_policy("tiny")
    problems = task.problems("train", PROMPTS * updates, 0)

    def reward(completions: list[str], problem: list[str], **_: object) -> list[float | None]:
        parsed = [Problem.model_validate_json(text) for text in problem]
        return [task.score(p, c) for p, c in zip(parsed, completions, strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        trainer = cls(
            model=policy.model,
            processing_class=policy.tokenizer,
            reward_funcs=[reward],
            args=GRPOConfig(
                output_dir=folder,
                max_steps=updates,
                per_device_train_batch_size=PROMPTS * GROUP,
                num_generations=GROUP,
                max_completion_length=80,
                # Nothing is learned, so that every trainer sees the same completions.
                learning_rate=0.0,
                loss_type="dr_grpo",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                shuffle_dataset=False,
                use_cpu=True,
                bf16=False,
            ),
            train_dataset=Dataset.from_list([row_of_problem(p, p.prompt) for p in problems]),
            **options,
        )
        trainer.remove_callback(PrinterCallback)
        started = time.perf_counter()
        trainer.train()
        return (time.perf_counter() - started) / updates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seconds_per_update(GRPOTrainer, 2)  # warm up
    for arm, extra in ARMS.items():
        ratios, stock_times, own_times = [], [], []
        for pair in range(options.pairs):
            order = [(GRPOTrainer, {}), (CreditGRPOTrainer, extra)]
            times = {}
            for cls, kwargs in order if pair % 2 == 0 else reversed(order):
                times[cls] = seconds_per_update(cls, options.updates, **kwargs)
            stock_times.append(times[GRPOTrainer])
            own_times.append(times[CreditGRPOTrainer])
            ratios.append(own_times[-1] / stock_times[-1])
        spread = stratified_bootstrap(ratios, mean)
        print(
            f"{arm:8} stock {statistics.median(stock_times):.3f} s, ours "
            f"{statistics.median(own_times):.3f} s, ratio {statistics.median(ratios):.3f} "
            f"(mean {spread.value:.3f} [{spread.low:.3f}, {spread.high:.3f}], "
            f"{options.pairs} pairs)"
        )


if __name__ == "__main__":
    main()
