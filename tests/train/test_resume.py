import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

SCRIPT = str(Path(__file__).with_name("resume_script.py"))
ROOT = str(Path(__file__).parents[2])


def run(*arguments):
    environment = os.environ | {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_clock(records):
    drop = ("train/seconds", "review/seconds")
    for record in records:
        for name in drop:
            record.get("metrics", {}).pop(name, None)
        if "usage" in record:
            record["usage"].pop("seconds", None)
    return records


def test_killed_run_resumes_to_the_same_bits(tmp_path):
    from apportion.policies.tiny import build_model
    from tests.train.tiny_setup import make_tokenizer

    start = tmp_path / "start"
    tokenizer = make_tokenizer()
    build_model(tokenizer, hidden_size=32, layers=2, heads=2).save_pretrained(start)
    tokenizer.save_pretrained(start)

    straight = run(start, tmp_path / "straight")
    assert straight.returncode == 0, straight.stderr
    killed = run(start, tmp_path / "killed", 4)
    assert killed.returncode == -signal.SIGKILL
    resumed = run(start, tmp_path / "killed")
    assert resumed.returncode == 0, resumed.stderr

    from safetensors.torch import load_file

    arms = [tmp_path / name / "random-s0" for name in ("straight", "killed")]
    one, two = (load_file(arm / "checkpoints" / "final" / "model.safetensors") for arm in arms)
    before = load_file(start / "model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], before[name]) for name in one)
    for kind in ("rollouts", "reviews", "credit", "metrics"):
        first, second = (without_clock(lines(arm / f"{kind}.jsonl")) for arm in arms)
        assert first == second, kind
    assert (tmp_path / "killed" / "report.html").is_file()
