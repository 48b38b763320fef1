"""The page as ``chromium --print-to-pdf`` prints it: all of it that matters, nothing cut off."""

from __future__ import annotations

import re
import unicodedata

import pytest

from apportion.report import compare_runs
from tests.report.chromium import BINARY, Page
from tests.report.pdf import Printed, print_to_pdf
from tests.report.synthetic import write_training_run

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium on PATH")

STROKES = """[...document.querySelectorAll('.chart.shown .plot.wide .line')].map(
    n => getComputedStyle(n).stroke.match(/[0-9]+/g).map(Number))"""
CELLS = "[...document.querySelectorAll('#arms table.figures :is(th, td)')].map(n => n.textContent)"
STEPS = "[...document.querySelectorAll('.trace .step .text')].map(n => n.textContent)"


def plain(text: str) -> str:
    """Letters and digits alone: lines are broken elsewhere on paper, and fonts join letters."""
    return re.sub(r"[^0-9a-z]", "", unicodedata.normalize("NFKC", text).lower())


def cells_of(pages: list[Printed]) -> str:
    return plain("".join(page.text for page in pages))


def test_curves_arms_and_the_open_trace_are_printed_whole(browser: Page, report, tmp_path):
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.open(report)
    pages = print_to_pdf(report, tmp_path / "page.pdf")
    text = cells_of(pages)
    cells = [plain(cell) for cell in browser.run(CELLS)]
    assert len(cells) > 20 and all(cell in text for cell in cells)
    title = plain(browser.run("document.querySelector('.trace .id').textContent"))
    steps = [plain(step) for step in browser.run(STEPS)]
    assert title in text and len(steps) > 1 and all(step in text for step in steps)
    learning = next(page for page in pages if "Learning" in page.text)
    wanted = {tuple(round(v / 255, 2) for v in colour) for colour in browser.run(STROKES)}
    assert len(wanted) == 4 and wanted <= learning.colours
    assert all(arm in plain(learning.text) for arm in ("outcome", "capo", "dca", "shuffled"))


def test_a_comparison_of_many_arms_is_printed_whole(browser: Page, training_run, tmp_path):
    other = write_training_run(
        tmp_path / "a_second_run_with_quite_a_long_name", problems=6, group=2
    )
    page = compare_runs([training_run, other], tmp_path / "both.html", max_traces=20).page
    browser.open(page)
    pages = print_to_pdf(page, tmp_path / "page.pdf")
    text = cells_of(pages)
    cells = [plain(cell) for cell in browser.run(CELLS)]
    assert all(cell in text for cell in cells)


def test_what_is_cut_off_is_missed(tmp_path):
    page = tmp_path / "page.html"
    box = "width: 90px; overflow: hidden; white-space: nowrap"
    page.write_text(f"<p>whole words</p><div style='{box}'>these words go on past the box</div>")
    (printed,) = print_to_pdf(page, tmp_path / "page.pdf")
    assert "whole words" in printed.text
    assert "these" in printed.text and "past the box" not in printed.text
