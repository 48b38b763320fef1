"""Known right and wrong answers, and what happens when comparing them takes too long."""

import signal
import subprocess
import sys
import time

import pytest

from apportion.tasks import answers
from apportion.tasks.answers import after_mark, extract_answer, same_answer
from apportion.tasks.lines import line_steps, reasoning_end
from apportion.tasks.worker import Late, Worker

TOWER = "9^{9^{9^{9}}}"  # parses at once, never ends when evaluated


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("22", "22"),
        ("22", "22."),
        ("22", "$22.00"),
        ("22", " **22** "),
        ("22", "22 dollars"),
        ("22", "+22"),
        ("1,234", "1234"),
        ("1234567", "1,234,567"),
        ("-5", "-5"),
        ("-5", "−5"),
        ("-5", "$-5"),
        ("1/2", "0.5"),
        ("1/2", ".5"),
        ("0.5", "2/4"),
        ("1 1/2", "1.5"),
        ("3/2", "1\\frac{1}{2}"),
        ("\\frac{3}{4}", "3/4"),
        ("50%", "50"),
        ("50", "50%"),
        ("0.5", "50\\%"),
        ("5", "5\\text{ apples}"),
    ],
)
def test_exactly_equal_numbers_need_no_worker(gold, answer, monkeypatch):
    monkeypatch.setattr(answers, "shared_worker", lambda: pytest.fail("asked the worker"))
    assert same_answer(gold, answer) is True


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("22", "23"),
        ("22", "2.2"),
        ("22", "2 2"),
        ("22", "22 dozen"),
        ("22", "22 or 23"),
        ("22", "I think it is 22"),
        ("22", "-22"),
        ("1234", "1,23,4"),
        ("1/3", "0.333"),
        ("1/2", "1/0"),
        ("50%", "0.05"),
        ("22", ""),
        ("22", None),
    ],
)
def test_wrong_numbers(gold, answer, monkeypatch):
    monkeypatch.setattr(answers, "math_verify_installed", lambda: False)
    assert same_answer(gold, answer) is False


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("x+1", "1+x", True),
        ("x+1", "x+2", False),
        ("4", "\\sqrt{16}", True),
        ("4", "\\sqrt{17}", False),
        ("\\frac{\\pi}{2}", "\\pi/2", True),
        ("north", "North", True),
        ("north", "south", False),
        ("x+1", None, False),
    ],
)
def test_expressions_go_to_math_verify(gold, answer, expected):
    pytest.importorskip("math_verify")
    assert same_answer(gold, answer) is expected


@pytest.mark.parametrize("gold", ["", "   ", "\\frac{1"])
@pytest.mark.parametrize("answer", ["3", "#", None])
def test_gold_that_cannot_be_read_is_undecided(gold, answer):
    assert same_answer(gold, answer) is None


def test_without_math_verify_expressions_are_undecided_and_it_says_so(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    monkeypatch.setattr(answers.importlib.util, "find_spec", lambda name: None)
    answers.math_verify_installed.cache_clear()
    try:
        assert same_answer("x+1", "1+x") is None
        assert same_answer("x+1", "x+1") is True
        assert same_answer("4", "\\sqrt{16}") is False
        assert answers.grader() == "exact only"
        assert "math-verify is not installed" in caplog.text
    finally:
        monkeypatch.undo()
        answers.math_verify_installed.cache_clear()


def test_a_slow_answer_is_wrong_and_its_worker_is_replaced():
    pytest.importorskip("math_verify")
    assert same_answer("x+1", "1+x") is True  # the worker runs
    before = answers.shared_worker().pid
    started = time.monotonic()
    assert same_answer("2", TOWER, time_limit=0.5) is False
    assert time.monotonic() - started < 5
    assert answers.shared_worker().pid != before
    assert same_answer("x+1", "1+x") is True


def test_the_killed_worker_is_gone():
    worker = Worker()
    assert worker.ask({"do": "readable", "gold": "x"}, 30) is True
    child = worker._child
    assert worker.ask({"do": "same", "gold": "2", "answer": TOWER}, 0.3) is Late
    assert child is not None and child.returncode is not None
    worker.close()


def test_a_worker_that_dies_counts_as_late_and_is_replaced():
    worker = Worker()
    worker.ask({"do": "readable", "gold": "x"}, 30)
    assert worker._child is not None
    worker._child.kill()
    worker._child.wait()
    assert worker.ask({"do": "readable", "gold": "x"}, 30) is True
    worker.close()


def test_a_child_that_hangs_after_its_parent_died_ends_itself():
    pytest.importorskip("resource")
    code = "from apportion.tasks.worker_main import limit_cpu\nlimit_cpu(0)\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == -signal.SIGXCPU


def test_a_fault_of_the_request_is_raised_not_scored():
    worker = Worker()
    with pytest.raises(RuntimeError, match="KeyError"):
        worker.ask({"do": "nothing like it"}, 30)
    worker.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n#### 22", "22"),
        ("a\n#### 22 \nmore", "22"),
        ("#### 1\n#### 2", "1"),
        ("<think>\n#### 1\n</think>\n#### 2", "2"),
        ("so \\boxed{1} then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("#### \\boxed{7}", "7"),
        ("\\boxed{7", None),
        ("it is 7", None),
        ("####", None),
        ("not at a line start #### 5", None),
        ("", None),
    ],
)
def test_where_the_answer_stands(text, expected):
    assert extract_answer(text) == expected


def test_the_last_number_counts_only_when_asked():
    assert extract_answer("first 3, then 1,234.", last_number=True) == "1,234"
    assert extract_answer("no number", last_number=True) is None


def test_answer_of_several_lines():
    assert after_mark("x\n#### 1 2\n3 4\n") == "1 2\n3 4"


@pytest.mark.parametrize(
    ("text", "end"),
    [("ab\n#### 1", 3), ("ab", 2), ("#### 1\nab\n#### 2", 0), ("<think>a</think>b", 16), ("", 0)],
)
def test_reasoning_end(text, end):
    assert reasoning_end(text) == end


@pytest.mark.parametrize("text", ["\n\na\n\nb", "a\nb\n", "\n", "", "a", "a\n \nb\n\n"])
def test_line_steps_are_those_of_the_segmenter(text):
    from apportion.segment import segment

    assert line_steps(text, len(text)) == segment(text, len(text), "line")
