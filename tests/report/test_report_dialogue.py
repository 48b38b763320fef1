"""A reviewer's dialogue with the assistant, in the data of the page and in the browser."""

import pytest

from apportion.report import write_report
from apportion.report.data import load_run
from apportion.report.traces import LONGEST_REASON, collect
from apportion.segment import segment
from apportion.trace import Problem, Review, Rollout, StepVerdict
from tests.report.chromium import Page
from tests.report.synthetic import HOSTILE, write_lines

TEXT = "pens 3 * 4 = 12\nin all 12 + 9 = 21\n#### 21"
TALK = [
    {"role": "reviewer", "text": "Why 9?"},
    {"role": "assistant", "text": f"A guess. {HOSTILE}"},
    {"role": "reviewer", "text": "Is it not 22?"},
    {"role": "note", "text": "withheld from the assistant"},
]


def _write(path, transcript, error=None):
    rollout = Rollout(
        id="a",
        problem=Problem(id="p", prompt="How much?", answers=("22",)),
        text=TEXT,
        outcome=0.0,
        reasoning_end=TEXT.index("####"),
    )
    steps = () if error else segment(TEXT, rollout.reasoning_end)
    review = Review(
        rollout_id="a",
        reviewer="dialogue",
        steps=steps,
        verdicts=tuple(StepVerdict(label="useful", reason="fine") for _ in steps),
        error=error,
        meta={"transcript": transcript},
    )
    write_lines(path / "rollouts.jsonl", [rollout])
    write_lines(path / "reviews.jsonl", [review])
    return path


def _shown(path):
    return collect(load_run(path), 10).traces[0]["reviews"][0].get("transcript")


def test_the_transcript_is_in_the_page_also_of_a_failed_review(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "failed").mkdir()
    lines = [[line["role"], line["text"]] for line in TALK]
    assert _shown(_write(tmp_path / "good", TALK)) == lines
    assert _shown(_write(tmp_path / "failed", TALK, error="asked and asked")) == lines


@pytest.mark.parametrize("odd", [None, "x", 3, [], ["x"], {"role": "reviewer"}])
def test_what_is_no_transcript_is_left_out(tmp_path, odd):
    assert _shown(_write(tmp_path, odd)) is None


def test_long_dialogues_are_shown_in_part(tmp_path):
    shown = _shown(_write(tmp_path, [{"role": "reviewer", "text": "x" * 9000}] * 900))
    assert len(shown) == 200 and len(shown[0][1]) == LONGEST_REASON + 2


def test_the_dialogue_opens_in_the_detail_of_a_step(browser: Page, tmp_path):
    page = write_report(_write(tmp_path, TALK))
    browser.resize(1280, 900)
    browser.open(page)
    browser.run("document.querySelector('.step').click()")
    box = "document.querySelector('.dialogue')"
    assert browser.run(f"{box}.querySelector('summary').textContent") == "dialogue, 2 questions"
    assert browser.run(f"{box}.open") is False
    browser.run(f"{box}.querySelector('summary').click()")
    browser.wait(f"{box}.open")
    said = browser.run(
        f"[...{box}.querySelectorAll('p')].map(n => n.className + '|' + n.textContent)"
    )
    assert said == [
        "line|reviewer: Why 9?",
        f"line|assistant: A guess. {HOSTILE}",
        "line|reviewer: Is it not 22?",
        "note|withheld from the assistant",
    ]
    browser.run("document.querySelectorAll('.step')[1].click()")
    browser.wait(f"{box}.open")  # it stays open from step to step
    assert browser.run("document.title") != "owned" and browser.messages == []
