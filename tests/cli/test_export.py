"""``apportion export``: what is written is read back the same."""

from __future__ import annotations

import json

import pytest

from apportion.imports import read_traces
from apportion.records import read_kind
from apportion.trace import Problem, Rollout
from tests.report.probed_setup import LINES, NEED, TEXT, probe, probes, rollout, write_probed
from tests.report.synthetic import write_lines

KEPT = ("id", "text", "outcome", "policy", "reasoning_end")


def several(folder):
    """Two right and one undecided completion of a problem, at two updates."""
    made = [
        rollout("a").model_copy(update={"outcome": 1.0, "update": 0}),
        rollout("b/1").model_copy(update={"outcome": 0.0, "update": 0}),
        Rollout(
            id="c",
            problem=Problem(id="q", prompt="Und?", answers=("5",)),
            text="2 + 3 = 5\n#### 5",
            outcome=None,
            reasoning_end=10,
            policy="careful",
            update=7,
        ),
    ]
    folder.mkdir()
    write_lines(folder / "rollouts.jsonl", made)
    return made


@pytest.mark.parametrize("form", ["thought-anchors", "trl"])
def test_round_trip(run, tmp_path, form):
    made = several(tmp_path / "from")
    result = run("export", tmp_path / "from", "--format", form, "--out", "to")
    assert result.exit_code == 0, result.output
    found, complaints = read_traces(tmp_path / "to")
    assert not complaints
    for one, other in zip(made, sorted(found, key=lambda r: r.id), strict=True):
        for name in KEPT:
            assert getattr(one, name) == getattr(other, name), name
        assert other.problem.prompt == one.problem.prompt
        assert other.problem.answers == one.problem.answers and other.update == one.update
    again = run("export", tmp_path / "to", "--format", form, "--out", "again")
    assert again.exit_code == 0, again.output
    twice, _ = read_traces(tmp_path / "again")
    for one, other in zip(found, twice, strict=True):
        assert all(getattr(one, name) == getattr(other, name) for name in (*KEPT, "update"))


def test_trl_rows_carry_the_advantage_of_their_group(run, tmp_path):
    from pyarrow.parquet import ParquetFile

    several(tmp_path / "from")
    run("export", tmp_path / "from", "--format", "trl", "--out", "to")
    with ParquetFile(tmp_path / "to/completions/completions_00000.parquet") as file:
        rows = file.read().to_pylist()
    # Outcomes 1 and 0: mean 1/2, standard deviation (of a sample) sqrt(1/2).
    assert [row["advantage"] for row in rows] == pytest.approx([0.7071, -0.7071], abs=1e-3)
    assert {row["step"] for row in rows} == {0}


def test_chunks_stand_where_they_stood_and_carry_what_was_measured(run, tmp_path):
    kl = [0.3, 0.2, 0.1]
    more = probe("resampling", by_step=(0.1, 0.2, 0.3), meta={"kl": kl})
    write_probed(tmp_path / "from", probes=[*probes(), more])
    assert (
        run("export", tmp_path / "from", "--format", "thought-anchors", "--out", "to").exit_code
        == 0
    )
    folder = tmp_path / "to/problem_0"
    labelled = json.loads((folder / "chunks_labeled.json").read_text())
    assert [c["chunk"] for c in labelled] == [line.strip() for line in LINES]
    assert [c["depends_on"] for c in labelled] == [[], [], ["0"]]
    assert [c["apportion"]["step_deletion"] for c in labelled] == list(NEED)
    assert [c["forced_importance_accuracy"] for c in labelled] == [0.1, 0.0, 0.7]
    assert [c["resampling_importance_kl"] for c in labelled] == kl
    (back,), _ = read_traces(tmp_path / "to")
    chunks = back.meta["thought_anchors"]
    assert [TEXT[a:b] for a, b in (c["span"] for c in chunks)] == [s.strip() for s in LINES]
    assert [c["resampling_importance_accuracy"] for c in chunks] == [0.1, 0.2, 0.3]


def test_what_cannot_be_written_is_one_line(run, tmp_path):
    several(tmp_path / "from")
    unknown = run("export", tmp_path / "from", "--format", "trll", "--out", "to")
    assert unknown.exit_code == 2 and "did you mean 'trl'" in unknown.output
    assert not (tmp_path / "to").exists()
    full = run("export", tmp_path / "from", "--format", "trl", "--out", tmp_path / "from")
    assert full.exit_code == 2 and "choose another --out" in full.output
    assert len(read_kind(tmp_path / "from", "rollouts")[0]) == 3
    assert run("export", "nowhere", "--format", "trl", "--out", "to").exit_code == 2
