"""Dependencies on the page: what the reviewers say, what the known solution says, in words too."""

from __future__ import annotations

import json

import pytest

from apportion.report import write_report
from apportion.report.data import load_run
from apportion.report.graph import LONGEST_READ, known_graph
from apportion.report.traces import collect
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Problem, Review, Rollout, Step, StepVerdict
from tests.report.chromium import Page
from tests.report.synthetic import HOSTILE, write_lines

A, B, C, D = "pens 3 * 4 = 12", "books 2 * 5 = 10", "in all 12 + 10 = 22", "less 22 - 2 = 20"
KNOWN = [
    {"text": A, "expression": "3 * 4", "result": 12, "uses": []},
    {"text": B, "expression": "2 * 5", "result": 10, "uses": []},
    {"text": C, "expression": "12 + 10", "result": 22, "uses": [0, 1]},
    {"text": D, "expression": "22 - 2", "result": 20, "uses": [2]},
]


def rollout(*lines: str, known=KNOWN, answer: str = "20") -> Rollout:
    text = "\n".join([*lines, f"#### {answer}"])
    return Rollout(
        id="a",
        problem=Problem(id="p", prompt="?", answers=("20",), meta={"steps": known}),
        text=text,
        token_ids=tuple(range(len(text))),
        token_spans=tuple((i, i + 1) for i in range(len(text))),
        outcome=1.0,
        reasoning_end=text.index("####"),
    )


def uses(made: Rollout, cut=None):
    found = known_graph(made, cut or segment(made.text, made.reasoning_end))
    assert found is not None
    return found.uses, found.drawn, found.known


def test_the_known_dependencies_join_the_steps_that_compute_them():
    assert uses(rollout(A, B, C, D)) == ([[], [], [0, 1], [2]], 3, 3)
    assert uses(rollout(B, A, C, D)) == ([[], [], [0, 1], [2]], 3, 3), "in the order written"
    assert uses(rollout(A, "hm", B, "bag 7 + 1 = 8", C)) == ([[], [], [], [], [0, 2]], 2, 3)


def test_a_wrong_result_is_still_that_step_and_a_wrong_operand_is_none():
    wrong = rollout("pens 3 * 4 = 13", B, "in all 13 + 10 = 23", "less 23 - 2 = 21")
    assert uses(wrong) == ([[], [], [0, 1], [2]], 3, 3)
    other = rollout(A, B, "in all 12 + 11 = 23", "less 22 - 2 = 20")
    assert uses(other) == ([[], [], [], []], 0, 3), "nobody guesses what line 3 stands for"


def test_what_is_not_written_or_in_one_step_is_not_drawn():
    assert uses(rollout(A, C, D)) == ([[], [0], [1]], 2, 3)
    assert uses(rollout("in all 3 * 4 + 2 * 5 = 22", D)) == ([[], [0]], 1, 3)
    assert uses(rollout("no idea")) == ([[]], 0, 3)
    whole = rollout(A, B, C, D)
    assert uses(whole, [Step(0, whole.reasoning_end)]) == ([[]], 0, 3)


def test_a_cut_through_an_equation_leaves_it_without_a_place():
    made = rollout(A, B, C, D)
    lines = segment(made.text, made.reasoning_end)
    middle = lines[2].start + 10  # inside 12 + 10 = 22
    cut = [lines[0], lines[1], Step(lines[2].start, middle), Step(middle, lines[2].end), lines[3]]
    assert uses(made, cut) == ([[], [], [], [], []], 0, 3)
    before = lines[2].start + 7  # between the words and the equation
    cut[2:4] = [Step(lines[2].start, before), Step(before, lines[2].end)]
    assert uses(made, cut) == ([[], [], [], [0, 1], [3]], 3, 3)


@pytest.mark.parametrize(
    "known",
    [None, [], "steps", [{"text": A}], [{**KNOWN[0], "uses": [5]}], [{**KNOWN[0], "uses": 3}],
     [KNOWN[0]]],
)  # fmt: skip
def test_a_problem_that_knows_no_graph_has_none(known):
    made = rollout(A, B, C, known=known)
    assert known_graph(made, segment(made.text, made.reasoning_end)) is None


def test_texts_that_would_take_long_are_not_read():
    made = rollout(*[A] * LONGEST_READ)
    assert known_graph(made, [Step(0, 16)]) is None


