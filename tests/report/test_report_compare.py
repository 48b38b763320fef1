"""Comparison of runs and the card of a run."""

import json

import pytest
import yaml
from rich.console import Console

from apportion.errors import UserError
from apportion.report import compare_runs, write_card
from apportion.trace import Problem, Rollout
from tests.report.embedded import data_of
from tests.report.synthetic import write_lines, write_stage_run, write_training_run


def _evaluated(path, arm, accuracies, n=100):
    """A run in which one evaluation is known for each seed."""
    for seed, value in accuracies.items():
        part = path / f"{arm}-s{seed}"
        part.mkdir(parents=True)
        lines = [
            {
                "update": u,
                "rollouts": 100 * u,
                "split": "validation",
                "metrics": {"eval/accuracy": m},
            }
            for u, m in [(0, {"value": 0.2, "n": n}), (10, {"value": value, "n": n})]
        ]
        write_lines(part / "metrics.jsonl", [json.dumps(line) for line in lines])
    return path


def _answered(path, outcomes, policy=""):
    rollouts = [
        Rollout(
            id=f"{policy}{problem}",
            problem=Problem(id=problem, prompt="?"),
            text="x",
            outcome=float(right),
            reasoning_end=0,
            policy=policy,
        )
        for problem, right in outcomes.items()
    ]
    path.mkdir(exist_ok=True)
    write_lines(path / "rollouts.jsonl", rollouts)
    return path


def test_arms_of_one_run_are_paired_by_seed(tmp_path):
    run = _evaluated(tmp_path / "run", "outcome", {0: 0.40, 1: 0.50, 2: 0.60, 7: 0.9})
    _evaluated(run, "dca", {0: 0.45, 1: 0.56, 2: 0.67, 8: 0.1})
    comparison = compare_runs([run])
    assert comparison.baseline == "outcome"
    [difference] = [d for d in comparison.differences if d.column == "accuracy"]
    assert (difference.other, difference.paired, difference.estimate.n) == ("dca", "seed", 3)
    assert difference.estimate.value == pytest.approx(0.06)
    # All three differ in the same direction: 2 of 8 sign patterns are as extreme.
    assert difference.test is not None and difference.test.p == pytest.approx(0.25)
    assert difference.adjusted == pytest.approx(0.25)
    assert difference.limit == "least possible 0.25"


def test_runs_are_named_by_directory_and_arm(tmp_path):
    a = _evaluated(tmp_path / "a", "dca", {0: 0.5})
    b = _evaluated(tmp_path / "b", "dca", {0: 0.6})
    _evaluated(b, "outcome", {0: 0.4})
    comparison = compare_runs([a, b])
    assert [row.name for row in comparison.table.rows] == ["b/outcome", "a", "b/dca"]
    assert comparison.baseline == "b/outcome"


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    runs = [_evaluated(tmp_path / d / "run", "dca", {0: 0.5}) for d in ("x", "y")]
    names = [row.name for row in compare_runs(runs).table.rows]
    assert names == [str(run) for run in runs]


def test_stages_are_paired_by_problem(tmp_path):
    first = {f"p{i}": i < 20 for i in range(40)}
    second = {f"p{i}": i < 32 for i in range(60)}
    a = _answered(tmp_path / "a", first)
    b = _answered(tmp_path / "b", second)
    comparison = compare_runs([a, b])
    difference = next(d for d in comparison.differences if d.column == "accuracy")
    assert (difference.paired, difference.estimate.n) == ("problem", 40)
    assert difference.estimate.value == pytest.approx(12 / 40)
    # Twelve problems changed, all to the better: McNemar's exact p is 2 / 2**12.
    assert difference.test is not None and difference.test.p == pytest.approx(2**-11)


def test_policies_of_one_stage_are_compared(tmp_path):
    path = tmp_path / "solutions"
    for policy, right in (("6b", 0), ("175b", 1)):
        _answered(path, {"p0": right, "p1": 1}, policy)
    comparison = compare_runs([path])
    assert [row.name for row in comparison.table.rows] == ["175b", "6b"]


def test_without_common_seeds_nothing_is_tested(tmp_path):
    run = _evaluated(tmp_path / "run", "outcome", {0: 0.4, 1: 0.5})
    _evaluated(run, "dca", {2: 0.6, 3: 0.7})
    difference = compare_runs([run]).differences[0]
    assert difference.test is None and difference.significance == "not tested"
    assert difference.of == "unpaired, at least 2 each"
    assert difference.estimate.value == pytest.approx(0.2)


def test_different_tasks_are_noted(tmp_path):
    runs = [_evaluated(tmp_path / name, "dca", {0: 0.5}) for name in ("a", "b")]
    for run, task in zip(runs, ("words", "gsm8k"), strict=True):
        (run / "config.yaml").write_text(f"task: {{kind: {task}}}")
    assert any("differ in task" in note for note in compare_runs(runs).notes)


def test_nothing_to_compare_is_refused(tmp_path):
    run = _evaluated(tmp_path / "run", "dca", {0: 0.5})
    with pytest.raises(UserError, match="nothing beside it"):
        compare_runs([run])
    with pytest.raises(UserError, match="at least one"):
        compare_runs([])


def test_text_and_page(tmp_path, training_run, stage_run):
    comparison = compare_runs([training_run, stage_run], tmp_path / "c.html", max_traces=40)
    assert comparison.page == tmp_path / "c.html"
    html = comparison.page.read_text(encoding="utf-8")
    assert "Differences to words_quickstart/outcome" in html
    data = data_of(comparison.page)
    assert {t["arm"] for t in data["traces"]} == {row.name for row in comparison.table.rows}
    assert len({t["id"] for t in data["traces"]}) == len(data["traces"])
    console = Console(width=160, record=True)
    with console.capture() as captured:
        console.print(comparison)
    assert "words_quickstart/dca" in captured.get() and "3 seeds" in captured.get()


def test_controls_are_dashed_in_a_comparison_of_runs_too(tmp_path):
    for name in ("a", "b"):
        run = _evaluated(tmp_path / name, "outcome", {0: 0.4, 1: 0.5})
        _evaluated(run, "shuffled", {0: 0.4, 1: 0.5})
    page = tmp_path / "page.html"
    compare_runs([tmp_path / "a", tmp_path / "b"], out=page)
    text = page.read_text()
    # Two controls, each with a key in a table, a thumbnail and the curves.
    assert text.count('dashed" d=') >= 4


def test_card(tmp_path):
    run = write_training_run(tmp_path / "run", seeds=2, problems=4, group=2)
    text = write_card(run, changed={"train.updates": 60}).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["command"] == ["apportion", "train", "recipes/words_quickstart.yaml"]
    assert facts["seeds"] == [0, 1]
    names = [result["name"] for result in facts["results"]]
    assert names == ["outcome", "capo", "dca", "shuffled"]
    assert facts["results"][0]["accuracy"]["of"] == "2 seeds × 200"
    assert "Does step credit teach" in body
    assert "train.updates: 60" in body
    assert "unpriced" in body
    assert "2 seeds: intervals over so few are narrow" in body
    assert "reviewers down" in body


def test_card_of_a_stage(tmp_path):
    text = write_card(write_stage_run(tmp_path / "stage", problems=3)).read_text(encoding="utf-8")
    assert "what the reviewers call wrong, not what is wrong" in text
    assert "| **stage**<br>12 traces |" in text


def test_card_keeps_names_from_being_markup(tmp_path):
    path = _answered(tmp_path / "s", {"p": 1}, "a|b*c")
    assert "a\\|b\\*c" in write_card(path).read_text(encoding="utf-8")
