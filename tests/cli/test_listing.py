"""What ships: apportion ls and cp."""

from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.credit import METHODS
from apportion.segment import SEGMENTERS
from apportion.tasks import TASKS


@pytest.mark.parametrize(
    ("kind", "names"),
    [("tasks", TASKS), ("methods", METHODS), ("segmenters", SEGMENTERS)],
)
def test_every_name_is_listed_with_its_meaning(run: Callable, kind: str, names: dict) -> None:
    result = run("ls", kind)
    assert result.exit_code == 0
    rows = dict(line.split("\t") for line in result.stdout.splitlines())
    assert list(rows) == list(names)
    assert all(len(meaning) > 10 for meaning in rows.values())


def test_everything_is_listed_under_headings(run: Callable) -> None:
    lines = run("ls").stdout.splitlines()
    headings = [line.rstrip(":") for line in lines if line and not line.startswith(" ")]
    assert {"tasks", "reviewers", "methods", "recipes", "segmenters"} <= set(headings)
    assert any(line.startswith("  words\t") for line in lines)


def test_an_unknown_kind_is_one_line_and_status_2(run: Callable) -> None:
    result = run("ls", "reviewer")
    assert result.exit_code == 2
    assert result.stderr.startswith("apportion: nothing called 'reviewer' to list (did you mean")
    assert result.stderr.count("\n") == 1 and not result.stdout


def test_a_recipe_is_copied_and_never_over_another_file(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "quick.yaml").write_text("name: quick\nquestion: Does it help?\n")
    monkeypatch.setattr("apportion.config.recipes.recipe_folder", lambda: shipped)
    assert run("ls", "recipes").stdout == "quick\tDoes it help?\n"
    result = run("cp", "quick")
    assert (result.exit_code, result.stdout) == (0, "quick.yaml\n")
    assert (tmp_path / "quick.yaml").read_text() == (shipped / "quick.yaml").read_text()
    again = run("cp", "quick")
    assert again.exit_code == 2 and "quick.yaml exists" in again.stderr
    assert run("cp", "quick", "mine.yaml").exit_code == 0
    assert run("cp", "recipes/quick.yaml", "nowhere/x.yaml").exit_code == 2
    unknown = run("cp", "qick")
    assert unknown.exit_code == 2 and "did you mean 'quick'" in unknown.stderr
