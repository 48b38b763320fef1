"""The command as a process: without torch, interrupted, killed, into a closed pipe."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apportion.records import read_kind

# What an install without extras lacks.
EXTRAS = ("torch", "trl", "transformers", "datasets", "peft", "accelerate", "scipy",
          "math_verify", "reasoning_gym", "pyarrow", "pandas")  # fmt: skip
WITHOUT_EXTRAS = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
COMMAND = "from apportion.cli import main; main()"


def apportion(*arguments: object, code: str = COMMAND, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job inherits an ignored SIGINT, and these tests send one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,  # type: ignore[call-overload]
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["ls"],
        ["review", "t.jsonl", "-r", "arithmetic"],
        ["credit", "t.jsonl", "-m", "outcome"],
    ],
)
def test_reviewing_needs_no_extra(traces: Path, arguments: list[str]) -> None:
    traces.rename(traces.parent / "t.jsonl")
    status, out, err = finish(
        apportion(*arguments, code=WITHOUT_EXTRAS + COMMAND, cwd=traces.parent)
    )
    assert status == 0, err
    assert out


def test_training_without_extras_names_the_one_to_install(recipe: Path) -> None:
    code = WITHOUT_EXTRAS.replace("raise ModuleNotFoundError", "return None #") + COMMAND
    hidden = "import importlib.util as u; u.find_spec = lambda *a: None\n"
    status, out, err = finish(apportion("train", recipe, code=hidden + code, cwd=recipe.parent))
    assert (status, out) == (2, "")
    assert err.startswith("apportion: training needs torch") and err.count("\n") == 1


def processor_seconds(*arguments: object, code: str = COMMAND) -> float:
    """The least of three: processor time, since others may be using the machine."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert finish(apportion(*arguments, code=code))[0] == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_is_quick() -> None:
    # Against what no version of it can do without, as machines differ threefold.
    libraries = processor_seconds(code="import pydantic, rich.markdown, typer.rich_utils, yaml")
    assert processor_seconds("--help") < 4 * libraries


def test_errors_are_no_tracebacks(tmp_path: Path) -> None:
    status, out, err = finish(apportion("review", "x.jsonl", "-r", "arithmetic", cwd=tmp_path))
    assert (status, out) == (2, "")
    assert err == "apportion: x.jsonl: no such file\n"
    status, _, err = finish(apportion("review", cwd=tmp_path))
    assert status == 2 and "Traceback" not in err


def slow_review(folder: Path) -> list[str]:
    """A review of 60 traces that takes 3 s: 10 at a time, half a second each."""
    rows = [{"prompt": "p", "completion": f"1 + 1 = 2\n#### {n}", "id": str(n)} for n in range(60)]
    (folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = ["review", "many.jsonl", "-r", "arithmetic", "--out", "a"]
    assert finish(apportion(*first, cwd=folder))[0] == 0
    spec = "scripted:reviews=a/reviews.jsonl,delay=0.5"
    return ["review", "many.jsonl", "-r", spec, "--out", "b", "--concurrency", "10", "--plain"]


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_what_was_reviewed_before_the_end_is_kept(
    tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    command = slow_review(tmp_path)
    process = apportion(*command, cwd=tmp_path)
    file = tmp_path / "b/reviews.jsonl"
    deadline = time.monotonic() + 30
    while not (file.is_file() and file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    returned, _, err = finish(process)
    assert returned == status
    assert "Traceback" not in err
    if sent == signal.SIGINT:
        assert "--resume" in err
    kept = file.read_bytes()
    done = len(read_kind(tmp_path / "b", "reviews")[0])
    assert 0 < done < 60
    returned, out, err = finish(apportion(*command, "--resume", cwd=tmp_path))
    assert returned == 0, err
    assert "60 reviews, 0 failed" in out
    assert file.read_bytes().startswith(kept)


def test_a_closed_pipe_is_no_traceback() -> None:
    shell = f"{sys.executable} -c '{COMMAND}' ls | true"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, env=os.environ.copy())
    assert "Traceback" not in done.stderr
