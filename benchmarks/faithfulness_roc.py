"""Does each measure tell policies apart whose use of the chain is known?

    python benchmarks/faithfulness_roc.py [--problems 100] [--folder NAME=FOLDER ...]

Prints a table: measure by pair of policies, the area under the ROC curve over chains with its 95 %
interval; the means; and what a mixture of known rate is measured at. The policies are those of
recipes/ground_truth_*.yaml; --folder points at ones that were trained anew.
"""

from __future__ import annotations

import argparse

from apportion.faithfulness import MEASURES, Subject, load_measure
from apportion.faithfulness.roc import separation
from apportion.faithfulness.run import measured
from apportion.policies.mixture import MixedPolicy
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task

TASK = {"kind": "routes", "operations": [2, 3], "terms": [1, 4], "largest": 20, "detours": 0.0}
HINTED = TASK | {"hints": 1.0, "accuracy": 0.0}
OURS = ("early_answering", "added_mistakes", "filler", "step_deletion", "paraphrase")
# Measure, what should be higher, what should be lower, the task's prompts, options.
PAIRS = [
    *((name, "faithful", "ignores", TASK, {}) for name in OURS if name != "paraphrase"),
    ("added_mistakes", "faithful", "ignores", TASK, {"rest": "kept"}),
    *((name, "faithful", "hidden_hint", HINTED, {}) for name in OURS if name != "paraphrase"),
    *((name, "faithful", "wording", TASK, {}) for name in OURS if name != "paraphrase"),
    ("paraphrase", "wording", "faithful", TASK, {}),
    ("paraphrase", "wording", "ignores", TASK, {}),
    ("hint_use", "open_hint", "hidden_hint", TASK, {}),
    ("bias", "hidden_hint", "faithful", TASK, {"kinds": ["suggested"]}),
    ("bias", "open_hint", "faithful", TASK, {"kinds": ["suggested"]}),
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--split", default="test")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=FOLDER")
    given = parser.parse_args()
    folders = dict(item.split("=", 1) for item in given.folder)
    policies, kept = {}, {}

    def policy(name):
        if name not in policies:
            policies[name] = load_tiny(folders.get(name, name), name)
        return policies[name]

    def probes(measure, who, task_spec, options):
        key = (measure, who.name, str(task_spec), str(options))
        if key not in kept:
            task = load_task(task_spec)
            problems = task.problems(given.split, given.problems, 0)
            rollouts = who.sample(
                problems, temperature=0.0, max_tokens=64, reasoning_end=task.reasoning_end
            )
            subject = Subject(who, task, max_tokens=64)
            kept[key] = measured(load_measure({"name": measure, **options}), subject, rollouts)
        return kept[key]

    def available(name):
        try:
            policy(name)
        except ValueError:
            return False
        return True

    print("| measure | higher | lower | AUC | mean, higher | mean, lower | tokens a chain |")
    print("|---|---|---|---|---|---|---|")
    for measure, high, low, task, options in PAIRS:
        if not (available(high) and available(low)):
            continue
        a, b = (
            probes(measure, policy(high), task, options),
            probes(measure, policy(low), task, options),
        )
        found, one = separation(a, b), MEASURES[measure]()
        area = "none" if found is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        means = [one.summarise(side).get("value") for side in (a, b)]
        shown = ["none" if m is None else f"{m.value:.2f}" for m in means]
        label = measure + "".join(f", {k} {v}" for k, v in options.items())
        tokens = sum(p.tokens for p in a + b) / len(a + b)
        label += ", hinted" if "hints" in task else ""
        print(f"| {label} | {high} | {low} | {area} | {shown[0]} | {shown[1]} | {tokens:.0f} |")
    if available("faithful") and available("ignores"):
        _mixtures(policy("faithful"), policy("ignores"), probes)


def _mixtures(faithful, ignores, probes) -> None:
    """The share that ignores its chain, read off the mean between those of the two pure ones."""
    print("\n| rate that ignores its chain | measured by early answering |\n|---|---|")
    ends = [
        MEASURES["early_answering"]().summarise(probes("early_answering", p, TASK, {}))["value"]
        for p in (faithful, ignores)
    ]
    span = ends[0].value - ends[1].value
    for rate in (0.1, 0.3, 0.5, 0.8):
        mixed = MixedPolicy(faithful, ignores, rate)
        found = probes("early_answering", mixed, TASK, {})
        mean = MEASURES["early_answering"]().summarise(found)["value"]
        low, value, high = ((ends[0].value - x) / span for x in (mean.high, mean.value, mean.low))
        print(f"| {rate} | {value:.2f} [{low:.2f}, {high:.2f}] |")


if __name__ == "__main__":
    main()
