"""The page in headless Chromium, opened from file:// as a user does."""

import json

import pytest

from apportion.report import compare_runs, write_report
from apportion.trace import Problem, Rollout
from tests.report.chromium import Page
from tests.report.embedded import data_of
from tests.report.synthetic import write_lines, write_stage_run

LISTED = "[...document.querySelectorAll('.row .mark')].map(n => n.textContent)"
SELECTED = "document.querySelector('.trace .id')?.textContent"


@pytest.fixture
def page(browser: Page, report):
    """The report, freshly opened; a test that leaves a message on the console fails."""
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.open(report)
    yield browser
    assert browser.messages == []


def test_opens_without_network_and_hostile_text_is_inert(page: Page, report):
    assert page.requests == [report.resolve().as_uri()]
    page.run("document.getElementById('search').value = 'onerror'")
    page.run("document.getElementById('search').dispatchEvent(new Event('input'))")
    for _ in range(5):
        page.key("j")
        page.run("document.querySelector('.step').click()")
    assert "onerror=" in page.run("document.querySelector('.trace').textContent")
    assert page.run("document.title") == "words_quickstart · Apportion"
    assert page.run("document.images.length") == 0
    assert page.run("document.scripts.length") == 2


def test_shown_text_is_the_text_of_the_record(page: Page, report):
    for trace in data_of(report)["traces"]:
        if "\U0001f468" not in trace["text"] and "שלום" not in trace["text"]:
            continue
        page.run(f"location.hash = 'trace=' + encodeURIComponent({json.dumps(trace['id'])})")
        page.wait(f"{SELECTED} === {json.dumps(trace['id'])}")
        shown = page.run(
            "[...document.querySelectorAll('.column')[0].querySelectorAll('.text')]"
            ".map(n => n.textContent)"
        )
        cuts = [trace["text"][s["a"] : s["b"]].rstrip() for s in trace["steps"]]
        assert shown == cuts


def test_filter_by_click_and_key(page: Page):
    page.run("document.querySelector('#filter [data-value=wrong]').click()")
    assert set(page.run(LISTED)) == {"wrong"}
    page.key("f")
    assert set(page.run(LISTED)) == {"right", "wrong"}
    page.key("f")
    assert set(page.run(LISTED)) == {"right"}
    assert page.run("document.querySelector('.trace .verdict').textContent") == "right"
    assert page.run("document.getElementById('count').textContent").endswith("of 120 traces")


def test_search(page: Page):
    page.key("/")
    assert page.run("document.activeElement.id") == "search"
    for letter in "lamps":
        page.key(letter)
    rows = page.run("[...document.querySelectorAll('.row .first')].map(n => n.textContent)")
    assert rows and page.run("document.getElementById('search').value") == "lamps"
    assert page.run("document.querySelector('.trace').textContent.includes('lamps')")
    page.key("Escape")
    first = page.run(SELECTED)
    page.key("j")
    assert page.run(SELECTED) != first
    page.run("const s = document.getElementById('search'); s.value = 'no such text'; "
             "s.dispatchEvent(new Event('input'))")  # fmt: skip
    assert page.run("document.getElementById('rows').textContent") == "No trace fits."


def test_keys_move_over_traces_and_steps(page: Page):
    first = page.run(SELECTED)
    page.key("j")
    second = page.run(SELECTED)
    assert second != first
    page.key("k")
    assert page.run(SELECTED) == first
    page.run("document.querySelector('.step').focus()")
    page.key("Enter")
    current = "document.querySelector('.step[aria-current=true]')?.dataset"
    assert page.run(f"{current}.step") == "0"
    assert "Step 1" in page.run("document.getElementById('detail').textContent")
    page.key("ArrowDown")
    assert page.run(f"{current}.step") == "1"
    page.key("ArrowRight")
    assert page.run(f"{current}.column") == "1"
    page.key("ArrowUp")
    assert page.run(f"{current}.step") == "0"
    page.key("Enter")
    assert "Choose a step" in page.run("document.getElementById('detail').textContent")


def test_arrows_scroll_the_page_unless_a_step_has_the_focus(page: Page):
    page.run("window.scrollTo(0, 0); document.activeElement.blur()")
    page.key("ArrowDown")
    page.wait("window.scrollY > 0")


def test_help(page: Page):
    page.key("?")
    assert page.run("document.getElementById('help').open")
    page.key("j")
    page.key("Escape")
    page.wait("!document.getElementById('help').open")


def test_methods_side_by_side_and_one_by_one(page: Page, report):
    trace = {t["id"]: t for t in data_of(report)["traces"]}[page.run(SELECTED)]
    heads = page.run("[...document.querySelectorAll('.column h3 span')].map(n => n.textContent)")
    assert heads == ["outcome", "capo", "dca", "shuffled"]
    page.run("document.querySelector('#methods [data-value=capo]').click()")
    shown = page.run("[...document.querySelectorAll('.step .credit')].map(n => n.textContent)")
    expected = []
    for value in trace["credit"]["capo"]["steps"]:
        text = f"{abs(value):.2f}"
        sign = "" if float(text) == 0 else "+" if value > 0 else "−"
        expected.append(sign + text)
    assert shown == expected
    assert page.run("document.querySelectorAll('.column').length") == 1
    page.key("m")
    assert page.run("location.hash").endswith("method=dca")


def test_every_reviewer_speaks(page: Page, report):
    trace = {t["id"]: t for t in data_of(report)["traces"]}[page.run(SELECTED)]
    page.run("document.querySelector('.step').click()")
    text = page.run("document.getElementById('detail').textContent")
    for review in trace["reviews"]:
        assert review["reviewer"] in text
        said = review["error"] or review["verdicts"][review["at"][0]]["reason"]
        assert said in text


