"""Run directories: what is on disk after a kill, a full disk, a second writer, a rewind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from apportion import Credit, Problem, Review, Rollout, UserError
from apportion.records import RunDirectory, read_kind, write_json_atomic

PROBLEM = Problem(id="p", prompt="How many?\u2028 e\u0301 \U0001f600", answers=("4",))


def rollout(name: str, update: int | None = None, text: str = "2 * 2 = 4\n#### 4") -> Rollout:
    return Rollout(id=name, problem=PROBLEM, text=text, reasoning_end=10, update=update)


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_is_appended_reads_back_equal(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as run:
        run.append("rollouts", rollout("a", 1), rollout("b", 2))
        run.append("reviews", Review(rollout_id="a", reviewer="r", critique=1))
        run.append("credit", Credit(rollout_id="a", method="dca", values=(1.0,), advantages=(0.5,)))
        run.append("metrics", {"update": 2, "metrics": {"eval/accuracy": {"value": 0.5, "n": 2}}})
        assert run.read("rollouts") == ([rollout("a", 1), rollout("b", 2)], [])
        assert run.ids("rollouts") == {"a", "b"}
        assert run.ids("reviews") == {("a", "r", 1)}
        assert run.ids("credit") == {("a", "dca")}
        assert run.ids("metrics") == {(2, "train")}
    assert len((tmp_path / "run/rollouts.jsonl").read_bytes().split(b"\n")) == 3


def test_append_refuses_other_kinds_and_numbers_that_json_lacks(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        with pytest.raises(ValueError, match="rollout_id"):
            run.append("reviews", {"reviewer": "r"})
        nan = Credit(rollout_id="a", method="dca", values=(float("nan"),), advantages=(0.0,))
        with pytest.raises(ValueError, match="not finite"):
            run.append("credit", nan)
        run.append("metrics", {"update": 1, "metrics": {"train/kl": float("nan")}})
        assert run.read("credit") == ([], [])
        assert run.read("metrics")[0][0].metrics == {"train/kl": None}


def test_half_a_surrogate_pair_from_a_reviewer_does_not_end_the_run(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        run.append("reviews", Review(rollout_id="a", reviewer="r", error="odd \ud83d text"))
        assert run.read("reviews")[0][0].error == "odd ? text"


def test_a_directory_in_use_needs_a_flag(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as run:
        run.append("rollouts", rollout("a"))
    with pytest.raises(UserError, match=r"--resume.*--clean"):
        RunDirectory(tmp_path / "run")
    with RunDirectory(tmp_path / "run", resume=True) as run:
        run.append("rollouts", rollout("b"))
        assert run.ids("rollouts") == {"a", "b"}
    with RunDirectory(tmp_path / "run", clean=True) as run:
        assert run.ids("rollouts") == set()


def test_resume_and_clean_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exclude"):
        RunDirectory(tmp_path, resume=True, clean=True)


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"clean": True}])
def test_a_directory_of_other_files_is_never_touched(tmp_path: Path, flags: dict) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no run"):
        RunDirectory(tmp_path, **flags)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["thesis.tex"]


def test_clean_deletes_the_run_and_nothing_else(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as run:
        run.write_manifest()
    with RunDirectory(tmp_path / "run/dca-s0") as arm:
        arm.append("rollouts", rollout("a"))
        (arm.path / "checkpoints/1").mkdir(parents=True)
    (tmp_path / "run/notes.txt").write_text("mine")
    (tmp_path / "run/figures").mkdir()
    RunDirectory(tmp_path / "run", clean=True).close()
    left = sorted(entry.name for entry in (tmp_path / "run").iterdir())
    assert left == [".lock", "figures", "notes.txt"]


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunDirectory(tmp_path / "x")


HOLD = """
import sys, time
from apportion.records import RunDirectory
RunDirectory(sys.argv[1])
print("locked", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("flags", [{}, {"resume": True}, {"clean": True}])
def test_a_second_process_is_told_that_another_writes_here(tmp_path: Path, flags: dict) -> None:
    holder = run_python(HOLD, str(tmp_path))
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=f"another run is writing here .process {holder.pid}"):
            RunDirectory(tmp_path, **flags)
    finally:
        holder.kill()
        holder.communicate()
    RunDirectory(tmp_path).close()  # a dead process holds no lock


