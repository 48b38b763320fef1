"""apportion verdicts: the table, the JSON, several runs, and claims that came late."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.test_claims import DCA, OUTCOME, claim, write_run


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return write_run(tmp_path / "trained", {"outcome": OUTCOME, "dca": DCA}, claims=[claim()])


def test_a_table_and_the_file_beside_the_run(run: Callable, trained: Path) -> None:
    result = run("verdicts", trained)
    assert result.exit_code == 0, result.stderr
    assert "✓ confirmed" in " ".join(result.stdout.split())
    assert "Student's t over paired seeds" in result.stdout
    stored = json.loads((trained / "verdicts.json").read_text())
    assert stored["verdicts"][0]["verdict"] == "confirmed" and stored["registered"]


def test_json_is_what_the_file_holds(run: Callable, trained: Path) -> None:
    result = run("verdicts", trained, "--json")
    assert json.loads(result.stdout) == json.loads((trained / "verdicts.json").read_text())


def test_several_runs_are_pooled_and_none_is_written_to(run: Callable, tmp_path: Path) -> None:
    runs = []
    for name, seeds in (("a", (0, 1)), ("b", (2, 3, 4))):
        arms = {arm: {s: of[s] for s in seeds} for arm, of in (("outcome", OUTCOME), ("dca", DCA))}
        runs.append(write_run(tmp_path / name, arms, claims=[claim()]))
    result = run("verdicts", *runs, "--json")
    (verdict,) = json.loads(result.stdout)["verdicts"]
    assert (verdict["verdict"], verdict["seeds"]) == ("confirmed", 5)
    assert not any((path / "verdicts.json").exists() for path in runs)


def test_claims_of_another_recipe_are_marked(run: Callable, trained: Path) -> None:
    recipe = trained.parent / "late.yaml"
    recipe.write_text(
        "arms: [{name: outcome}, {name: dca}]\n"
        "claims:\n  - {name: late, text: Late., measure: final_accuracy, arm: dca, against: 0.9,"
        " expect: less}\n"
    )
    result = run("verdicts", trained, "--claims", recipe)
    assert "not those that the runs registered" in " ".join(result.stdout.split())
    assert not (trained / "verdicts.json").exists()
    stored = json.loads(run("verdicts", trained, "--claims", recipe, "--json").stdout)
    assert stored["registered"] is False and stored["verdicts"][0]["claim"]["name"] == "late"


def test_a_run_without_claims_is_one_line(run: Callable, tmp_path: Path) -> None:
    bare = write_run(tmp_path / "bare", {"dca": DCA})
    result = run("verdicts", bare)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "its recipe makes no claims" in result.stderr and result.stderr.count("\n") == 1
    assert run("verdicts", tmp_path / "nowhere").exit_code == 2
