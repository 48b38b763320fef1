"""Arms at equal cost, from records made by hand."""

import json

import pytest
from rich.console import Console

from apportion.report import compare_runs
from apportion.report.bet import accuracy_at, bet, cost_curve, mean_until
from apportion.report.data import load_run


def write_arm(run, arm, curves, tokens=1.0):
    """``curves``: by seed, (examples, accuracy) of each evaluation; a FLOP is a tenth example."""
    for seed, points in curves.items():
        part = run / f"{arm}-s{seed}"
        part.mkdir(parents=True)
        lines = [
            {
                "update": number,
                "rollouts": int(x),
                "split": "validation",
                "metrics": {
                    "eval/accuracy": {"value": y, "n": 100},
                    "cost/examples": x,
                    "cost/generated_tokens": tokens * x,
                    "cost/flops": 10.0 * x,
                },
            }
            for number, (x, y) in enumerate(points)
        ]
        (part / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def arms_of(run):
    loaded = load_run(run)
    return {arm: loaded.parts_of(arm) for arm in loaded.arms}


def axis(found, name):
    return next(axis for axis in found.axes if axis.name == name)


def test_curves_are_read_between_and_averaged_from_nothing():
    curve = [(10.0, 0.2), (30.0, 0.6)]
    assert accuracy_at(curve, 20) == pytest.approx(0.4)
    assert accuracy_at(curve, 5) == pytest.approx(0.2)
    # 10 x 0.2, then from 0.2 to 0.4 over 10, over 20.
    assert mean_until(curve, 20) == pytest.approx((2.0 + 3.0) / 20)


def test_the_best_at_the_common_cost_wins_if_clear(tmp_path):
    # At 20 examples, where "short" ends: fast 0.5, 0.6, 0.7; short 0.3, 0.4, 0.6.
    write_arm(
        tmp_path, "fast", {s: [(0, 0.1), (20, y), (40, 0.2)] for s, y in enumerate((0.5, 0.6, 0.7))}
    )
    write_arm(tmp_path, "short", {s: [(0, 0.1), (20, y)] for s, y in enumerate((0.38, 0.5, 0.6))})
    found = bet(arms_of(tmp_path))
    assert found is not None
    examples = axis(found, "examples")
    assert examples.common == 20
    assert [s.arm for s in examples.standings] == ["fast", "short"]
    assert examples.standings[0].final == pytest.approx(0.2)
    # Differences 0.12, 0.1, 0.1: mean 0.1067, t(2) = 4.303, sd 0.01155.
    margin = examples.margin
    assert margin is not None and margin.value == pytest.approx(0.32 / 3)
    assert margin.low == pytest.approx(0.32 / 3 - 4.3027 * 0.011547 / 3**0.5, abs=1e-4)
    assert examples.winner == "fast"
    assert axis(found, "FLOPs").common == 200


def test_a_lead_within_its_interval_is_undecided(tmp_path):
    write_arm(tmp_path, "a", {s: [(0, 0.1), (20, y)] for s, y in enumerate((0.5, 0.9, 0.7))})
    write_arm(tmp_path, "b", {s: [(0, 0.1), (20, y)] for s, y in enumerate((0.6, 0.4, 0.7))})
    found = bet(arms_of(tmp_path))
    assert found is not None
    assert [axis.winner for axis in found.axes] == [None, None, None]
    assert "undecided, a leads b" in axis(found, "examples").verdict


def test_one_seed_decides_nothing(tmp_path):
    write_arm(tmp_path, "a", {0: [(0, 0.1), (20, 0.9)]})
    write_arm(tmp_path, "b", {0: [(0, 0.1), (20, 0.2)]})
    found = bet(arms_of(tmp_path))
    assert found is not None and axis(found, "examples").winner is None
    assert "single seed" in axis(found, "examples").verdict


def test_who_generates_nothing_is_named_and_left_out(tmp_path):
    write_arm(tmp_path, "a", {s: [(0, 0.1), (20, 0.5)] for s in range(3)})
    write_arm(tmp_path, "b", {s: [(0, 0.1), (20, 0.4)] for s in range(3)})
    write_arm(tmp_path, "sft", {s: [(0, 0.1), (20, 0.9)] for s in range(3)}, tokens=0.0)
    found = bet(arms_of(tmp_path))
    assert found is not None
    tokens = axis(found, "generated tokens")
    assert tokens.unpaid == ("sft",) and tokens.common == 20 and tokens.winner == "a"
    assert axis(found, "FLOPs").winner == "sft"


def test_compare_prints_it_and_old_records_have_none(tmp_path):
    write_arm(tmp_path / "run", "a", {s: [(0, 0.1), (20, 0.5)] for s in range(3)})
    write_arm(tmp_path / "run", "b", {s: [(0, 0.1), (20, 0.4)] for s in range(3)})
    console = Console(width=200, record=True, quiet=False)
    console.print(compare_runs([tmp_path / "run"]))
    assert "Per FLOPs: a wins, +0.100" in console.export_text()
    for file in (tmp_path / "run").glob("*/metrics.jsonl"):
        file.write_text(file.read_text().replace("cost/", "was/"))
    assert bet(arms_of(tmp_path / "run")) is None
    assert cost_curve(arms_of(tmp_path / "run")["a"][0], "cost/flops", "validation") == []
