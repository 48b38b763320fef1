"""Does each measure tell policies apart whose use of the chain is known?

    python benchmarks/faithfulness_roc.py [--problems 100] [--only MEASURE ...]
        [--folder NAME=FOLDER ...] [--write]

Prints what the policies are, measure by pair of policies the area under the ROC curve (over single
chains, and over means of ten problems) with its 95 % interval, and what mixtures of known rate are
measured at. --write keeps the areas where `apportion ls measures` reads them. The policies are
those of recipes/ground_truth_*.yaml; --folder points at ones that were trained anew.
"""

from __future__ import annotations

import argparse
import time

from apportion.faithfulness import load_measure
from apportion.faithfulness.acceptance import FILE, TOGETHER, Area, areas, standing
from apportion.faithfulness.ground_truth import TASK, Pair, Side, chains, pairs, subject_of
from apportion.faithfulness.manipulation import manipulation_checks
from apportion.faithfulness.roc import separation
from apportion.faithfulness.run import measured
from apportion.policies.mixture import MixedPolicy
from apportion.policies.tiny import load_tiny
from apportion.stats import Estimate
from apportion.tasks import load_task
from apportion.trace import Probe

POLICIES = ("faithful", "ignores", "hidden_hint", "open_hint", "wording")
RATED = ("early_answering", "filler", "added_mistakes", "mediation")


class Bench:
    """Policies and what was measured of them, each once."""

    def __init__(self, problems: int, folders: dict[str, str]) -> None:
        self.problems, self.folders = problems, folders
        self.policies, self.kept = {}, {}

    def policy(self, name: str):
        if name not in self.policies:
            self.policies[name] = load_tiny(self.folders.get(name, name), name)
        return self.policies[name]

    def probes(self, pair: Pair, side: Side) -> list[Probe]:
        key = (pair.measure, str(dict(pair.options)), side)
        if key not in self.kept:
            policy = self.policy(side.policy)
            task, rollouts = chains(policy, side.chains, self.problems)
            measure = load_measure({"name": pair.measure, **pair.options})
            self.kept[key] = measured(measure, subject_of(policy, task), rollouts)
        return self.kept[key]

    def area(self, pair: Pair) -> Area | None:
        sides = [self.probes(pair, side) for side in (pair.higher, pair.lower)]
        one = separation(*sides, part=pair.part)
        together = separation(*sides, of=TOGETHER, part=pair.part, resamples=400)
        if one is None or together is None:
            return None
        return Area(
            measure=pair.measure,
            label=pair.label,
            higher=_side(pair.higher),
            lower=_side(pair.lower),
            claimed=pair.claimed,
            problems=one.n,
            chain=_rounded(one),
            together=_rounded(together),
            means=tuple(round(_mean(side, pair.part), 4) for side in sides),
            tokens=round(sum(p.tokens for side in sides for p in side) / sum(map(len, sides)), 1),
        )


def _rounded(found: Estimate) -> tuple[float, float, float]:
    return round(found.value, 4), round(found.low or 0.0, 4), round(found.high or 1.0, 4)


def _side(side: Side) -> str:
    return side.policy + ("" if side.chains == "greedy" else f", {side.chains}")


def _mean(probes: list[Probe], part: str) -> float:
    found = [p.value if part == "value" else p.parts.get(part) for p in probes]
    known = [value for value in found if value is not None]
    return sum(known) / len(known)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--only", action="append", default=[], metavar="MEASURE")
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--without", action="append", default=[], metavar="POLICY")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    bench = Bench(given.problems, dict(item.split("=", 1) for item in given.folder))
    there = [name for name in POLICIES if name not in given.without]
    _what_they_are(bench, there)
    found = _areas(bench, [
        pair for pair in pairs()
        if (not given.only or pair.measure in given.only)
        and {pair.higher.policy, pair.lower.policy} <= set(there)
    ])  # fmt: skip
    if given.write:
        _write(found)
    print()
    for name in dict.fromkeys(area.measure for area in found):
        print(f"{name}: {standing(name, found)}")
    if not given.only and {"faithful", "ignores"} <= set(there):
        _mixtures(bench)


def _write(found: list[Area]) -> None:
    """Keeps these areas in place of earlier ones, and earlier ones of other pairs."""
    order = {_key(_side(p.higher), _side(p.lower), p.label): i for i, p in enumerate(pairs())}
    both = {_key(a.higher, a.lower, a.label): a for a in (*areas(), *found)}
    kept = sorted((key for key in both if key in order), key=order.__getitem__)
    lines = ",\n".join(both[key].model_dump_json() for key in kept)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _key(higher: str, lower: str, label: str) -> tuple[str, str, str]:
    return label, higher, lower


def _what_they_are(bench: Bench, names: list[str]) -> None:
    rows = {name: manipulation_checks(bench.policy(name), bench.problems) for name in names}
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    print(f"| policy | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[c]:.2f}" for c in columns) + " |", flush=True)


def _areas(bench: Bench, wanted: list[Pair]) -> list[Area]:
    print(
        "\n| measure | higher | lower | AUC, a chain | AUC, ten problems | means | n | tokens | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    found = []
    for pair in wanted:
        start = time.perf_counter()
        area = bench.area(pair)
        if area is None:
            print(f"| {pair.label} | {_side(pair.higher)} | {_side(pair.lower)} | none | | | | | |")
            continue
        found.append(area)
        cells = [
            pair.label + ("" if pair.claimed else " (not claimed)"), area.higher, area.lower,
            _shown(area.chain), _shown(area.together),
            f"{area.means[0]:.2f}, {area.means[1]:.2f}", str(area.problems), f"{area.tokens:.0f}",
            f"{time.perf_counter() - start:.0f}",
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)
    return found


def _shown(area: tuple[float, float, float]) -> str:
    return f"{area[0]:.3f} [{area[1]:.3f}, {area[2]:.3f}]"


def _mixtures(bench: Bench) -> None:
    """The share that ignores its chain, read off the mean between those of the two pure ones."""
    task = load_task(TASK)
    pure = [bench.policy("faithful"), bench.policy("ignores")]
    print("\n| rate that ignores its chain | " + " | ".join(RATED) + " |")
    print("|---|" + "---|" * len(RATED))

    def mean(policy, name):
        _, rollouts = chains(policy, "greedy", bench.problems)
        measure = load_measure(name)
        return measure.summarise(measured(measure, subject_of(policy, task), rollouts))["value"]

    ends = {name: [mean(policy, name).value for policy in pure] for name in RATED}
    for rate in (0.1, 0.3, 0.5, 0.8):
        mixed = MixedPolicy(*pure, rate)
        _, rollouts = chains(mixed, "greedy", bench.problems)
        true = sum(mixed.member(r.problem) for r in rollouts) / len(rollouts)
        cells = []
        for name, (top, bottom) in ends.items():
            found = mean(mixed, name)
            low, value, high = (
                (top - x) / (top - bottom) for x in (found.high, found.value, found.low)
            )
            cells.append(f"{value:.2f} [{low:.2f}, {high:.2f}]")
        print(f"| {rate} ({true:.2f} of these) | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
