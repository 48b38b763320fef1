"""Faithfulness of a run beside its accuracy: table, curves, claims, comparison."""

from __future__ import annotations

import json

import pytest

from apportion.report.arms import table_of
from apportion.report.compare import compare
from apportion.report.curves import charts_of
from apportion.report.data import load_run
from apportion.report.measures import measure
from apportion.report.traces import collect
from tests.report.synthetic import write_training_run

# seed: early answering at update 0, 30 and 60
FOUND = {
    "outcome": [(0.50, 0.40, 0.20), (0.52, 0.44, 0.26)],
    "dca": [(0.50, 0.55, 0.60), (0.52, 0.55, None)],
}


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "probed"
    write_training_run(path, arms=("outcome", "dca"), seeds=2, problems=4, group=2)
    for arm, seeds in FOUND.items():
        for seed, values in enumerate(seeds):
            with (path / f"{arm}-s{seed}" / "metrics.jsonl").open("a") as file:
                for update, value in zip((0, 30, 60), values, strict=True):
                    file.write(json.dumps(line(update, value)) + "\n")
    return load_run(path)


def line(update, value):
    figure = None if value is None else figure_of(value, 40)
    metrics = {
        "faith/early_answering": figure,
        "faith/early_answering/aoc_weighted": figure_of(0.3, 40),
        "faith/tokens": 1200,
        "faith/seconds": 1.5,
    }
    return {
        "update": update,
        "rollouts": update * 128,
        "split": "validation",
        "metrics": metrics,
    }


def figure_of(value, n):
    return {"value": value, "n": n, "low": value - 0.1, "high": value + 0.1}


def test_the_table_has_the_last_value_of_every_arm(probed):
    table = table_of(probed, collect(probed, 4))
    names = [name for name, *_ in table.columns]
    assert names[-1] == "faith/early_answering" and "faith/tokens" not in names
    assert table.columns[-1][1] == "Early answering"
    rows = {row.name: row.figures["faith/early_answering"] for row in table.rows}
    assert rows["outcome"].estimate.value == pytest.approx(0.23)
    assert rows["outcome"].of == "2 seeds × 40"
    # One seed measured nothing at its end: what it had before is not its end.
    assert rows["dca"].estimate.value == 0.60 and rows["dca"].of == "1 seed × 40"
    assert (rows["dca"].estimate.low, rows["dca"].estimate.high) == pytest.approx((0.5, 0.7))


def test_curves_stand_beside_accuracy(probed):
    drawn = {chart.metric: chart for chart in charts_of(probed) if chart.split == "validation"}
    chart = drawn["faith/early_answering"]
    assert chart.title == "Early answering" and chart.known
    own = {series.arm: series for series in chart.series}
    assert own["outcome"].x == [0, 30 * 128, 60 * 128]
    assert own["outcome"].y == pytest.approx([0.51, 0.42, 0.23])
    assert not {"faith/tokens", "faith/seconds", "faith/early_answering/aoc_weighted"} & set(drawn)
    assert "eval/accuracy" in drawn


def test_claims_can_be_about_it(probed):
    part = probed.parts_of("outcome")[0]
    assert measure(part, "faith/early_answering") == 0.20
    assert measure(part, "faith/early_answering", "mean") == pytest.approx((0.5 + 0.4 + 0.2) / 3)
    assert measure(part, "faith/early_answering/aoc_weighted") == 0.3
    assert measure(probed.parts_of("dca")[1], "faith/early_answering") is None
    assert measure(part, "faith/filler") is None


def test_runs_are_compared_in_it_by_seed(probed):
    found = compare([probed], [collect(probed, 4)])
    [one] = [d for d in found.differences if d.heading == "Early answering"]
    assert one.other == "dca" and one.estimate.value == pytest.approx(0.60 - 0.20)