def test_the_graph_of_words_is_drawn_whole_for_its_own_solutions():
    task = load_task("words")
    for problem in task.problems("validation", 30, 0):
        gold = task.gold_completion(problem)
        assert gold is not None
        made = Rollout(id="a", problem=problem, text=gold, reasoning_end=task.reasoning_end(gold))
        found, drawn, known = uses(made)
        assert drawn == known == len(problem.meta["edges"])
        assert [[i, j] for j, sources in enumerate(found) for i in sources] == sorted(
            problem.meta["edges"], key=lambda edge: (edge[1], edge[0])
        )


def reviews(made: Rollout, meta=None) -> list[Review]:
    """The reviewers see the first line's number in the third, and a use that is not there."""
    cut = segment(made.text, made.reasoning_end)
    sources = [(), (0,), (0,), (2,)]
    return [
        Review(
            rollout_id=made.id,
            reviewer="deliberate",
            steps=cut,
            verdicts=tuple(
                StepVerdict(
                    label="useful" if s else "harmful",
                    depends_on=source,
                    instead="" if s else f"pens 4 * 4 = 16 {HOSTILE}",
                )
                for s, source in enumerate(sources)
            ),
            meta=meta or {},
        )
    ]


META = {
    "argument": f"First I add. {HOSTILE}",
    "repairs": ["dropped the dependency of step 3 on itself"],
}


def test_argument_repairs_and_what_instead_are_in_the_page(tmp_path):
    made = rollout(A, B, C, D)
    write_lines(tmp_path / "rollouts.jsonl", [made])
    write_lines(tmp_path / "reviews.jsonl", reviews(made, META))
    [trace] = collect(load_run(tmp_path), 5).traces
    [said] = trace["reviews"]
    assert said["argument"] == META["argument"] and said["repairs"] == META["repairs"]
    assert said["verdicts"][0]["instead"].startswith("pens 4 * 4 = 16")
    assert "instead" not in said["verdicts"][1]
    assert [step.get("uses") for step in trace["steps"]] == [None, [0], [0], [2], None]
    assert [step["known"] for step in trace["steps"]] == [[], [], [0, 1], [2], []]
    assert trace["known"] == {"drawn": 3, "of": 3}


@pytest.mark.parametrize(
    "meta", [{"argument": 3, "repairs": "x"}, {"argument": " ", "repairs": []}]
)
def test_meta_of_another_kind_is_left_out(tmp_path, meta):
    made = rollout(A, B, C, D, known=None)
    write_lines(tmp_path / "rollouts.jsonl", [made])
    write_lines(tmp_path / "reviews.jsonl", reviews(made, meta))
    [trace] = collect(load_run(tmp_path), 5).traces
    assert set(trace["reviews"][0]) == {"reviewer", "error", "at", "verdicts"}
    assert trace["known"] is None
    assert all("known" not in step for step in trace["steps"])


@pytest.fixture
def page(browser: Page, tmp_path):
    made = rollout(A, B, C, D)
    write_lines(tmp_path / "rollouts.jsonl", [made])
    write_lines(tmp_path / "reviews.jsonl", reviews(made, META))
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.open(write_report(tmp_path))
    yield browser
    assert browser.messages == []


ARCS = (
    "[...document.querySelectorAll('.arcs path')].map(p => "
    "[Number(p.dataset.from), Number(p.dataset.to), p.classList[0]])"
)


def test_arcs_tell_apart_who_says_so(page: Page):
    assert sorted(page.run(ARCS)) == [
        [0, 1, "said"],
        [0, 2, "both"],
        [1, 2, "known"],
        [2, 3, "both"],
    ]
    legend = page.run("document.querySelector('.arcs-legend').textContent")
    assert "the reviewers and the known solution" in legend
    assert "the known solution only" in legend


def test_the_arcs_are_said_in_words(page: Page):
    assert page.run("document.querySelector('.arcs').getAttribute('role')") == "img"
    assert page.run("document.querySelector('.arcs').getAttribute('aria-label')") == (
        "Dependencies. Step 2 uses step 1. "
        "Step 3 uses step 1; in the known solution also step 2. Step 4 uses step 3."
    )
    step = "document.querySelectorAll('.step')[2]"
    assert "uses step 1; in the known solution also step 2" in page.run(f"{step}.textContent")
    title = "document.querySelector('.arcs path.known title').textContent"
    assert page.run(title) == "step 3 uses step 2: the known solution only"