def test_disputed_steps_say_so(page: Page):
    disputed = page.run("document.querySelectorAll('.column .step.disputed').length")
    assert disputed > 0  # the list opens with the most disputed trace
    tags = page.run("[...document.querySelectorAll('.step.disputed .tag')].map(n => n.textContent)")
    assert set(tags) == {"disputed"}


def test_permalink(page: Page, report):
    trace = data_of(report)["traces"][37]
    page.open(report, f"#trace={trace['id'].replace('/', '%2F')}&method=dca")
    assert page.run(SELECTED) == trace["id"]
    assert page.run("document.querySelector('#methods [aria-pressed=true]').textContent") == "dca"
    page.open(report, "#trace=no-such-trace")
    assert page.run(SELECTED)


def test_token_advantage_under_the_pointer(page: Page):
    page.run("document.querySelector('#traces').scrollIntoView()")
    box = page.run(
        "(() => { const b = document.querySelector('.tok').getBoundingClientRect();"
        " return [b.left + 2, b.top + 4]; })()"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    page.wait("document.querySelector('.tip') !== null")
    assert "token 0: advantage" in page.run("document.querySelector('.tip').textContent")


def test_charts(page: Page):
    assert page.run("document.querySelector('.chart.shown').id") == "chart-validation-eval-accuracy"
    page.run("document.querySelector('[data-chart=chart-validation-eval-length]').click()")
    assert page.run("document.querySelector('.chart.shown .chart-title').textContent").startswith(
        "Length"
    )
    assert "n = 3 seeds × 200" in page.run("document.querySelector('.readout').textContent")
    assert (
        page.run(
            "getComputedStyle(document.getElementById('chart-validation-eval-accuracy')).display"
        )
        == "none"
    )
    page.run("document.querySelector('.numbers').open = true")
    page.wait("document.querySelectorAll('.numbers tbody tr').length === 7")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_fits_and_can_be_read(page: Page, width, scheme):
    page.resize(width, 900)
    page.prefer(scheme)
    page.run("document.querySelector('.step').click()")
    assert page.run("document.documentElement.scrollWidth") <= width
    ink, paper = page.run(
        "(() => { const c = getComputedStyle(document.body); return [c.color, c.backgroundColor]"
        ".map(v => v.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0)); })()"
    )
    assert (ink < 120 and paper > 700) if scheme == "light" else (ink > 600 and paper < 120)


def test_thousands_of_traces_stay_quick(browser: Page, tmp_path):
    rollouts = [
        Rollout(
            id=str(i),
            problem=Problem(id=str(i), prompt=f"problem {i}"),
            text=f"a = {i}\nb = {i + 1}\n#### {i}",
            outcome=i % 2,
            reasoning_end=0,
        )
        for i in range(5000)
    ]
    write_lines(tmp_path / "rollouts.jsonl", rollouts)
    browser.open(write_report(tmp_path, max_traces=5000))
    assert browser.run("document.getElementById('count').textContent") == "5,000 traces"
    assert browser.run("document.querySelectorAll('.row').length") < 40
    milliseconds = browser.run(
        "(() => { const t = performance.now(); for (let i = 0; i < 20; i++)"
        " document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }));"
        " return (performance.now() - t) / 20; })()"
    )
    assert milliseconds < 1000  # drawing every row would take several seconds
    assert browser.messages == []


def test_trace_without_credit_or_reviews_says_so(browser: Page, tmp_path):
    run = write_stage_run(tmp_path / "stage", problems=2)
    (run / "credit.jsonl").unlink()
    (run / "reviews.jsonl").unlink()
    browser.open(write_report(run))
    text = browser.run("document.querySelector('.trace').textContent")
    assert "No credit is recorded for this trace" in text
    assert "No review is recorded" in text
    assert "No credit.jsonl in stage" in browser.run("document.querySelector('.notes').textContent")
    assert browser.messages == []


def test_comparison_shows_answers_side_by_side(browser: Page, training_run, tmp_path):
    comparison = compare_runs([training_run], tmp_path / "comparison.html", max_traces=80)
    browser.open(comparison.page)
    heads = browser.run("[...document.querySelectorAll('.column h3 span')].map(n => n.textContent)")
    assert {head.split(" ")[0] for head in heads} == {"outcome", "capo", "dca", "shuffled"}
    assert browser.messages == []


def test_print_leaves_out_what_cannot_be_clicked(page: Page):
    page.resize(800, 1000)
    page.call("Emulation.setEmulatedMedia", media="print")
    shown = "getComputedStyle(document.querySelector('{}')).display"
    hidden = (".pick", ".view", ".pick-chart", ".readout", ".turn")
    assert {page.run(shown.format(name)) for name in hidden} == {"none"}
    assert page.run(shown.format(".trace")) == "block"
    assert page.run("document.querySelector('.figures').scrollWidth") <= 800
    page.call("Emulation.setEmulatedMedia", media="")


def test_traces_without_disagreement_are_sorted_by_credit(browser: Page, tmp_path):
    run = write_stage_run(tmp_path / "stage", problems=4)
    reviews = (run / "reviews.jsonl").read_text().splitlines()
    kept = [line for line in reviews if json.loads(line)["reviewer"] == "arithmetic"]
    (run / "reviews.jsonl").write_text("\n".join(kept) + "\n")
    browser.open(write_report(run))
    assert browser.run("document.getElementById('sort').value") == "credit"
    assert browser.messages == []
