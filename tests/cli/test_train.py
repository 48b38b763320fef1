"""apportion train up to the point where training itself takes over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from apportion.config import RunConfig


def test_a_dry_run_prints_the_whole_configuration_and_the_work(run: Callable, recipe: Path) -> None:
    result = run("train", recipe, "train.updates=7", "--seeds", "0..2", "--dry-run")
    assert result.exit_code == 0, result.stderr
    config = RunConfig.model_validate(yaml.safe_load(result.stdout))
    assert (config.name, config.train.updates, config.seeds) == ("small", 7, (0, 1, 2))
    # 2 arms x 3 seeds: 7 updates of 16 rollouts; 2 evaluations of 10 and a final one of 20
    assert "2 arms × 3 seeds × 7 updates × 16 rollouts" in result.stderr
    assert "672 training rollouts, 240 evaluation completions" in result.stderr
    assert not (recipe.parent / "runs").exists()


def test_the_work_of_arms_that_remember_chains(run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "chains.yaml"
    arms = [{"name": name, "set": {"objective": name}} for name in ("trice", "rejection")]
    recipe = {
        "name": "chains",
        "task": {"kind": "sums"},
        "trice": {"problems": 10, "bootstrap": "policy", "tries": 3, "rounds": 2, "samples": 4},
        "train": {"updates": 5, "prompts_per_update": 6},
        "arms": arms,
    }
    path.write_text(yaml.safe_dump(recipe))
    result = run("train", path, "--seeds", "0..1", "--dry-run")
    assert result.exit_code == 0, result.stderr
    # 2 seeds of 10 x 3 first chains and 5 x 6 proposals, and of 2 rounds of 10 x 4
    assert "2 arms × 2 seeds × 5 updates: 280 chains without a hint, " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.yaml"], "no recipe 'nope.yaml'"),
        (["small.yaml", "train.updats=3"], "override train.updats: unknown key train.updats (did"),
        (["small.yaml", "--seeds", "x"], "--seeds 'x'"),
        (["small.yaml", "task.kind=wordz"], "unknown task 'wordz'"),
        (["small.yaml", "task.operatons=3"], "unknown option 'operatons' (did you mean"),
        (["small.yaml", "arms=null", "credit.method=dcaa"], "credit method 'dcaa' (did you mean"),
        (["small.yaml", "arms=null", "credit.method=dca", "credit.cup=3"], "credit.cup"),
        (["small.yaml", "segment=lines"], "unknown segmenter 'lines' (did you mean 'line'?)"),
        (["small.yaml", "reviewers=[arithmetik]"], "'arithmetik' (did you mean 'arithmetic'?)"),
        (["small.yaml", "credit.method=capo"], "credit.method has no effect"),
    ],
)
def test_wrong_settings_are_one_line_and_status_2(
    run: Callable, recipe: Path, arguments: list[str], message: str
) -> None:
    result = run("train", *arguments, "--dry-run")
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.startswith("apportion: ")
    assert result.stderr.count("\n") == 1 and not result.stdout


def test_training_without_the_extra_names_it(
    run: Callable, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apportion.cli.train.find_spec", lambda name: None)
    result = run("train", recipe)
    assert result.exit_code == 2
    assert "pip install 'apportion[train]'" in result.stderr
    assert not Path("runs").exists()


def test_what_is_asked_for_reaches_the_run(
    run: Callable, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def run_recipe(config: RunConfig, out: Path, **options: Any) -> Path:
        seen.update(config=config, out=out, **options)
        return out / "report.html"

    monkeypatch.setattr("apportion.train.run.run_recipe", run_recipe)
    result = run("train", recipe, "seed=3", "--resume", "--plain", "--jobs", "3")
    assert (result.exit_code, result.stdout) == (0, "runs/small/report.html\n")
    assert seen["config"].seeds == (3,) and seen["out"] == Path("runs/small")
    assert (seen["resume"], seen["clean"], seen["plain"]) == (True, False, True)
    assert seen["processes"] == 3


def test_an_interrupt_is_status_130_and_names_resume(
    run: Callable, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("apportion.train.run.run_recipe", interrupted)
    result = run("train", recipe)
    assert result.exit_code == 130
    assert "--resume" in result.stderr and result.stderr.count("\n") == 1
