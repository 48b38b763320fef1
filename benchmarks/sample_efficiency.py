"""Rollouts that each arm needs to reach outcome-GRPO's final accuracy, over outcome's own.

    python benchmarks/sample_efficiency.py [--out runs/words_efficiency] [--seeds 0,1,2,3,4]

Trains recipes/words_efficiency.yaml, one arm and seed per process and one process per core, and
goes on where an earlier call stopped. Prints, per arm: interquartile means, their paired
differences to outcome, and the rollout ratio; 95 % intervals resample the seeds in pairs.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean

import yaml

from apportion.records import read_kind
from apportion.stats import (
    Estimate,
    paired_bootstrap,
    paired_differences,
    reach_ratio,
    sign_flip_test,
)
from apportion.stats import stratified_bootstrap as interval

RECIPE = Path(__file__).parents[1] / "recipes" / "words_efficiency.yaml"
WINDOW = 10


def train(out: Path, seeds: list[int], overrides: list[str]) -> None:
    """Every arm and seed in a process and directory of its own, one process per core."""
    arms = yaml.safe_load(RECIPE.read_text())["arms"]
    jobs = [(arm, seed) for seed in seeds for arm in arms]

    def run(job: tuple[dict, int]) -> int:
        arm, seed = job
        folder = out / f"{arm['name']}-{seed}"
        command = [sys.executable, "-m", "apportion", "train", str(RECIPE), *overrides]
        command += [f"arms={json.dumps([arm])}", f"seeds=[{seed}]"]
        command += ["--out", str(folder), "--plain", *(["--resume"] if folder.exists() else [])]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, check=False).returncode

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if any(pool.map(run, jobs)):
            sys.exit("training failed; run the same command again to go on")


def collect(out: Path) -> tuple[dict, dict[str, dict]]:
    """By arm and seed: the curve of (rollouts, sampled accuracy), and named figures."""
    curves, finals = defaultdict(dict), defaultdict(lambda: defaultdict(dict))
    for folder in sorted(out.glob("*/*-s[0-9]*")):
        arm, _, seed = folder.name.rpartition("-s")
        lines, _ = read_kind(folder, "metrics")
        test = [line.metrics for line in lines if line.split == "test"]
        if not test:
            continue
        training = [line for line in lines if line.split == "train"]
        rewards = [line.metrics["reward/mean"] for line in training]
        curves[arm][int(seed)] = windowed(training)
        finals["mean sampled accuracy over training"][arm][int(seed)] = fmean(rewards)
        finals["test accuracy, sampled"][arm][int(seed)] = test[-1]["eval/pass@1"]["value"]
        finals["test accuracy, greedy"][arm][int(seed)] = test[-1]["eval/accuracy"]["value"]
        finals["wrong steps, test, greedy"][arm][int(seed)] = test[-1]["eval/step_error_rate"][
            "value"
        ]
    return curves, finals


def windowed(lines: list) -> list[tuple[float, float]]:
    """Mean reward of WINDOW updates at a time, placed at the middle of the window.

    Every training problem is seen once, so the reward before the update is a held-out estimate of
    sampled accuracy, on the same problems for every arm of a seed.
    """
    points = []
    for start in range(0, len(lines) - WINDOW + 1, WINDOW // 2):
        part = lines[start : start + WINDOW]
        reward = sum(line.metrics["reward/mean"] for line in part) / WINDOW
        points.append((sum(line.rollouts for line in part) / WINDOW, reward))
    return points


def show(curves: dict, finals: dict[str, dict]) -> None:
    for name, by_arm in finals.items():
        print(f"\n{name}: interquartile mean over seeds, difference to outcome")
        for arm, by_seed in by_arm.items():
            final = interval(list(by_seed.values()))
            gain = paired_bootstrap(by_arm["outcome"], by_seed)
            test = sign_flip_test(paired_differences(by_arm["outcome"], by_seed))
            print(
                f"  {arm:10} {len(by_seed)} seeds  {text(final)}   {text(gain)}  "
                f"p = {test.p if test else 1:.3f}"
            )
    print("\nrollouts to reach outcome's final sampled accuracy, over outcome's own")
    for arm, by_seed in curves.items():
        print(f"  {arm:10} {text(reach_ratio(by_seed, curves['outcome']))}")


def text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/words_efficiency"))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--show-only", action="store_true", help="do not train")
    parser.add_argument("overrides", nargs="*", help="dotted overrides of the recipe")
    options = parser.parse_args()
    if not options.show_only:
        train(options.out, [int(s) for s in options.seeds.split(",")], options.overrides)
    show(*collect(options.out))


if __name__ == "__main__":
    main()
