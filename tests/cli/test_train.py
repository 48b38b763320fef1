"""apportion train up to the point where training itself takes over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from apportion.config import RunConfig, resolve
from apportion.records import RunDirectory


def test_a_dry_run_prints_the_whole_configuration_and_the_work(run: Callable, recipe: Path) -> None:
    result = run("train", recipe, "train.updates=7", "--seeds", "0..2", "--dry-run")
    assert result.exit_code == 0, result.stderr
    config = RunConfig.model_validate(yaml.safe_load(result.stdout))
    assert (config.name, config.train.updates, config.seeds) == ("small", 7, (0, 1, 2))
    # 2 arms x 3 seeds: 7 updates of 16 rollouts; 2 evaluations of 10 and a final one of 20
    work = "2 arms × 3 seeds: 672 training rollouts, 240 evaluation completions"
    assert work in result.stderr
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
    assert "2 arms × 2 seeds: 280 proposed chains, " in result.stderr


@pytest.mark.parametrize(
    ("settings", "work"),
    [
        (["objective=sft"], "20 worked solutions, 30 evaluation completions"),
        (["objective=latent"], "20 answers, 30 evaluation"),
        (["objective=evolution", "evolution.population=6"], "30 perturbations, 120 perturbed comp"),
        (["objective=judge", "judge.updates=3", "judge.batch_size=4"], ": 12 planted chains\n"),
        (
            ["objective=warm_start", "warm_start.problems=9", "warm_start.epochs=1"],
            ": 9 worked solutions\n",
        ),
    ],
)
def test_the_work_of_an_objective_is_said_in_its_own_units(
    run: Callable, tmp_path: Path, settings: list[str], work: str
) -> None:
    path = tmp_path / "one.yaml"
    recipe = {
        "name": "one",
        "task": {"kind": "sums"},
        "train": {"updates": 5, "prompts_per_update": 4},
        "eval": {"every": 0, "problems": 10, "final_problems": 20, "samples": 0},
    }
    path.write_text(yaml.safe_dump(recipe))
    result = run("train", path, *settings, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert work in result.stderr


def test_a_run_is_resumed_by_its_folder(
    run: Callable, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def run_recipe(config: RunConfig, out: Path, **options: Any) -> Path:
        seen.update(config=config, out=out, **options)
        return out / "report.html"

    monkeypatch.setattr("apportion.train.run.run_recipe", run_recipe)
    config = resolve(str(recipe), [])
    folder = tmp_path / "mine"
    with RunDirectory(folder) as directory:
        directory.write_config(config.model_dump(mode="json"))
    result = run("train", folder)
    assert result.exit_code == 2 and "is a run: go on with it by --resume" in result.stderr
    result = run("train", folder, "--resume")
    assert result.exit_code == 0, result.stderr
    assert seen["out"] == folder and seen["resume"] is True and seen["config"] == config


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