ENDLESS = """
import sys
from apportion import Problem, Rollout
from apportion.records import RunDirectory
run = RunDirectory(sys.argv[1])
for n in range(10**9):
    problem = Problem(id=str(n), prompt="x" * 3000)
    run.append("rollouts", Rollout(id=str(n), problem=problem, text="", reasoning_end=0))
    print(n, flush=True)
"""


def test_kill_9_loses_at_most_the_record_being_written(tmp_path: Path) -> None:
    writer = run_python(ENDLESS, str(tmp_path))
    assert writer.stdout is not None
    for _ in range(50):
        writer.stdout.readline()
    time.sleep(0.1)
    writer.send_signal(signal.SIGKILL)
    reported = [int(line) for line in writer.communicate()[0].split()]
    with RunDirectory(tmp_path, resume=True) as run:
        records, complaints = run.read("rollouts")
        assert not complaints
        assert [int(record.id) for record in records] == list(range(len(records)))
        assert len(records) >= reported[-1] + 1 > 50


def test_an_unfinished_last_line_is_trimmed_with_a_complaint(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        run.append("rollouts", rollout("a"), rollout("b"))
    file = tmp_path / "rollouts.jsonl"
    file.write_bytes(file.read_bytes()[:-20])
    with RunDirectory(tmp_path, resume=True) as run:
        assert len(run.complaints) == 1
        assert "rollouts.jsonl: dropped" in run.complaints[0]
        run.append("rollouts", rollout("c"))
        assert [record.id for record in run.read("rollouts")[0]] == ["a", "c"]


def test_a_whole_last_line_without_line_end_is_kept(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        run.append("rollouts", rollout("a", text="long " * 40_000))
    file = tmp_path / "rollouts.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    with RunDirectory(tmp_path, resume=True) as run:
        assert "was kept" in run.complaints[0]
        run.append("rollouts", rollout("b"))
        assert run.ids("rollouts") == {"a", "b"}


LIMITED = """
import resource, sys
from apportion import Problem, Rollout, UserError
from apportion.records import RunDirectory
run = RunDirectory(sys.argv[1], resume=True)
problem = Problem(id="p", prompt="x" * 300)
record = lambda name: Rollout(id=name, problem=problem, text="", reasoning_end=0)
run.append("rollouts", record("a"))
size = (run.path / "rollouts.jsonl").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
try:
    run.append("rollouts", record("b"), record("c"))
except UserError as error:
    print(error)
print((run.path / "rollouts.jsonl").stat().st_size - size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run.append("rollouts", record("b"))
print(sorted(run.ids("rollouts")))
"""


def test_a_write_that_stops_in_the_middle_leaves_no_half_line(tmp_path: Path) -> None:
    out, err = run_python(LIMITED, str(tmp_path)).communicate()
    message, left_over, ids = out.splitlines()
    assert "rollouts.jsonl" in message and "1 records" in message and "saved" in message, err
    assert left_over == "0"  # 100 bytes did fit, and were taken back
    assert ids == "['a', 'b']"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_disk_full_is_one_clear_line(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        (tmp_path / "reviews.jsonl").symlink_to("/dev/full")
        run.append("rollouts", rollout("a"))
        with pytest.raises(UserError, match=r"reviews\.jsonl: No space left.*--resume"):
            run.append("reviews", Review(rollout_id="a", reviewer="r"))
        assert run.ids("rollouts") == {"a"}


def test_rewind_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        for update in (1, 2, 3):
            name = f"r{update}"
            run.append("rollouts", rollout(name, update))
            run.append("reviews", Review(rollout_id=name, reviewer="r"))
            run.append("credit", Credit(rollout_id=name, method="m", values=(), advantages=()))
            run.append("metrics", {"update": update})
            run.append(
                "probes", {"rollout_id": "x", "problem_id": "p", "measure": "m", "update": update}
            )
        run.append("rollouts", rollout("imported"))
        before = (tmp_path / "rollouts.jsonl").read_bytes().splitlines(keepends=True)
        dropped = run.rewind(2)
        gone = {kind: count for kind, count in dropped.items() if count}
        assert gone == dict.fromkeys(["rollouts", "probes", "metrics", "reviews", "credit"], 1)
        assert run.ids("rollouts") == {"r1", "r2", "imported"}
        assert run.ids("reviews") == {("r1", "r", 0), ("r2", "r", 0)}
        assert run.ids("metrics") == {(1, "train"), (2, "train")}
        after = (tmp_path / "rollouts.jsonl").read_bytes().splitlines(keepends=True)
        assert after == [before[0], before[1], before[3]]
        run.append("rollouts", rollout("r3", 3))
        assert "r3" in run.ids("rollouts")
        assert run.rewind(3) == dict.fromkeys(dropped, 0)


def test_the_manifest_says_what_ran_and_lists_restarts(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        run.write_manifest(["apportion", "train", "x.yaml"], seeds=[0, 1])
    first = json.loads((tmp_path / "manifest.json").read_text())
    assert first["command"] == ["apportion", "train", "x.yaml"]
    assert first["seeds"] == [0, 1]
    assert first["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "apportion" in first["versions"] and "started" in first and "platform" in first
    with RunDirectory(tmp_path, resume=True) as run:
        run.write_manifest(["again"])
        run.finish(rollouts=7)
    last = json.loads((tmp_path / "manifest.json").read_text())
    assert {key: last[key] for key in first} == first
    assert [restart["command"] for restart in last["resumed"]] == [["again"]]
    assert last["rollouts"] == 7 and "finished" in last


def test_the_manifest_names_the_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    from apportion.records.manifest import git_state

    assert git_state(Path("/")) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "f").write_text("1")
    subprocess.run([*git, "add", "f"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    state = git_state(tmp_path)
    assert state is not None and len(state["commit"]) == 40 and state["dirty"] is False
    (tmp_path / "f").write_text("2")
    assert (git_state(tmp_path) or {})["dirty"] is True


def test_a_resumed_run_keeps_its_settings(tmp_path: Path) -> None:
    config = {"train": {"updates": 5, "learning_rate": 1e-6}, "name": "é"}
    with RunDirectory(tmp_path) as run:
        run.write_config(config)
        run.write_config(config)
        other = {"train": {"updates": 9, "learning_rate": 2e-6}, "name": "é"}
        with pytest.raises(UserError, match=r"train\.updates, train\.learning_rate"):
            run.write_config(other)
        run.write_config(other, may_change=("train.updates", "train.learning_rate"))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == other


def test_settings_that_an_older_version_did_not_write_had_their_default(tmp_path: Path) -> None:
    old = {"name": "a", "train": {"updates": 3}}
    defaults = {"name": "", "train": {"updates": 50, "new": 1}, "newer": []}
    with RunDirectory(tmp_path) as run:
        run.write_config(old)
        changed = {"name": "a", "train": {"updates": 3, "new": 2}, "newer": []}
        with pytest.raises(UserError, match=r"another train\.new:"):
            run.write_config(changed, defaults=defaults)
        same = {"name": "a", "train": {"updates": 3, "new": 1}, "newer": []}
        run.write_config(same, defaults=defaults)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == same


def test_a_missing_kind_is_empty(tmp_path: Path) -> None:
    assert read_kind(tmp_path, "rollouts") == ([], [])


def test_atomic_json_keeps_the_old_file_when_it_cannot_write(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_json_atomic(file, {"a": "é"})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": "é"}
    (tmp_path / ".x.json.tmp").symlink_to("/dev/full/not/a/directory")
    with pytest.raises(UserError, match=r"x\.json"):
        write_json_atomic(file, {"b": 1})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": "é"}