def test_keys_follow_the_arcs(page: Page):
    current = "document.querySelector('.step[aria-current=true]')?.dataset.step"
    page.run("document.querySelectorAll('.step')[3].focus()")
    page.key("Enter")
    assert page.run(current) == "3"
    page.key("u")
    assert page.run(current) == "2"
    assert page.run("document.activeElement.dataset.step") == "2"
    lit = "[...document.querySelectorAll('.arcs path.on')].map(p => p.dataset.from + p.dataset.to)"
    assert sorted(page.run(lit)) == ["02", "12", "23"]
    page.key("u")
    assert page.run(current) == "1", "the nearest that it uses, also if only the solution says so"
    page.key("u")
    page.key("u")
    assert page.run(current) == "0", "nothing before the first"
    page.key("b")
    assert page.run(current) == "1"
    buttons = "[...document.querySelectorAll('.goto')].map(b => b.getAttribute('aria-label'))"
    assert page.run(buttons) == ["go to step 1", "go to step 3"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_arcs_fit_a_narrow_page_and_meet_their_steps(page: Page, scheme: str):
    page.resize(400, 900)
    page.prefer(scheme)
    page.wait("document.querySelectorAll('.arcs path').length === 4")
    page.run("dispatchEvent(new Event('resize'))")
    assert page.run("document.documentElement.scrollWidth") <= 400
    # The arcs follow the new width with the next frame.
    page.wait(
        "[...document.querySelectorAll('.arcs path')].every(p => {"
        " const box = p.getBoundingClientRect();"
        " const chain = document.querySelector('.chain').getBoundingClientRect();"
        " const at = i => document.querySelectorAll('.step')[i].getBoundingClientRect();"
        " const [a, b] = [at(p.dataset.from), at(p.dataset.to)];"
        " const gap = chain.left - box.right;"
        " return box.left >= 0 && gap >= -1 && gap <= 3 && box.top > a.top && box.top < a.bottom"
        "  && box.bottom > b.top && box.bottom < b.bottom; })"
    )
    # Not text, so a contrast of 3 with the page is enough (WCAG 2.2, 1.4.11).
    assert page.run(CONTRAST) > 3


CONTRAST = """(() => {
  const light = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll('.arcs path')].map(p => {
    const line = light(getComputedStyle(p).stroke);
    return (Math.max(line, paper) + 0.05) / (Math.min(line, paper) + 0.05);
  }));
})()"""


def test_the_detail_shows_what_should_have_been_thought_and_the_argument(page: Page):
    page.run("document.querySelectorAll('.step')[0].click()")
    assert page.run("document.querySelector('.instead').textContent").startswith(
        "instead: pens 4 * 4 = 16"
    )
    assert page.run("document.querySelector('.argument').open") is False
    page.run("document.querySelector('.argument summary').click()")
    page.wait("document.querySelector('.argument').open")
    assert "First I add." in page.run("document.querySelector('.argument .reason').textContent")
    page.run("document.querySelectorAll('.step')[1].click()")
    page.wait("document.querySelector('.argument').open")
    assert page.run("document.querySelector('.instead')") is None
    assert page.run("document.querySelector('.mended summary').textContent") == (
        "1 repair of its answer"
    )
    assert page.run("document.images.length") == 0, "text of records is text"


def test_side_by_side_one_chain_has_arcs_and_answers_have_each_their_own(browser: Page, tmp_path):
    one, two = rollout(A, B, C, D), rollout(A, B, C).model_copy(update={"id": "b"})
    write_lines(tmp_path / "rollouts.jsonl", [one, two])
    write_lines(tmp_path / "reviews.jsonl", reviews(one))
    credit = [
        {"schema_version": 1, "rollout_id": i, "method": m, "values": [], "advantages": []}
        for i in ("a", "b")
        for m in ("dca", "capo")
    ]
    (tmp_path / "credit.jsonl").write_text("".join(json.dumps(c) + "\n" for c in credit))
    browser.open(write_report(tmp_path), "#trace=a&method=all")
    columns = (
        "[...document.querySelectorAll('.column')].map(c => c.querySelectorAll('path').length)"
    )
    assert browser.run(columns) == [4, 0]
    browser.run("document.querySelector('#methods [data-value=answers]').click()")
    assert browser.run(columns) == [4, 2]
    assert browser.messages == []


def test_a_chain_without_dependencies_has_no_gutter(browser: Page, tmp_path):
    write_lines(tmp_path / "rollouts.jsonl", [rollout("a", "b", known=None)])
    browser.open(write_report(tmp_path))
    assert browser.run("document.querySelector('.arcs')") is None
    assert browser.run("document.querySelector('.arcs-legend')") is None
    assert browser.run("getComputedStyle(document.querySelector('.chain')).marginLeft") == "0px"
