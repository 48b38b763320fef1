"""Answers are paid for once: in one process, in two, and only if they were good."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from apportion.errors import UserError
from apportion.review import ReviewCache
from apportion.review.cache import cache_key
from tests.review.endpoint import all_useful, says, serving
from tests.review.helpers import CHAIN, ask, item, llm

ROOT = Path(__file__).parents[2]


def test_a_second_run_makes_no_calls_and_gives_the_same_verdicts(tmp_path):
    items = [item(CHAIN.replace("22", str(i)), f"r{i}") for i in range(5)]
    with serving() as server:
        with ReviewCache(tmp_path / "c.sqlite") as cache:
            first = ask(llm(server.url, cache, critiques=2), *items)
        with ReviewCache(tmp_path / "c.sqlite") as cache:
            second = ask(llm(server.url, cache, critiques=2), *items)
    assert len(server.requests) == 10
    assert [r.verdicts for r in first] == [r.verdicts for r in second]
    assert [r.steps for r in first] == [r.steps for r in second]
    assert all(r.usage.cached and r.usage.calls == 0 and r.usage.usd == 0.0 for r in second)
    assert second[0].meta == first[0].meta


def test_a_second_run_makes_no_calls_where_the_schema_was_refused(tmp_path):
    from tests.review.endpoint import Answer

    def no_schema(request, number):
        return Answer(400, b"{}") if "response_format" in request else all_useful(request)

    with serving(no_schema) as server, ReviewCache(tmp_path / "c.sqlite") as cache:
        ask(llm(server.url, cache))
        before = len(server.requests)
        (again,) = ask(llm(server.url, cache))
    assert again.usage.cached
    assert len(server.requests) == before


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"seed": 1},
        {"temperature": 0.5},
        {"max_tokens": 100},
        {"extra_body": {"top_k": 1}},
        {"show_outcome": False},
        {"show_reference": True, "prompt": "capo"},
        {"structured": False},
    ],
)
def test_whatever_determines_the_answer_is_part_of_the_key(tmp_path, change):
    def any_form(request, number):
        if "wrong_steps" in request["messages"][0]["content"]:
            return says('{"analysis": "", "wrong_steps": []}')
        return all_useful(request)

    with serving(any_form) as server, ReviewCache(tmp_path / "c.sqlite") as cache:
        ask(llm(server.url, cache))
        ask(llm(server.url, cache, **change))
        ask(llm(server.url, cache))
    assert len(server.requests) == 2


def test_the_outcome_is_part_of_the_question_only_if_it_is_shown(tmp_path):
    with serving() as server, ReviewCache(tmp_path / "c.sqlite") as cache:
        for shown in (True, False):
            reviewer = llm(server.url, cache, show_outcome=shown)
            ask(reviewer, item())
            ask(reviewer, item()._replace(outcome=0.0))
    assert len(server.requests) == 3


def test_failures_are_not_kept(tmp_path):
    def bad_then_good(request, number):
        return says("no") if number < 2 else all_useful(request)

    with serving(bad_then_good) as server, ReviewCache(tmp_path / "c.sqlite") as cache:
        (failed,) = ask(llm(server.url, cache))
        assert len(cache) == 0
        (good,) = ask(llm(server.url, cache))
        assert len(cache) == 1
    assert not failed.ok
    assert good.ok


def test_the_same_question_at_the_same_time_is_asked_once(tmp_path):
    def slow(request, number):
        answer = all_useful(request)
        answer.delay = 0.2
        return answer

    with serving(slow) as server, ReviewCache(tmp_path / "c.sqlite") as cache:
        reviews = ask(llm(server.url, cache), *[item(rollout_id=f"r{i}") for i in range(6)])
    assert len(server.requests) == 1
    assert [review.rollout_id for review in reviews] == [f"r{i}" for i in range(6)]
    assert sorted(review.usage.cached for review in reviews) == [False] + [True] * 5


SCRIPT = """
import sys
from apportion.review import ReviewCache
from tests.review.helpers import CHAIN, ask, item, llm
url, path, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
items = [item(CHAIN.replace("22", str(i)), f"r{i}") for i in range(start, start + 40)]
reviews = ask(llm(url, ReviewCache(path)), *items)
assert all(r.ok for r in reviews), [r.error for r in reviews]
print(sum(r.usage.cached for r in reviews))
"""


def test_two_processes_share_one_cache(tmp_path):
    with serving() as server:
        path = tmp_path / "c.sqlite"

        def start(first: int):
            command = [sys.executable, "-c", SCRIPT, server.url, str(path), str(first)]
            return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

        both = [start(0), start(20)]
        outputs = [process.communicate(timeout=120)[0] for process in both]
        assert [process.returncode for process in both] == [0, 0]
        with ReviewCache(path) as cache:
            assert len(cache) == 60
            asked = len(server.requests)
            again = ask(llm(server.url, cache), *[item(CHAIN.replace("22", "7"), "r")])
    assert asked == 80 - sum(int(output) for output in outputs)
    assert again[0].usage.cached
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


WRITER = """
import sys
from apportion.review import ReviewCache
cache, mine = ReviewCache(sys.argv[1]), sys.argv[2]
for i in range(300):
    cache.put(f"{mine}-{i}", {"n": i})
    cache.put(f"shared-{i}", {"by": mine})
    assert cache.get(f"{mine}-{i}") == {"n": i}
"""


def test_two_processes_write_at_once(tmp_path):
    path = str(tmp_path / "c.sqlite")
    both = [subprocess.Popen([sys.executable, "-c", WRITER, path, name], cwd=ROOT) for name in "ab"]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    with ReviewCache(path) as cache:
        assert len(cache) == 900


def test_the_key_does_not_depend_on_the_order_of_fields():
    assert cache_key({"a": 1, "b": [1, 2]}) == cache_key({"b": [1, 2], "a": 1})
    assert cache_key({"a": 1}) != cache_key({"a": "1"})


def test_a_file_that_is_no_cache_is_a_user_error(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    with pytest.raises(UserError, match=r"cannot open the review cache .*notes.txt"):
        ReviewCache(path)
