"""Rollouts that each arm needs to reach outcome-GRPO's final accuracy, over outcome's own.

    python benchmarks/sample_efficiency.py [--out runs/sums_credit] [--seeds 0,1,2,3,4]

Trains recipes/sums_credit.yaml (--recipe words_efficiency: word problems, hours), one arm and seed
per process and one process per core, and goes on where an earlier call stopped. Prints, per arm:
interquartile means, their paired differences to outcome, and the rollout ratio; 95 % intervals
resample the seeds in pairs.
With --show-only it prints the table of any finished runs, those of several runs together.
"""

import argparse
import os
from pathlib import Path

from apportion.config import parse_seeds, resolve
from apportion.reach import reach_ratio
from apportion.records import is_run
from apportion.report.data import load_run
from apportion.report.evidence import Evidence, gather
from apportion.report.measures import measure, reward_curve
from apportion.stats import Estimate, paired_bootstrap, paired_differences, sign_flip_test
from apportion.stats import stratified_bootstrap as interval

FIGURES = {
    "mean sampled accuracy over training": "mean_reward",
    "test accuracy, sampled": "final_sampled",
    "test accuracy, greedy": "final_accuracy",
    "wrong steps, test, greedy": "step_error_rate",
}


def train(recipe: str, out: Path, seeds: str, overrides: list[str]) -> None:
    from apportion.train.run import run_recipe

    config = resolve(recipe, [*overrides, f"seeds={parse_seeds(seeds)}"])
    run_recipe(config, out, resume=is_run(out), plain=True, processes=os.cpu_count() or 1)


def show(evidence: Evidence) -> None:
    arms = list(evidence.finished)
    for title, name in FIGURES.items():
        values = evidence.each(arms, lambda part, name=name: measure(part, name))
        print(f"\n{title}: interquartile mean over seeds, difference to outcome")
        for arm, by_seed in values.items():
            gain = paired_bootstrap(values["outcome"], by_seed)
            test = sign_flip_test(paired_differences(values["outcome"], by_seed))
            print(
                f"  {arm:10} {len(by_seed)} seeds  {text(interval(list(by_seed.values())))}   "
                f"{text(gain)}  p = {test.p if test else 1:.3f}"
            )
    print("\nrollouts to reach outcome's final sampled accuracy, over outcome's own")
    curves = evidence.each(arms, reward_curve)
    for arm, by_seed in curves.items():
        print(f"  {arm:10} {text(reach_ratio({**by_seed}, {**curves['outcome']}))}")


def text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="sums_credit")
    parser.add_argument("--out", type=Path, default=Path("runs/sums_credit"))
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--show-only", type=Path, nargs="+", metavar="RUN", help="do not train")
    parser.add_argument("overrides", nargs="*", help="dotted overrides of the recipe")
    options = parser.parse_args()
    if not options.show_only:
        train(options.recipe, options.out, options.seeds, options.overrides)
    show(gather([load_run(path) for path in options.show_only or [options.out]]))


if __name__ == "__main__":
    main()
