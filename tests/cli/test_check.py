"""apportion check and compare."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.review.llm_prompt import PROMPT_FOLDER
from tests.review.endpoint import MARK, Answer, judged, says, serving


def test_a_task_that_scores_itself_rightly_is_fit(run: Callable) -> None:
    result = run("check", "task", "words:operations=[2,3]", "-n", "20")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "words: fit, 20 problems tried"
    assert "#### " in result.stdout  # an example with its gold solution
    assert run("check", "task", "wrods").exit_code == 2


def test_a_task_that_complains_of_itself_is_unfit(
    run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apportion.tasks.words.Words.score", lambda self, problem, text: 0.0)
    result = run("check", "task", "words", "-n", "3")
    assert result.exit_code == 1
    assert "the gold solution scores 0.0" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("words: unfit, ")


def test_a_recipe_is_checked_without_training(run: Callable, recipe: Path) -> None:
    result = run("check", "config", recipe)
    assert result.exit_code == 0
    assert result.stdout.startswith("small: fit. 2 arms × 2 seeds")
    assert run("check", "config", recipe, "segment=lines").exit_code == 2


def test_an_exact_reviewer_is_fit_and_its_opposite_is_not(run: Callable) -> None:
    exact = run("check", "reviewer", "gold", "-n", "10")
    assert exact.exit_code == 0, exact.output
    assert exact.stdout.splitlines()[-1] == "fit to train on"
    assert "Youden J" in exact.stdout
    harmful = run("check", "reviewer", "noisy:inner=gold,tpr=0.1,fpr=0.6", "-n", "10")
    assert harmful.exit_code == 1
    assert "unfit to train on: reviewer 'noisy'" in harmful.stdout.splitlines()[-1]


def test_a_reviewer_is_measured_on_labelled_traces(run: Callable, traces: Path) -> None:
    labels = [
        {"rollout_id": "traces-1", "step": 0, "label": "useful", "correct": True},
        {"rollout_id": "traces-2", "step": 0, "label": "harmful"},
        {"rollout_id": "traces-3", "step": 0, "label": "harmful"},
        {"rollout_id": "traces-3", "step": 1, "label": "useful", "correct": True},
    ]
    Path("labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
    command = ["check", "reviewer", "arithmetic", "--traces", traces]
    result = run(*command, "--labels", "labels.jsonl")
    assert result.exit_code == 0, result.output
    assert "Youden J             1.000" in result.stdout
    assert run(*command).exit_code == 2
    Path("labels.jsonl").write_text(json.dumps(labels[0] | {"rollout_id": "else"}) + "\n")
    missing = run(*command, "--labels", "labels.jsonl")
    assert missing.exit_code == 2 and "labels none of the traces" in missing.stderr


def _judges_by_prompt(request: dict, number: int) -> Answer:
    """Calls what does not add up wrong under the prompt ``strict``, and nothing otherwise."""
    strict = "strict" in request["messages"][0]["content"]
    shown = MARK.search(request["messages"][1]["content"])
    assert shown is not None
    steps = re.findall(r"^\[\d+\] .*?(\d+) (.) (\d+) = (\d+)$", shown[2], re.MULTILINE)
    labels = {}
    for step, (a, op, b, result) in enumerate(steps):
        a, b = int(a), int(b)
        value = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[op]
        labels[step] = "harmful" if strict and value != int(result) else "useful"
    return says(judged(labels))


def test_the_effect_of_a_prompt_is_shown(run: Callable, tmp_path: Path) -> None:
    strict = PROMPT_FOLDER / "steps.md"
    Path(tmp_path / "strict.md").write_text(strict.read_text().replace("You review", "Be strict."))
    with serving(_judges_by_prompt) as server:
        command = ["check", "reviewer", f"llm:m@{server.url}", "-n", "4"]
        both = [*command, "--prompt", "steps", "--prompt", "strict.md", "--cache", "c.sqlite"]
        text = run(*both)
        asked = len(server.requests)
        found = run(*both, "--json")
        one = run(*command, "--prompt", "strict.md", "--json", "--cache", "c.sqlite")
    assert text.exit_code == 1, "the first prompt sees nothing"
    assert len(server.requests) == asked, "the second time it is free"
    lines = text.stdout.splitlines()
    assert lines[-1] == "strict.md: fit to train on"
    assert lines[-2].startswith("steps: unfit to train on: ")
    data = json.loads(found.stdout)
    assert [result["prompt"] for result in data["prompts"]] == ["steps", "strict.md"]
    assert data["prompts"][0]["report"]["tpr"]["value"] == 0.0
    assert data["prompts"][1]["change"]["tpr"]["value"] > 0.2
    assert data["prompts"][1]["change"]["fpr"]["value"] == 0.0
    assert "unfit" in found.stderr
    assert one.exit_code == 0
    assert json.loads(one.stdout)["tpr"] == data["prompts"][1]["report"]["tpr"]


def test_a_reviewer_without_a_prompt_refuses_one(run: Callable) -> None:
    result = run("check", "reviewer", "gold", "--prompt", "steps")
    assert result.exit_code == 2
    assert "reviewer gold: unknown option 'prompt'" in result.stderr
    result = run("check", "reviewer", "llm:m@http://127.0.0.1:1/v1", "--prompt", "stpes")
    assert result.exit_code == 2 and "did you mean 'steps'" in result.stderr


@pytest.mark.parametrize("arguments", [["check"], ["check", "nothing"], []])
def test_an_incomplete_command_shows_how(run: Callable, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and "Usage" in result.output


def test_runs_are_compared(run: Callable, traces: Path) -> None:
    for name, segmenter in (("a", "line"), ("b", "whole")):
        done = run("review", traces, "-r", "arithmetic", "--segment", segmenter, "--out", name)
        assert done.exit_code == 0
    result = run("compare", "a", "b", "--out", "both.html")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "both.html" and Path("both.html").is_file()
    assert "Accuracy" in result.stdout
    for arguments in (["a", "nowhere"], ["a"]):
        refused = run("compare", *arguments)
        assert refused.exit_code == 2 and refused.stderr.startswith("apportion: ")
