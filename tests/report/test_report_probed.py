"""Interventions and edits in the data of the page and in the browser."""

from __future__ import annotations

import pytest

from apportion.report import compare_runs, write_report
from apportion.report.data import load_run
from apportion.report.edited import pieces
from apportion.report.probed import places
from apportion.report.traces import collect
from apportion.trace import Edit, EditSpan
from tests.report.chromium import Page
from tests.report.probed_setup import (
    LINES,
    NEED,
    TEXT,
    edit,
    probe,
    probes,
    review,
    write_probed,
)


def trace_of(path):
    return collect(load_run(path), 10).traces[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_probed(tmp_path_factory.mktemp("runs") / "probed")


@pytest.fixture(scope="module")
def found(folder):
    return trace_of(folder)["probed"]


def test_steps_are_those_of_the_records(folder, found):
    assert [s["status"] for s in trace_of(folder)["steps"]][-1] == "answer"
    assert found["need"] == {"by": "step_deletion", "steps": [*NEED, None], "least": 0.1}
    assert ["filler", None, "too long for the context"] in found["measures"]
    assert ["step_deletion", 0.62, None] in found["measures"]


def test_the_strip_has_a_row_for_each_cut(found):
    strip = found["strip"]
    assert strip["by"] == "forced_answer" and strip["answers"][0] == "21"
    assert strip["rows"] == [[0.1, 0.5], [0.2, 0.6], [0.2, 0.6], [0.9, 0.05]]
    assert strip["after"] == [-1, 0, 1, 2]
    assert [share for _, share in strip["tops"]] == [0.5, 0.6, 0.6, 0.9]
    assert strip["tops"][-1] == ["21", 0.9]


def test_arcs_go_to_the_answer_and_to_later_steps(found):
    moves = {move["by"]: move for move in found["moves"]}
    assert moves["step_mediation"]["arcs"] == [[0, 3, 0.5], [2, 3, -0.3]]
    # Weaker than a twentieth of the strongest: not drawn.
    assert moves["attention_suppression"]["arcs"] == [[2, 3, 2.0], [0, 2, 1.5], [0, 3, 0.2]]
    assert moves["attention_suppression"]["strongest"] == 2.0


def test_an_answer_that_was_not_scored_is_named_without_a_share(tmp_path):
    forced = probe(
        "forced_answer",
        answers=("7", "21", "21", "21"),
        meta={"answers": ["21"], "distribution": [[0.1], [0.8], [0.9], [0.9]]},
    )
    strip = trace_of(write_probed(tmp_path / "r", probes=[forced]))["probed"]["strip"]
    assert strip["tops"] == [["7", None], ["21", 0.8], ["21", 0.9], ["21", 0.9]]


def test_without_forced_answers_the_strip_is_of_early_ones(tmp_path):
    early = probe("early_answering", 0.4, curve=((0.0, 0.3), (2 / 3, 0.5), (1.0, 0.9)))
    strip = trace_of(write_probed(tmp_path / "r", probes=[early]))["probed"]["strip"]
    assert strip["answers"] == ["its own answer"] and strip["rows"] == [[0.3], [0.5], [0.9]]
    assert strip["after"] == [-1, 1, 2]


def test_sampled_answers_are_shares(tmp_path):
    sampled = probe("resampling", meta={"answers": ["21", "9"],
                                        "counts": [[1, 3], [2, 2], [2, 2], [4, 0]]})  # fmt: skip
    strip = trace_of(write_probed(tmp_path / "r", probes=[sampled]))["probed"]["strip"]
    assert strip["rows"][0] == [0.25, 0.75] and strip["rows"][-1] == [1.0, 0.0]


def test_other_cuts_are_laid_over_the_shown_steps():
    shown = [{"a": 0, "b": 10}, {"a": 10, "b": 12}, {"a": 12, "b": 30},
             {"a": 30, "b": 35, "status": "answer"}]  # fmt: skip
    assert places([(0, 11), (11, 30)], shown) == [0, 0, 1, -1]
    assert places([], shown) == [-1] * 4
    assert places([(0, 4), (4, 10), (20, 30)], shown) == [1, -1, 2, -1]


def test_a_trace_without_probes_has_none(tmp_path):
    trace = trace_of(write_probed(tmp_path / "r", probes=[], edits=[]))
    assert trace["probed"] is None and trace["edits"] == []


def test_pieces_are_both_chains():
    found = pieces(TEXT, edit())
    assert found == [
        ("moved", LINES[2]),
        ("kept", LINES[0]),
        ("inserted", "so it is 21\n"),
        ("deleted", LINES[1]),
        ("away", LINES[2]),
        ("kept", "#### 21"),
    ]
    assert "".join(t for k, t in found if k in ("kept", "inserted", "moved")) == edit().text
    assert "".join(t for k, t in found if k in ("kept", "deleted", "away")) == TEXT


def test_an_edit_that_replaces_all():
    whole = Edit(rollout_id="a", asked=("draft",), operations=("draft",), text="new",
                 reasoning_end=3, spans=(EditSpan(0, 3, "inserted"),))  # fmt: skip
    assert pieces("old", whole) == [("inserted", "new"), ("deleted", "old")]


@pytest.fixture
def page(browser: Page, folder):
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.open(write_report(folder))
    yield browser
    assert browser.messages == []


def texts(selector):
    return f"[...document.querySelectorAll('{selector}')].map(n => n.textContent)"


def test_necessity_stands_beside_the_opinion_and_disagreement_is_marked(page: Page):
    assert page.run(texts(".need")) == ["need +0.62", "need +0.01≠ decoration", "need +0.40"]
    assert "1 of 2 steps that a reviewer calls useful is decoration" in page.run(
        "document.querySelector('.probed').textContent"
    )
    page.run("document.querySelector('.step[data-step=\"1\"]').click()")
    detail = page.run("document.getElementById('detail').textContent")
    assert "≠ decoration, need +0.01" in detail and "llm calls it useful" in detail
    page.run("document.querySelector('.step[data-step=\"0\"]').click()")
    detail = page.run("document.getElementById('detail').textContent")
    assert "decoration" not in detail and "Moves the answer +0.50" in detail


def test_the_strip_says_its_numbers_in_words(page: Page):
    label = page.run("document.querySelector('.answers').getAttribute('aria-label')")
    assert "without the chain: 21 0.10" in label and "behind step 3: 21 0.90" in label
    assert page.run("document.querySelectorAll('.answers .at').length") == 4
    page.run("document.querySelectorAll('.answers .at')[2].dispatchEvent(new Event('click'))")
    assert page.run("document.querySelector('.step[aria-current=true]').dataset.step") == "1"
    assert page.run("document.querySelector('.answers .here').dataset.after") == "1"
    page.run("document.querySelector('.answer-strip details').open = true")
    page.wait("document.querySelectorAll('.answer-strip tbody tr').length === 4")
    # An answer is text of a record.
    assert page.run("document.images.length") == 0


def test_arcs_are_dependencies_until_another_measure_is_chosen(page: Page):
    assert page.run("document.querySelectorAll('.arcs path').length") == 1
    page.key("a")
    label = page.run("document.querySelector('.arcs').getAttribute('aria-label')")
    assert "step 1 moves the answer by +0.50" in label and "by −0.30" in label
    assert page.run("document.querySelectorAll('.arcs path.minus').length") == 1
    page.key("Escape")
    assert page.run("document.getElementById('arcs-of').value") == "step_mediation"


def test_an_edit_is_a_readable_difference(page: Page):
    kinds = page.run("[...document.querySelectorAll('.diff > *')].map(n => n.className)")
    assert kinds == ["moved", "kept", "inserted", "deleted", "away", "kept"]
    assert page.run(texts(".diff del"))[0].startswith("− the bag")
    assert "3 of 4 answers" in page.run("document.querySelector('.edit summary').textContent")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (400, "light")])
def test_it_fits(page: Page, width, scheme):
    page.prefer(scheme)
    page.resize(width, 900)
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    box = page.run("JSON.stringify(document.querySelector('.answers').getBoundingClientRect())")
    assert '"height":5' in box


def test_two_models_on_the_same_problem_stand_side_by_side(browser: Page, folder, tmp_path):
    other = write_probed(tmp_path / "hasty", "hasty", probes=probes()[:2], edits=[],
                         reviews=[review()])  # fmt: skip
    comparison = compare_runs([folder, other], tmp_path / "page.html")
    browser.open(comparison.page)
    assert len(browser.run(texts(".column h3"))) == 2
    assert browser.run("document.querySelectorAll('.answer-strip').length") == 2
    assert browser.run("document.querySelectorAll('.need').length") == 6
    assert browser.messages == []
