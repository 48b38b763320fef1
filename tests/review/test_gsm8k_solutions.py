"""The published GSM8K solutions of four models: 2,640 chains that nobody here wrote.

Set APPORTION_DATA to the folder that holds ``gsm8k/model_solutions_first660.jsonl``.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from apportion.review import Item, load_reviewer, review_now
from apportion.segment import segment
from apportion.segment.answer_line import find_reasoning_end
from apportion.trace import Problem

DATA = Path(os.environ.get("APPORTION_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILE = DATA / "gsm8k" / "model_solutions_first660.jsonl"
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


@pytest.fixture(scope="module")
def chains() -> list[tuple[str, Item]]:
    if not FILE.exists():
        pytest.skip(f"{FILE} is not there: set APPORTION_DATA to the folder that holds gsm8k/")
    found = []
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        problem = Problem(id=str(number), prompt=row["question"])
        for model in MODELS:
            text = row[model]["solution"]
            steps = segment(text, find_reasoning_end(text), "line")
            outcome = float(row[model]["is_correct"])
            found.append((model, Item(problem, text, steps, outcome, f"{number}/{model}")))
    return found


def test_all_published_solutions_are_reviewed_in_seconds(chains):
    started = time.process_time()
    rows = review_now([load_reviewer("arithmetic")], [item for _, item in chains])
    seconds = time.process_time() - started
    reviews = [review for row in rows for review in row]
    assert len(reviews) == 2640
    assert seconds < 10
    assert all(review.ok for review in reviews)
    assert [review.steps for review in reviews] == [tuple(item.steps) for _, item in chains]

    verdicts = [v for review in reviews for v in review.verdicts]
    labels = Counter(v.label for v in verdicts)
    assert sum(v.abstains for v in verdicts) < 0.1 * len(verdicts)
    assert labels["useful"] > 0.8 * len(verdicts)

    wrong = {True: 0, False: 0}
    chains_by = Counter(item.outcome == 1.0 for _, item in chains)
    for review, (_, item) in zip(reviews, chains, strict=True):
        wrong[item.outcome == 1.0] += any(v.wrong for v in review.verdicts)
        for step, verdict in zip(review.steps, review.verdicts, strict=True):
            if verdict.focus is not None:
                assert step.start <= verdict.focus[0] < verdict.focus[1] <= step.end
    # Wrong answers hold wrong steps several times as often as right ones.
    assert 0 < wrong[True] / chains_by[True] < 0.02
    assert wrong[False] / chains_by[False] > 3 * wrong[True] / chains_by[True]


def test_the_reference_solutions_hold_no_wrong_step(chains):
    """Their authors checked them; every accusation would be a misreading, or one of their slips."""
    accused = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = row["ground_truth"]
        steps = segment(text, find_reasoning_end(text), "line")
        problem = Problem(id="x", prompt=row["question"])
        ((review,),) = review_now([load_reviewer("arithmetic")], [Item(problem, text, steps, 1.0)])
        accused += [v.reason for v in review.verdicts if v.wrong]
    assert len(accused) <= 5, accused
