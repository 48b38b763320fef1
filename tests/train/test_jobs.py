"""Several processes train what one would, lose nothing to a failure, and leave no orphan."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

pytest.importorskip("trl")

from apportion import UserError
from apportion.config import RunConfig
from apportion.records import read_kind
from apportion.train.jobs import raise_failures
from apportion.train.run import run_recipe

pytestmark = pytest.mark.filterwarnings("ignore")
SHIPPED = files("apportion") / "policies" / "checkpoints" / "words_tiny"


def config(**changes) -> RunConfig:
    base = {
        "name": "jobs",
        "task": {"kind": "words", "operations": [1, 3]},
        "policy": {"kind": "tiny"},
        "reviewers": ["gold"],
        "train": {
            "updates": 2, "prompts_per_update": 4, "group_size": 4, "threads": 1,
            "max_completion_tokens": 40, "record_every": 1, "learning_rate": 1e-3,
        },
        "eval": {"every": 0, "problems": 4, "final_problems": 4, "showcase": 0},
        "alarm": {"enabled": False},
        "arms": [
            {"name": "outcome", "set": {"credit.method": "outcome"}},
            {"name": "dca", "set": {"credit.method": "dca"}},
        ],
    }  # fmt: skip
    for key, value in changes.items():
        base[key] = base[key] | value if isinstance(base.get(key), dict) else value
    return RunConfig.model_validate(base)


def records(folder: Path, kind: str) -> list[dict]:
    """As written, without what the clock says."""
    found = [record.model_dump() for record in read_kind(folder, kind)[0]]
    for record in found:
        for name in ("train/seconds", "review/seconds"):
            record.get("metrics", {}).pop(name, None)
        if record.get("usage"):
            record["usage"].pop("seconds", None)
    return found


def test_two_processes_give_the_bits_of_one_and_a_failing_job_loses_no_other(tmp_path, capfd):
    dca = config().model_dump()["arms"][1]
    run_recipe(config(arms=[dca]), tmp_path / "one", plain=True)
    broken = {"name": "broken", "set": {"policy.checkpoint": str(tmp_path / "nowhere")}}
    out = tmp_path / "two"
    said = r"^1 of 2 jobs failed.*--resume.*: broken seed 0: policy.checkpoint: no model in"
    with pytest.raises(UserError, match=said):
        run_recipe(config(arms=[broken, dca]), out, plain=True, processes=2)
    assert "dca seed 0: test accuracy" in capfd.readouterr().out
    for kind in ("metrics", "rollouts", "reviews", "credit"):
        one, two = (records(folder / "dca-s0", kind) for folder in (tmp_path / "one", out))
        assert one == two and one, kind
    losses = [line["metrics"].get("train/loss") for line in records(out / "dca-s0", "metrics")]
    assert any(losses), "nothing was learned, so nothing was compared"
    assert "dca" in (out / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_failed_job_goes_on_once_its_cause_is_gone(tmp_path):
    checkpoint, out = tmp_path / "later", tmp_path / "out"
    broken = {"name": "broken", "set": {"policy.checkpoint": str(checkpoint)}}
    setup = config(arms=[broken, {"name": "outcome", "set": {}}])
    with pytest.raises(UserError, match="broken seed 0"):
        run_recipe(setup, out, plain=True, processes=2)
    shutil.copytree(str(SHIPPED), checkpoint)
    done = (out / "outcome-s0" / "metrics.jsonl").stat().st_mtime_ns
    report = run_recipe(setup, out, plain=True, processes=2, resume=True)
    assert "broken" in report.read_text() and (out / "card.md").is_file()
    assert (out / "outcome-s0" / "metrics.jsonl").stat().st_mtime_ns == done
    assert records(out / "broken-s0", "metrics") == records(out / "outcome-s0", "metrics")


def test_failures_name_each_job():
    raise_failures([], 3)
    with pytest.raises(UserError, match=r"^a seed 0: why$"):
        raise_failures(["a seed 0: why"], 1)
    with pytest.raises(UserError, match=r"^2 of 3 jobs failed.*a seed 0: why; b seed 1: so$"):
        raise_failures(["a seed 0: why", "b seed 1: so"], 3)


def test_a_warm_start_is_one_job(tmp_path):
    with pytest.raises(UserError, match="leave out --jobs"):
        run_recipe(config(objective="warm_start"), tmp_path / "out", processes=2)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def length(arm: Path) -> int:
    return len((arm / "metrics.jsonl").read_text().splitlines())


def wait_until(condition, seconds=400.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="counts processes in /proc"
)


@needs_proc
def test_a_killed_parent_leaves_no_process():
    code = "import time; from apportion.train.jobs import _Process; two = _Process(), _Process()"
    code += "; print(1, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout and parent.stdout.readline()
    jobs = children(parent.pid)
    assert len(jobs) == 2 and all(map(alive, jobs))
    parent.kill()
    parent.communicate()
    wait_until(lambda: not any(map(alive, jobs)), 20)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@needs_proc
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_the_end_of_the_parent_is_the_end_of_its_jobs(tmp_path, sent):
    recipe = tmp_path / "long.json"
    recipe.write_text(config(train={"updates": 500, "checkpoint_every": 1}).model_dump_json())
    out = tmp_path / "out"
    command = [sys.executable, "-m", "apportion", "train", str(recipe), "--out", str(out)]
    parent = subprocess.Popen(
        [*command, "--jobs", "2", "--plain"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    # Both have trained for a while, as what they wrote shows; only the last checkpoints are kept.
    arms = [out / f"{arm}-s0" for arm in ("outcome", "dca")]
    wait_until(lambda: all(any(arm.glob("checkpoints/checkpoint-*")) for arm in arms))
    jobs = [pid for pid in children(parent.pid) if alive(pid)]
    assert len(jobs) == 2
    os.kill(parent.pid, sent)
    _, err = parent.communicate(timeout=300)
    assert parent.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    wait_until(lambda: not any(map(alive, jobs)), 10)
    if sent == signal.SIGINT:
        assert "--resume" in err and "Traceback" not in err
        assert (out / "report.html").is_file()
        return
    before = (out / "dca-s0" / "metrics.jsonl").read_text().splitlines()[:1]
    assert json.loads(before[0])["metrics"]
    lengths = [length(arm) for arm in arms]
    with (tmp_path / "stderr").open("w+") as stderr:
        again = subprocess.Popen(
            [*command, "--jobs", "2", "--plain", "--resume"],
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

        def both_went_on() -> bool:
            assert again.poll() is None, (tmp_path / "stderr").read_text()
            return all(
                "resumed" in json.loads((arm / "manifest.json").read_text()) and length(arm) > n
                for arm, n in zip(arms, lengths, strict=True)
            )

        try:
            wait_until(both_went_on)
        finally:
            again.kill()
            again.wait()
    assert (out / "dca-s0" / "metrics.jsonl").read_text().splitlines()[:1] == before
