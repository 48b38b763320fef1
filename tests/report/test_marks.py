"""Arms are told apart by more than their colour."""

from __future__ import annotations

from itertools import pairwise

import pytest

from apportion.report import compare_runs
from apportion.report.marks import COLOURS, MARKS, mark_of, marked, style_of
from tests.report.chromium import Page
from tests.report.synthetic import write_training_run


def test_neighbours_differ_in_their_mark_and_no_two_of_56_share_mark_and_colour():
    looks = [(style_of(i).split()[0], mark_of(i)) for i in range(COLOURS * len(MARKS))]
    assert len(set(looks)) == 56
    for i in range(20):
        assert len({mark_of(i + k) for k in range(len(MARKS))}) == len(MARKS)


def test_lines_of_the_second_eight_are_broken():
    assert style_of(7) == "arm-7" and style_of(8) == "arm-0 turn-1"
    assert style_of(17) == "arm-1 turn-2" and style_of(40) == "arm-0 turn-2"


def test_all_of_a_few_points_are_marked_and_some_of_many_the_last_one_always():
    assert marked("abc", 5) == ["a", "b", "c"]
    points = list(range(100))
    for index in range(9):
        some = marked(points, index)
        assert some[-1] == 99 and 7 <= len(some) <= 8
        assert max(b - a for a, b in pairwise(some)) <= 16
    assert not set(marked(points, 0)[:-1]) & set(marked(points, 1)[:-1])
    assert marked([], 3) == []


SHOWN = "document.querySelector('.chart.shown .plot.wide')"
LOOKS = f"""[...{SHOWN}.querySelectorAll('.label')].map(label => {{
    const mark = label.previousElementSibling, own = getComputedStyle(mark);
    return [label.textContent, mark.getAttribute('d'), own.fill];
}})"""
KEYS = """[...document.querySelectorAll('#arms .key')].map(key => [
    key.nextSibling.textContent.trim(), key.querySelector('.mark').getAttribute('d'),
    getComputedStyle(key.querySelector('.mark')).fill])"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_legend_readout_and_table_show_the_mark_of_each_line(browser: Page, tmp_path, scheme):
    runs = [write_training_run(tmp_path / name, problems=4, group=2) for name in ("a", "b", "c")]
    page = compare_runs(runs, tmp_path / "all.html", max_traces=4).page
    browser.resize(1280, 900)
    browser.prefer(scheme)
    browser.open(page)
    drawn = {name: (mark, fill) for name, mark, fill in browser.run(LOOKS)}
    assert len(drawn) == 12 == len(set(drawn.values()))
    assert {mark for mark, _ in drawn.values()} == set(MARKS)
    listed = {name: (mark, fill) for name, mark, fill in browser.run(KEYS)}
    assert listed == drawn
    marks = "[...document.querySelectorAll('.readout .key .mark')].map(n => n.getAttribute('d'))"
    assert sorted(browser.run(marks)) == sorted(mark for mark, _ in drawn.values())
    dashes = f"[...{SHOWN}.querySelectorAll('.line')].map(n => getComputedStyle(n).strokeDasharray)"
    # The first eight are solid, but for the controls of two of the runs among them.
    assert sum(dash == "none" for dash in browser.run(dashes)) == 6
    assert browser.messages == []
    browser.prefer("light")
