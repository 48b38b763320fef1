"""Rollouts that each arm needs to reach outcome-GRPO's final accuracy, over outcome's own.

    python benchmarks/sample_efficiency.py [--out runs/words_efficiency] [--seeds 0,1,2,3,4]

Trains recipes/words_efficiency.yaml, one process per core, each with its own seeds, and goes on
where an earlier call stopped. Prints, per arm: interquartile mean of final test accuracy with its
95 % interval, and the rollout ratio with the interval from resampling the seeds in pairs.
"""

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from apportion.records import read_kind
from apportion.report.stats import paired_differences, reach_ratio, sign_flip_test
from apportion.report.stats import stratified_bootstrap as interval

RECIPE = Path(__file__).parents[1] / "recipes" / "words_efficiency.yaml"


def train(out: Path, seeds: list[int], overrides: list[str]) -> None:
    """One process per core; each writes a run directory of its own."""
    cores = os.cpu_count() or 1
    running = []
    for core in range(min(cores, len(seeds))):
        own = ",".join(str(seed) for seed in seeds[core::cores])
        folder = out / f"part{core}"
        command = [sys.executable, "-m", "apportion", "train", str(RECIPE), *overrides]
        command += ["--out", str(folder), "--seeds", own, "--plain"]
        if folder.exists():
            command.append("--resume")
        running.append(subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}))
    if any(process.wait() for process in running):
        sys.exit("training failed; run the same command again to go on")


def collect(out: Path) -> tuple[dict, dict]:
    """arm -> seed -> [(rollouts, validation accuracy)], and arm -> seed -> test accuracy."""
    curves, finals = defaultdict(dict), defaultdict(dict)
    for folder in sorted(out.glob("part*/*-s[0-9]*")):
        arm, _, seed = folder.name.rpartition("-s")
        lines, _ = read_kind(folder, "metrics")
        points = [
            (line.rollouts, line.metrics["eval/accuracy"]["value"])
            for line in lines
            if line.split == "validation"
        ]
        test = [line for line in lines if line.split == "test"]
        if test:
            curves[arm][int(seed)] = sorted(points)
            finals[arm][int(seed)] = test[-1].metrics["eval/accuracy"]["value"]
    return curves, finals


def show(curves: dict, finals: dict) -> None:
    print(f"{'arm':12} {'seeds':>5}  {'test accuracy (IQM)':24} {'vs outcome':>10} {'p':>7}  ratio")
    for arm, by_seed in finals.items():
        final = interval(list(by_seed.values()))
        differences = paired_differences(finals["outcome"], by_seed)
        gain = sum(differences) / max(1, len(differences))
        test = sign_flip_test(differences) if arm != "outcome" else None
        ratio = reach_ratio(curves[arm], curves["outcome"])
        print(
            f"{arm:12} {len(by_seed):5}  {final.value:.3f} [{final.low or 0:.3f}, "
            f"{final.high or 0:.3f}]     {gain:+10.3f} {test.p if test else 1:7.3f}  "
            + (f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio else "undefined")
        )


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
