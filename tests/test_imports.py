"""Traces from elsewhere: each format, and what happens to records that fit none."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from apportion import Problem, Rollout, UserError
from apportion.imports import read_traces
from apportion.records import RunDirectory

SHARED = Path(os.environ.get("APPORTION_DATA", Path(__file__).parents[2] / "shared/data"))
SOLUTIONS = SHARED / "gsm8k/model_solutions_first660.jsonl"


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def trl_table(path: Path, columns: dict[str, list[Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)
    return path


def trl_columns(step: int, **more: list[Any]) -> dict[str, list[Any]]:
    return {
        "step": [step, step],
        "prompt": ["How many?", "How many?"],
        "completion": ["3 * 4 = 12\n#### 12", "3 * 4 = 13\n#### 13"],
        **more,
        "advantage": [0.7, -0.7],
    }


def test_our_own_rollouts_come_back_as_they_were(tmp_path: Path) -> None:
    mine = Rollout(
        id="a",
        problem=Problem(id="p", prompt="x"),
        text="yes",
        token_ids=(7,),
        token_spans=((0, 3),),
        reasoning_end=0,
    )
    with RunDirectory(tmp_path / "run") as run:
        run.append("rollouts", mine)
    assert read_traces(tmp_path / "run") == ([mine], [])
    assert read_traces(tmp_path / "run/rollouts.jsonl") == ([mine], [])


def test_plain_rows(tmp_path: Path) -> None:
    text = "3 * 4 = 12\n#### 12"
    rows = [
        {"prompt": "How many?", "completion": text, "outcome": True, "note": ["x"]},
        {"prompt": "How many?", "completion": "é \U0001f600", "id": 5, "answer": 12},
        {"prompt": "Why?", "completion": "", "policy": "m", "group": "g", "update": 3},
    ]
    rollouts, complaints = read_traces(jsonl(tmp_path / "mine.jsonl", *rows))
    assert not complaints
    first, second, third = rollouts
    assert [r.id for r in rollouts] == ["mine-1", "5", "mine-3"]
    assert first.outcome == 1.0 and first.meta == {"note": ["x"]}
    assert first.text[first.reasoning_end :] == "#### 12"
    words = [text[a:b] for a, b in first.token_spans]
    assert words == text.split() and first.token_ids == tuple(range(len(words)))
    assert second.problem.answers == ("12",)
    assert first.group == second.group == second.problem.id != third.problem.id
    assert (third.policy, third.group, third.update, third.text) == ("m", "g", 3, "")


@pytest.mark.parametrize(
    ("answer", "completion", "outcome"),
    [
        ("12", "3 * 4 = 12\n#### 12", 1.0),
        (12, "A: 12", 1.0),
        ("12", "3 * 4 = 13\n#### 13", 0.0),
        (["1", "12"], r"so \boxed{12}", 1.0),
        ("3 * 4 = <<3*4=12>>12\n#### 12", "A: 12.0", 1.0),
        ("12", "three times four is a dozen", None),
        (None, "#### 12", None),
    ],
)
def test_an_answer_decides_the_outcome_where_none_is_given(
    tmp_path: Path, answer: Any, completion: str, outcome: float | None
) -> None:
    row = {"prompt": "", "completion": completion, "answer": answer}
    (rollout,), _ = read_traces(jsonl(tmp_path / "x.jsonl", row))
    assert rollout.outcome == outcome


def test_a_given_outcome_is_never_recomputed(tmp_path: Path) -> None:
    row = {"prompt": "", "completion": "#### 12", "answer": "12"}
    file = jsonl(tmp_path / "x.jsonl", row | {"outcome": 0}, row | {"outcome": None})
    assert [rollout.outcome for rollout in read_traces(file)[0]] == [0.0, None]


def test_chat_messages_become_text(tmp_path: Path) -> None:
    user = {"role": "user", "content": "How many?"}
    system = {"role": "system", "content": "Think."}
    parts = [{"type": "text", "text": "3 * 4 = "}, {"type": "image"}, "12"]
    thinker = {"role": "assistant", "reasoning_content": "3 * 4 = 12", "content": "12"}
    rows = [
        {"prompt": [user], "completion": [{"role": "assistant", "content": parts}]},
        {"prompt": [system, user], "completion": [thinker]},
    ]
    (first, second), complaints = read_traces(jsonl(tmp_path / "x.jsonl", *rows))
    assert not complaints
    assert (first.problem.prompt, first.text) == ("How many?", "3 * 4 = [image]12")
    assert second.problem.prompt == "system: Think.\n\nuser: How many?"
    assert second.text[: second.reasoning_end] == "<think>\n3 * 4 = 12\n</think>"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"completion": "x"}, "no column 'prompt'; there are completion: .* --map COLUMN=prompt"),
        ({"prompt": 3, "completion": "x"}, "prompt: text or chat messages are needed, not int"),
        ({"prompt": "", "completion": [{"role": "assistant"}]}, "has no 'content'"),
        ({"prompt": "", "completion": [{"content": 3}]}, "content is int"),
        ({"prompt": "", "completion": "x", "outcome": "yes"}, "outcome: .* not 'yes'"),
        ({"prompt": "", "completion": "x", "answer": {}}, "answer: text or a number"),
        ({"prompt": "", "completion": "x", "update": 1.5}, "update: a whole number"),
        ({"problem": {}, "text": "", "reasoning_end": 9}, "not a Rollout: id: Field required"),
        ({"prompt": "", "completion": "x", "id": "good"}, "id 'good' occurs again"),
    ],
)
def test_a_row_that_is_no_trace_is_named_and_the_others_kept(
    tmp_path: Path, row: dict, complaint: str
) -> None:
    good = {"prompt": "", "completion": "x", "id": "good"}
    file = jsonl(tmp_path / "x.jsonl", good, row)
    rollouts, complaints = read_traces(file)
    assert [rollout.id for rollout in rollouts] == ["good"]
    (only,) = complaints
    assert re.search(complaint, only)
    assert only.startswith(f"{file}:2: ") or "occurs again" in only


def test_columns_are_renamed(tmp_path: Path) -> None:
    row = {"question": "How many?", "response": "#### 12", "prompt": "other", "correct": True}
    names = {"question": "prompt", "response": "completion", "correct": "outcome"}
    (rollout,), _ = read_traces(jsonl(tmp_path / "x.jsonl", row), map=names)
    assert (rollout.problem.prompt, rollout.text, rollout.outcome) == ("How many?", "#### 12", 1.0)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"q": "promt"}, r"unknown field 'promt' \(did you mean 'prompt'\?\)"),
        ({"a": "prompt", "b": "prompt"}, "two columns map to one field"),
        ({"questoin": "prompt"}, r"no column 'questoin' \(did you mean 'question'\?\)"),
    ],
)
def test_a_wrong_mapping_is_one_clear_line(tmp_path: Path, names: dict, message: str) -> None:
    file = jsonl(tmp_path / "x.jsonl", {"question": "", "completion": ""})
    with pytest.raises(UserError, match=message):
        read_traces(file, map=names)


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n1,2\n", '{"a": 1}\n'])
def test_a_file_without_any_trace_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(content)
    with pytest.raises(UserError, match="no trace in it"):
        read_traces(file)


def test_missing_paths_are_refused(tmp_path: Path) -> None:
    for name in ("none.jsonl", "none.parquet"):
        with pytest.raises(UserError, match="no such file"):
            read_traces(tmp_path / name)
    with pytest.raises(UserError, match="neither"):
        read_traces(tmp_path)


def test_a_run_with_several_arms_has_to_be_narrowed(tmp_path: Path) -> None:
    for arm in ("dca-s0", "outcome-s0"):
        (tmp_path / arm).mkdir()
        (tmp_path / arm / "rollouts.jsonl").write_text("")
    with pytest.raises(UserError, match=r"several runs: name one, such as .*dca-s0"):
        read_traces(tmp_path)


def test_trl_completion_logs(tmp_path: Path) -> None:
    for step in (1, 2):
        table = trl_columns(step, exact=[1.0, 0.0], note=["a", "b"])
        trl_table(tmp_path / f"out/completions/completions_0000{step}.parquet", table)
    rollouts, complaints = read_traces(tmp_path / "out")
    assert not complaints
    assert len({rollout.id for rollout in rollouts}) == 4
    assert [(r.update, r.outcome) for r in rollouts] == [(1, 1.0), (1, 0.0), (2, 1.0), (2, 0.0)]
    assert rollouts[0].meta == {"note": "a", "advantage": 0.7}
    assert rollouts[0].group == rollouts[1].group != rollouts[2].group
    assert rollouts == read_traces(tmp_path / "out/completions")[0]


def test_trl_logs_of_a_real_trainer_frame(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    messages = [{"role": "user", "content": "How many?"}]
    answer = [{"role": "assistant", "content": "#### 12"}]
    frame = pandas.DataFrame(
        {
            "step": [7, 7],
            "prompt": [messages, messages],
            "completion": [answer, answer],
            "accuracy": [1.0, None],
            "advantage": [0.7, -0.7],
        }
    )
    frame.to_parquet(tmp_path / "completions_00007.parquet")
    rollouts, complaints = read_traces(tmp_path / "completions_00007.parquet")
    assert not complaints
    assert [(r.problem.prompt, r.text, r.outcome) for r in rollouts] == [
        ("How many?", "#### 12", 1.0),
        ("How many?", "#### 12", None),
    ]


def test_several_trl_rewards_need_a_choice(tmp_path: Path) -> None:
    table = trl_columns(1, exact=[1.0, 0.0], style=[0.2, 0.3])
    file = trl_table(tmp_path / "x.parquet", table)
    rollouts, complaints = read_traces(file)
    assert [rollout.outcome for rollout in rollouts] == [None, None]
    assert "several reward columns (exact, style)" in complaints[0]
    rollouts, complaints = read_traces(file, map={"exact": "outcome"})
    assert [rollout.outcome for rollout in rollouts] == [1.0, 0.0]
    assert not complaints and rollouts[1].meta["style"] == 0.3


def test_parquet_of_plain_rows_and_of_something_else(tmp_path: Path) -> None:
    file = trl_table(tmp_path / "x.parquet", {"q": ["a", "b"], "completion": ["x", None]})
    rollouts, complaints = read_traces(file, map={"q": "prompt"})
    assert [rollout.text for rollout in rollouts] == ["x"]
    assert "row 2: completion: text or chat messages" in complaints[0]
    (tmp_path / "y.parquet").write_text("not parquet")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_traces(tmp_path / "y.parquet")


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'apportion\[parquet\]'"):
        read_traces(tmp_path / "x.parquet")


def test_published_solutions_have_one_rollout_per_model(tmp_path: Path) -> None:
    row = {
        "question": "How many?",
        "ground_truth": "3 * 4 = <<3*4=12>>12\nA: 12",
        "small": {"solution": "3 * 4 = 13\nA: 13", "is_correct": False},
        "large": {"solution": "3 * 4 = 12\nA: 12", "is_correct": True},
    }
    (small, large), complaints = read_traces(jsonl(tmp_path / "x.jsonl", row))
    assert not complaints
    assert (small.id, small.policy, small.outcome) == ("gsm8k-1-small", "small", 0.0)
    assert (large.id, large.policy, large.outcome) == ("gsm8k-1-large", "large", 1.0)
    assert small.group == large.group and small.problem.answers == ("12",)
    assert large.text[: large.reasoning_end] == "3 * 4 = 12\n"


@pytest.mark.skipif(not SOLUTIONS.is_file(), reason=f"needs {SOLUTIONS} (see APPORTION_DATA)")
def test_gsm8k_published_solutions() -> None:
    rollouts, complaints = read_traces(SOLUTIONS)
    assert len(rollouts) == 2640 and not complaints
    assert {r.policy for r in rollouts} == {
        f"{size}_{kind}" for size in ("6b", "175b") for kind in ("finetuning", "verification")
    }
    assert all(r.problem.answers and r.outcome is not None for r in rollouts)
    unmarked = [r for r in rollouts if not r.text[r.reasoning_end :].startswith("A: ")]
    assert len(unmarked) == 7  # cut off before an answer
    assert all(r.outcome == 0.0 for r in unmarked)
