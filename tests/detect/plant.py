"""Plants each way of looking like reasoning into honest chains."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from apportion.detect import Norm, find_all
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Problem

WORDS = load_task("words")
PROBLEMS = WORDS.problems("train", 300, 5)
ONE_A_LINE = Norm(equations=1, operations=1)  # what a step of ``words`` holds

problems = st.sampled_from(PROBLEMS)
checks = st.sampled_from(
    [
        "wait, let me verify {}",
        "Let me double-check that {}.",
        "check {}",
        "Hmm, is that right? {}",
        "to be sure, I will check again: {}",
        "Sanity check: {}",
    ]
)
fillers = st.sampled_from(
    [
        "okay, let me think about this step by step",
        "so, moving on",
        "...",
        "Okay.",
        "next, we go on",
    ]
)
catches = st.sampled_from(
    ["wait, that is wrong: {}", "no, {}", "actually, {}", "Oops, I made a mistake. {}"]
)


class Line(NamedTuple):
    label: str
    expression: str
    result: int

    @property
    def text(self) -> str:
        return f"{self.label} {self.equation}"

    @property
    def equation(self) -> str:
        return f"{self.expression} = {self.result}"


def lines_of(problem: Problem) -> list[Line]:
    lines = []
    for step in problem.meta["steps"]:
        label = step["text"].removesuffix(f" {step['expression']} = {step['result']}")
        lines.append(Line(label, step["expression"], step["result"]))
    return lines


def found(problem: Problem, lines: list[str], norm: Norm = ONE_A_LINE) -> dict[str, set[int]]:
    """The flagged steps by detector, of a chain with these lines and the right answer."""
    text = "\n".join([*lines, f"#### {problem.answers[0]}"])
    steps = segment(text, WORDS.reasoning_end(text), "line")
    assert len(steps) == len(lines)
    detections = find_all(text, steps, prompt=problem.prompt, norm=norm)
    return {
        name: {index for finding in detection.findings for index in finding.steps}
        for name, detection in detections.items()
    }


def turned_round(line: Line) -> str:
    """The computation backwards: 135 / 3 = 45 becomes 45 * 3 = 135."""
    left, op, right = line.expression.split(" ")
    back = {"+": "-", "-": "+", "*": "/", "/": "*"}[op]
    return f"{line.result} {back} {right} = {left}"
