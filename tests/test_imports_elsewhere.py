"""Traces of other tools: thought-anchors, verifiers, Inspect."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from apportion import UserError
from apportion.imports import read_traces

WAIT = "Wait, 3 * 4 = 12."
SOLUTION = f"{WAIT} Then 12 + 1 = 13. {WAIT} So 13.\n</think>\n\n\\boxed{{13}}"


def anchors(folder: Path, **changes: Any) -> Path:
    files = {
        "problem": {"problem": "How many?", "level": "Level 5", "gt_answer": "13"},
        "base_solution": {"solution": SOLUTION, "is_correct": True, "answer": "13"},
        "chunks": {"chunks": [WAIT, "Then 12 + 1 = 13.", WAIT, "So 13."]},
        "chunks_labeled": [
            {"chunk_idx": 2, "chunk": WAIT, "counterfactual_importance_accuracy": -0.25},
            {"chunk_idx": 3, "resampling_importance_accuracy": float("nan")},
        ],
    } | changes
    folder.mkdir(parents=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def test_thought_anchors_layout(tmp_path: Path) -> None:
    anchors(tmp_path / "problem_10")
    anchors(tmp_path / "problem_2")
    rollouts, complaints = read_traces(tmp_path)
    assert not complaints
    assert [r.id for r in rollouts] == ["problem_2", "problem_10"]
    rollout = rollouts[0]
    assert rollout.outcome == 1.0 and rollout.problem.answers == ("13",)
    assert rollout.text[: rollout.reasoning_end].endswith("</think>")
    chunks = rollout.meta["thought_anchors"]
    spans = [chunk["span"] for chunk in chunks]
    assert [rollout.text[a:b] for a, b in spans] == [WAIT, "Then 12 + 1 = 13.", WAIT, "So 13."]
    assert spans[0] != spans[2], "a repeated sentence stands where it stands"
    assert chunks[2]["counterfactual_importance_accuracy"] == -0.25
    assert chunks[3]["resampling_importance_accuracy"] is None
    assert read_traces(tmp_path / "problem_2")[0] == [rollout]


def test_thought_anchors_with_gaps(tmp_path: Path) -> None:
    anchors(tmp_path / "problem_0", chunks={"chunks": [WAIT, "not in the text"]})
    anchors(tmp_path / "problem_1")
    (tmp_path / "problem_1" / "chunks.json").unlink()
    anchors(tmp_path / "problem_2", base_solution={"error": "no answer came"})
    rollouts, complaints = read_traces(tmp_path)
    assert [r.id for r in rollouts] == ["problem_0"]
    assert "1 of its chunks" in complaints[0]
    assert "chunks.json is missing" in complaints[1]
    assert "no solution" in complaints[2]


def test_verifiers_results(tmp_path: Path) -> None:
    rows = [
        {
            "example_id": 0, "task": "sums", "reward": 0.5, "answer": "", "error": None,
            "prompt": [{"role": "user", "content": "3 * 4?"}], "format_reward": 1.0,
            "completion": [{"role": "assistant", "content": "3 * 4 = 12\n#### 12"}],
        },
        {
            "example_id": 0, "task": "sums", "reward": None, "answer": "12",
            "prompt": [{"role": "user", "content": "3 * 4?"}],
            "completion": [{"role": "assistant", "content": "#### 12"}],
        },
    ]  # fmt: skip
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (first, second), complaints = read_traces(tmp_path)
    assert not complaints
    assert first.outcome == 0.5 and first.problem.answers == () and first.meta["example_id"] == 0
    assert first.problem.prompt == "3 * 4?" and first.text == "3 * 4 = 12\n#### 12"
    assert second.outcome is None, "a reward that was not given is not made up"
    assert first.group == second.group


def test_verifiers_traces_take_the_last_branch(tmp_path: Path) -> None:
    def node(parent: int | None, role: str, text: str, sampled: bool = False) -> dict[str, Any]:
        return {"parent": parent, "sampled": sampled, "message": {"role": role, "content": text}}

    trace = {
        "id": "t1",
        "agent": {"model": "m"},
        "task": {"data": {"prompt": "3 * 4?", "answer": "12"}},
        "nodes": [
            node(None, "user", "3 * 4?"),
            node(0, "assistant", "dropped", sampled=True),
            node(0, "assistant", "3 * 4 = 12\n#### 12", sampled=True),
        ],
        "rewards": {"right": {"score": 1.0, "weight": 0.5}, "form": {"score": 1.0}},
    }
    unscored = trace | {"id": "t2", "rewards": {"right": None}}
    lines = [{"task": {}, "traces": [trace, unscored]}, {"task": {}, "traces": [{"nodes": []}]}]
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (first, second), complaints = read_traces(file)
    assert (first.id, first.policy, first.outcome, first.text) == (
        "t1", "m", 1.5, "3 * 4 = 12\n#### 12",
    )  # fmt: skip
    assert first.problem.answers == ("12",) and second.outcome is None
    assert len(complaints) == 1 and "no message in it was sampled" in complaints[0]


LOG = {
    "version": 2,
    "status": "success",
    "eval": {"task": "sums", "model": "mockllm/model"},
    "samples": [
        {
            "id": 1, "epoch": 1, "input": "3 * 4?", "target": "12",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "3 * 4?"},
                {"role": "assistant", "content": [
                    {"type": "reasoning", "reasoning": "3 * 4 = 12"},
                    {"type": "text", "text": "attachment://a1"},
                ]},
            ],
            "scores": {"match": {"value": "C"}},
            "attachments": {"a1": "#### 12"},
        },
        {"id": 2, "epoch": 1, "input": "5?", "target": "5", "messages": [], "scores": {}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_inspect_logs(tmp_path: Path, packed: bool) -> None:
    if packed:
        path = tmp_path / "log.eval"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("header.json", json.dumps({**LOG, "samples": None}))
            for sample in LOG["samples"]:
                archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    else:
        path = tmp_path / "log.json"
        path.write_text(json.dumps(LOG))
    rollouts, complaints = read_traces(path)
    assert [r.id for r in rollouts] == ["1-1"]
    (rollout,) = rollouts
    assert rollout.text == "<think>\n3 * 4 = 12\n</think>\n#### 12"
    assert (rollout.outcome, rollout.policy, rollout.problem.prompt) == (
        1.0, "mockllm/model", "3 * 4?",
    )  # fmt: skip
    assert len(complaints) == 1 and "sample 2: the model wrote no message" in complaints[0]


def test_several_scores_of_inspect_need_a_choice(tmp_path: Path) -> None:
    sample = LOG["samples"][0] | {"scores": {"match": {"value": "I"}, "other": {"value": 0.25}}}
    path = tmp_path / "log.json"
    path.write_text(json.dumps({**LOG, "samples": [sample]}))
    (rollout,), complaints = read_traces(path)
    assert rollout.outcome is None and "--map SCORE=outcome" in complaints[0]
    assert rollout.meta == {"match": "I", "other": 0.25}
    (chosen,), complaints = read_traces(path, map={"match": "outcome"})
    assert chosen.outcome == 0.0 and not complaints


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.eval").write_text("no archive")
    with pytest.raises(UserError, match="not a readable log of Inspect"):
        read_traces(tmp_path / "a.eval")
    with zipfile.ZipFile(tmp_path / "b.eval", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(UserError, match=r"without header\.json"):
        read_traces(tmp_path / "b.eval")
