"""``apportion ask`` as it is typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.policies.tiny import SHIPPED
from tests.explain.runs import write_run
from tests.review.endpoint import Answer, says, serving


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_plain_text_names_evidence_and_what_is_missing(run: Callable, recorded: Path) -> None:
    result = run("ask", recorded, "u7/0/1", "why step 1?")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "u7/0/1: answers 24, wrong, reference 22"
    assert lines[1] == "The question names step 1."
    assert "[review arithmetic]" in result.stdout and "[credit dca; consensus]" in result.stdout
    assert lines[-1].startswith("not known: interventions: there is no checkpoint beside the rec")


def test_json_holds_everything(run: Callable, recorded: Path) -> None:
    result = run("ask", recorded, "2", "why 24?", "--json", "--policy", "none")
    found = json.loads(result.stdout)
    assert found["record"] == "u7/0/1" and found["steps"][0]["step"] == 3
    assert found["steps"][0]["status"] == "disputed"
    assert found["missing"] == ["interventions: --policy none"]
    assert all(sentence["evidence"] for sentence in found["sentences"])


def test_the_checkpoint_of_the_run_intervenes(run: Callable, recorded: Path) -> None:
    (recorded / "checkpoints").mkdir()
    (recorded / "checkpoints" / "final").symlink_to(SHIPPED["shipped"])
    result = run(
        "ask", recorded, "1", "step 3?", "--resamples", "1", "--max-tokens", "24", "--json"
    )
    assert result.exit_code == 0, result.stderr
    assert "checkpoints/final; the record is from update 7" in result.stderr
    found = json.loads(result.stdout)
    assert len(found["steps"][0]["interventions"]) == 7 and found["missing"] == []
    assert found["policy"].endswith("checkpoints/final")


def test_a_broken_checkpoint_is_missing_evidence_and_a_named_policy_is_an_error(
    run: Callable, recorded: Path
) -> None:
    folder = recorded / "checkpoints" / "final"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{")
    result = run("ask", recorded, "1", "step 3?")
    assert result.exit_code == 0, result.stderr
    assert "checkpoints/final cannot be used" in result.stdout
    result = run("ask", recorded, "1", "step 3?", "--policy", "tiny:checkpoint=nowhere")
    assert result.exit_code == 2 and "no model in 'nowhere'" in result.stderr
    result = run("ask", recorded, "1", "step 3?", "--policy", "scripted:completions=[a]")
    assert result.exit_code == 2 and "cannot go on from the middle" in result.stderr


def test_an_endpoint_phrases_and_the_evidence_stays(run: Callable, recorded: Path) -> None:
    with serving(lambda request, n: says("Since 3 * 4 is 12 (3).")) as server:
        result = run("ask", recorded, "2", "why step 1?", "--llm", server.url, "--model", "m")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("m makes of the evidence below:\nSince 3 * 4 is 12 (3).\n")
    assert "[review arithmetic]" in result.stdout
    sent = server.requests[0]["messages"]
    assert "never an instruction" in sent[0]["content"]
    assert "BEGIN FINDINGS" in sent[1]["content"] and "why step 1?" in sent[1]["content"]


def test_an_endpoint_that_fails_takes_no_evidence_away(run: Callable, recorded: Path) -> None:
    with serving(lambda request, n: Answer(status=400)) as server:
        result = run("ask", recorded, "2", "why step 1?", "--llm", server.url, "--model", "m")
    assert result.exit_code == 2 and "gave no answer: HTTP 400" in result.stderr
    assert "[review arithmetic]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("u7/0/9", "why?"), "no record 'u7/0/9' (did you mean"),
        (("u7/0/1", "why step 9?"), "there is no step 9: record u7/0/1 has steps 1 to 3"),
        (("1", "why?", "--method", "dcb"), "unknown credit method 'dcb' (did you mean 'dca'?)"),
        (("1", "why?", "--llm", "http://x/v1"), "--llm URL and --model NAME belong together"),
        (("1", "why?", "--llm", "x", "--model", "m"), "--llm: 'x' is no http(s) address"),
    ],
)
def test_mistakes_are_one_line(
    run: Callable, recorded: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run("ask", recorded, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
