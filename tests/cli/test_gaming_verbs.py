"""``detect``, ``cost`` and ``distil`` as they are typed."""

import json
from pathlib import Path

import pytest

from apportion.tasks import load_task

TASK = load_task("words")


@pytest.fixture
def planted(tmp_path) -> Path:
    """Chains of ``words`` with planted errors, as traces from elsewhere."""
    rows = [
        {
            "prompt": problem.prompt,
            "completion": made.text,
            "answer": problem.answers[0],
            "outcome": TASK.score(problem, made.text),
        }
        for problem in TASK.problems("train", 40, 3)
        for made in TASK.corruptions(problem, 0)
    ]
    file = tmp_path / "planted.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def gamed(tmp_path) -> Path:
    file = tmp_path / "gamed.jsonl"
    completions = [
        "pens 3 * 4 = 12\nwait, let me verify 3 * 4 = 12\n#### 12",
        "pens 3 * 4 = 13\nno, 3 * 4 = 12\nokay, so\n#### 12",
    ]
    rows = [{"prompt": "3 boxes of 4 pens?", "completion": text} for text in completions]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_detect_shows_rates_and_examples(run, gamed):
    result = run("detect", gamed)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "2 traces"
    assert "performative: 25.0%" in result.output
    assert "caught_mistakes: 33.3%" in result.output
    assert any("let me verify" in line and "arrives at nothing" in line for line in lines)
    assert not any("let me verify" in line for line in run("detect", gamed, "--show", 0).output)


def test_detect_as_json(run, gamed):
    result = run("detect", gamed, "--json")
    report = json.loads(result.stdout)
    assert report["traces"] == 2
    assert report["rates"]["padding"]["value"] == pytest.approx(1 / 6)
    kinds = {finding["kind"] for finding in report["findings"]}
    assert kinds == {"performative", "padding", "caught_mistakes"}
    assert report["findings"][0]["steps"] == [1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--label", "good"], "use useful, irrelevant or harmful"),
        (["--label", "useful"], "say by which --policy"),
        (["--label", "useful", "--policy", "tiny"], "needs reviews and there are none"),
        (["--segment", "lines"], "unknown segmenter 'lines'"),
    ],
)
def test_detect_refuses_what_it_cannot_do(run, gamed, arguments, complaint):
    result = run("detect", gamed, *arguments)
    assert result.exit_code == 2
    assert complaint in result.output


def test_cost_of_offline_reviews(run, traces):
    assert run("review", traces, "-r", "arithmetic", "--out", "r").exit_code == 0
    result = run("cost", "r")
    assert result.exit_code == 0, result.output
    header, row = result.output.splitlines()[:2]
    assert header.split()[:3] == ["reviewer", "reviews", "failed"]
    assert row.split()[:5] == ["arithmetic", "3", "0", "0", "0"]
    report = json.loads(run("cost", "r", "--json").stdout)
    assert report["reviewers"][0]["per_credited_token"]["tokens"] == 0.0
    assert report["train_seconds"] is None


def test_cost_needs_reviews(run, traces):
    result = run("cost", traces.parent)
    assert result.exit_code == 2
    assert "name the directory of a run" in result.output


def test_distil_trains_measures_and_is_used(run, planted):
    pytest.importorskip("torch")
    assert run("review", planted, "-r", "arithmetic", "--out", "r").exit_code == 0
    result = run("distil", "r", "--out", "m", "--epochs", 15, "--task", "words",
                 "--teacher", "arithmetic", "-n", 10)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "learned from arithmetic" in result.output
    assert "step_model at threshold 0.500: TPR" in result.output
    assert "teacher: TPR" in result.output and "step_model, same FPR at threshold" in result.output
    report = json.loads(Path("m/report.json").read_text())
    assert report["planted_errors"]["step_model"]["youden"]["value"] > 0.4
    used = run("review", planted, "-r", "step_model:path=m", "--out", "again")
    assert used.exit_code == 0, used.output
    cost = json.loads(run("cost", "again", "--json").stdout)
    assert cost["reviewers"][0]["per_credited_token"]["seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--target", "answers"], "use reviews or outcome"),
        (["--teacher", "gold"], "say of which --task"),
        (["--reviewer", "llm"], "no review of 'llm', only of arithmetic"),
        ([], "too few to learn from"),
    ],
)
def test_distil_refuses_what_it_cannot_learn_from(run, traces, arguments, complaint):
    pytest.importorskip("torch")
    assert run("review", traces, "-r", "arithmetic", "--out", "r").exit_code == 0
    result = run("distil", "r", "--out", "m", *arguments)
    assert result.exit_code == 2
    assert complaint in result.output
    assert not Path("m").exists()


def test_distil_without_reviews_names_the_verb_to_run_first(run, traces):
    pytest.importorskip("torch")
    result = run("distil", traces, "--out", "m")
    assert result.exit_code == 2
    assert "first run 'apportion review'" in result.output
