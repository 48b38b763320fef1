"""Signal per rollout and train-test gap of arms, from records made by hand."""

import json

import pytest
from rich.console import Console

from apportion.report import compare_runs
from apportion.report.signals import per_rollout, signals
from tests.report.test_bet import arms_of, write_arm


def write(run, arm, seed, cosines, gap=None, size=8):
    part = run / f"{arm}-s{seed}"
    lines = [
        {
            "update": update,
            "rollouts": update * size,
            "split": "train",
            "metrics": {"train/gradient_cosine": cosine},
        }
        for update, cosine in enumerate(cosines, 1)
    ]
    if gap is not None:
        metrics = {"gap/accuracy": {"value": gap}, "gap/trained_accuracy": {"value": 0.5 + gap}}
        lines.append({"update": 9, "rollouts": 72, "split": "test", "metrics": metrics})
    with (part / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def test_signal_by_hand():
    # |G|^2 = 4, tr(S) = 96: over 8 rollouts the noise is 12, the cosine 4 / 16.
    assert per_rollout(4 / 16, 8) == pytest.approx(4 / 96)
    assert per_rollout(0.0, 8) == 0.0 and per_rollout(1.0, 8) == float("inf")


def test_a_row_for_each_arm(tmp_path):
    points = [(0, 0.1), (20, 0.5)]
    write_arm(tmp_path, "rl", {0: points, 1: points})
    write_arm(tmp_path, "es", {0: points})
    for seed in (0, 1):
        write(tmp_path, "rl", seed, [0.1, 0.3], gap=0.25)
    found = signals(arms_of(tmp_path))
    assert found is not None
    rl, es = (next(row for row in found.rows if row.arm == arm) for arm in ("rl", "es"))
    assert rl.cosine.value == pytest.approx(0.2)
    assert rl.signal.value == pytest.approx(0.2 / (8 * 0.8))
    assert rl.rollouts == 8 and rl.gap.value == pytest.approx(0.25)
    assert rl.trained.value == pytest.approx(0.75)
    assert es.cells == ("–",) * 5
    page = tmp_path / "page.html"
    console = Console(width=200, record=True)
    console.print(compare_runs([tmp_path], page))
    assert "signal per rollout" in console.export_text()
    assert "Signal and gap" in page.read_text() and "+0.250" in page.read_text()


def test_nothing_measured_nothing_shown(tmp_path):
    write_arm(tmp_path, "rl", {0: [(0, 0.1), (20, 0.5)]})
    assert signals(arms_of(tmp_path)) is None
