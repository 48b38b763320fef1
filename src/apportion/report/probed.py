"""What interventions found in a chain, laid over the steps that the page shows.

Probes have a cut of their own. A shown step takes the figures of the probe's step that it shares
most characters with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apportion.report.data import Part, Run
from apportion.trace import Probe

# Measures whose figure of a step is what the answer loses without it, most direct first, and those
# whose figure of a step says how far it moves the answer, in their unit.
NECESSITY = ("step_deletion", "counterfactual", "resampling")
INFLUENCE = {
    "step_mediation": "in probability of the answer, by a wrong number in the step",
    "true_thinking": "on a scale of 0 to 1",
    "attention_suppression": "in nats, when the step cannot be looked at",
    "counterfactual": "in accuracy, when the step is another one",
}
# A step that is needed less than this is decoration: the threshold of step_deletion.
DECORATION = 0.1
MOST_ANSWERS = 4
MOST_ARCS = 60
_WEAKEST_ARC = 0.05


def probes_by_rollout(run: Run, part: Part) -> dict[str, dict[str, Probe]]:
    """The newest probe of each measure, by rollout."""
    found: dict[str, dict[str, Probe]] = {}
    for probe in run.read(part, "probes"):
        found.setdefault(probe.rollout_id, {})[probe.measure] = probe
    return found


def probed(
    probes: Mapping[str, Probe], shown: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The ``probed`` part of a trace as JSON, None without probes.

    ``measures`` are (name, value, error); ``strip`` the distribution of answers along the chain,
    a row for each cut; ``need`` what the answer loses without each shown step; ``moves`` arcs
    (from, to, effect) of each measure of influence, the answer being the last step.
    """
    if not probes:
        return None
    good = {name: probe for name, probe in probes.items() if probe.error is None}
    found: dict[str, Any] = {
        "measures": [
            [name, _round(probe.value), _brief(probe.error)] for name, probe in probes.items()
        ],
        "scoring": sorted({probe.scoring for probe in good.values()}),
    }
    strip = _strip(good, shown)
    if strip is not None:
        found["strip"] = strip
    need = next((name for name in NECESSITY if name in good and good[name].by_step), None)
    if need is not None:
        at = places(good[need].steps, shown)
        values = [None if k < 0 else _round(good[need].by_step[k]) for k in at]
        found["need"] = {"by": need, "steps": values, "least": DECORATION}
    moves = [_moves(name, good[name], shown) for name in INFLUENCE if name in good]
    found["moves"] = [move for move in moves if move["arcs"]]
    return found


def places(steps: Sequence[tuple[int, int]], shown: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each shown step the probe's step that it shares most characters with, -1 for none."""
    found, first = [], 0
    for one in shown:
        while first < len(steps) and steps[first][1] <= one["a"]:
            first += 1
        best, shared, k = -1, 0, first
        while k < len(steps) and steps[k][0] < one["b"]:
            common = min(one["b"], steps[k][1]) - max(one["a"], steps[k][0])
            if common > shared:
                best, shared = k, common
            k += 1
        found.append(-1 if one.get("status") == "answer" else best)
    return found


def _shown_at(steps: Sequence[tuple[int, int]], shown: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each of the probe's steps the shown step that holds most of it, -1 for none."""
    wrapped = [{"a": a, "b": b} for a, b in steps]
    return places([(one["a"], one["b"]) for one in shown], wrapped)


def _strip(good: Mapping[str, Probe], shown: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """From forced answers, else sampled ones, else the early answers, which know one answer."""
    for name in ("forced_answer", "resampling", "early_answering"):
        probe = good.get(name)
        table = None if probe is None else _table(probe)
        if probe is None or table is None:
            continue
        answers, rows = table
        kept = sorted(range(len(answers)), key=lambda k: (k > 0, -max(row[k] for row in rows)))
        kept = kept[:MOST_ANSWERS]
        at = _shown_at(probe.steps, shown)
        cuts = _cuts(probe, len(rows))
        return {
            "by": name,
            "answers": [_brief(answers[k]) for k in kept],
            "rows": [[_round(row[k]) for k in kept] for row in rows],
            "tops": [_top(probe, answers, row, k) for k, row in enumerate(rows)],
            "at": [_round(share) for share, _ in cuts],
            # The shown step behind which the answer was asked for; -1 before the first.
            "after": [at[step - 1] if step else -1 for _, step in cuts],
        }
    return None


def _top(probe: Probe, answers: Sequence[str], row: Sequence[float], cut: int) -> list[Any]:
    """The likeliest answer of a cut, which may be none of those that are drawn, and its share,
    None where the record has it not."""
    stated = probe.answers[cut] if cut < len(probe.answers) else None
    if stated is not None and stated not in answers:
        return [_brief(stated), None]
    best = max(range(len(row)), key=lambda k: row[k])
    return [_brief(answers[best]), _round(row[best])]


def _table(probe: Probe) -> tuple[list[str], list[list[float]]] | None:
    """Answers, the chain's own first, and their shares at each cut; None where it has none."""
    answers, rows = probe.meta.get("answers"), probe.meta.get("distribution")
    if probe.measure == "resampling":
        counts = probe.meta.get("counts") or []
        rows = [[n / (sum(row) or 1) for n in row] for row in counts]
    if probe.measure == "early_answering":
        answers, rows = ["its own answer"], [[y] for _, y in probe.curve]
    if not answers or not rows or any(len(row) != len(answers) for row in rows):
        return None
    return [str(answer) for answer in answers], rows


def _cuts(probe: Probe, rows: int) -> list[tuple[float, int]]:
    """(share of the chain, number of its steps) at each cut."""
    count = len(probe.steps)
    shares = [x for x, _ in probe.curve] if len(probe.curve) == rows else []
    shares = shares or [k / max(rows - 1, 1) for k in range(rows)]
    return [(share, min(count, round(share * count))) for share in shares]


def _moves(name: str, probe: Probe, shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Arcs to the answer, and between steps where the measure has them, the strongest only."""
    at = _shown_at(probe.steps, shown)
    last = len(shown) - 1
    arcs: dict[tuple[int, int], float] = {}
    if shown and shown[last].get("status") == "answer":
        for k, value in enumerate(probe.by_step):
            if value is not None and 0 <= at[k] < last:
                _keep(arcs, (at[k], last), value)
    for i, row in enumerate(probe.meta.get("influence") or []):
        for j, value in enumerate(row[:i]):
            if value is not None and 0 <= at[j] < at[i]:
                _keep(arcs, (at[j], at[i]), value)
    strongest = max(map(abs, arcs.values()), default=0.0)
    kept = sorted(arcs.items(), key=lambda item: -abs(item[1]))[:MOST_ARCS]
    return {
        "by": name,
        "unit": INFLUENCE[name],
        "strongest": _round(strongest),
        "arcs": [
            [*ends, _round(value)]
            for ends, value in kept
            if abs(value) >= _WEAKEST_ARC * strongest and round(value, 3)
        ],
    }


def _keep(arcs: dict[tuple[int, int], float], ends: tuple[int, int], value: float) -> None:
    if abs(value) > abs(arcs.get(ends, 0.0)):
        arcs[ends] = value


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _brief(text: str | None) -> str | None:
    return text if text is None or len(text) <= 200 else text[:200] + " …"
