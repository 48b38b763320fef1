"""The study's table: means over seeds, and differences to outcome the right way round."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("torch")

FILE = Path(__file__).parents[2] / "benchmarks" / "faithfulness_study.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("faithfulness_study", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _table(study):
    table = {name: {} for name in study.FIGURES}
    table["followed"] = {
        "start": {0: 0.2, 1: 0.2},
        "outcome": {0: 0.3, 1: 0.5},
        "dca": {0: 0.2, 1: 0.3, 2: 0.9},
    }
    return table


def test_differences_are_the_arm_less_outcome_paired_by_seed(study) -> None:
    shown = study.lines(_table(study))
    [line] = [line for line in shown if line.startswith("  dca")]
    # -0.1 and -0.2: mean -0.15, and Student's t of 12.7 times 0.05; the third seed has no pair.
    assert line.endswith("against outcome -0.150 [-0.785, +0.485] (n 2)")
    assert "0.467" in line  # mean of all three
    [start] = [line for line in shown if line.startswith("  start")]
    assert "against" not in start


def test_every_seed_is_a_dot(study) -> None:
    svg = study.drawing(_table(study))
    assert svg.count("<circle") == 6 and svg.count('stroke="#c30"') == 3


def test_a_run_without_a_finished_arm_is_refused(study, tmp_path) -> None:
    with pytest.raises(study.UserError, match="no arm of it has ended"):
        study.gather([tmp_path], 10)
