"""The written page, without a browser: what it says, and what it must not contain."""

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser

import pytest

from apportion.errors import UserError
from apportion.report import wording, write_report
from apportion.report.curves import charts_of, spread_labels, ticks
from apportion.report.data import load_run
from apportion.report.traces import Tally
from apportion.stats import Estimate
from tests.report.embedded import data_of
from tests.report.synthetic import write_lines, write_metrics, write_stage_run


class _Scan(HTMLParser):
    """Elements, attributes and the content of scripts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        else:
            self.text.append(data)


@pytest.fixture(scope="module")
def scan(report) -> _Scan:
    return _Scan(report.read_text(encoding="utf-8"))


def test_page_is_in_the_run_directory(report, training_run):
    assert report == training_run / "report.html"


def test_hostile_text_makes_no_elements(scan):
    assert "img" not in scan.tags and "b" in scan.tags
    assert scan.tags.count("script") == 2
    assert not any(name.startswith("on") for name, _ in scan.attributes)


def test_page_asks_for_nothing(scan):
    addresses = [value for name, value in scan.attributes if name in ("src", "href", "action")]
    assert all(value.startswith(("#", "data:,")) for value in addresses)


def test_policy_allows_this_script_and_nothing_else(scan):
    policy = next(v for n, v in scan.attributes if n == "content" and v and "default-src" in v)
    digest = base64.b64encode(hashlib.sha256(scan.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_script_never_writes_html(scan):
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", scan.scripts[1]
    )


def test_data_survives_embedding(report, training_run):
    data = data_of(report)
    assert data["methods"] == ["outcome", "capo", "dca", "shuffled"]
    assert len(data["traces"]) == 120
    texts = {
        json.loads(line)["text"] for f in training_run.glob("*/rollouts.jsonl") for line in f.open()
    }
    assert all(trace["text"] in texts for trace in data["traces"])
    assert any("</script><img" in trace["text"] for trace in data["traces"])


def test_steps_of_every_trace_partition_its_text(report):
    for trace in data_of(report)["traces"]:
        edges = [0, *(step["b"] for step in trace["steps"])]
        assert [step["a"] for step in trace["steps"]] == edges[:-1]
        assert edges[-1] == len(trace["text"])


def test_page_says_what_it_shows(scan):
    text = " ".join(" ".join(scan.text).split())
    assert "words_quickstart" in text
    assert "120 of 648 traces, chosen evenly" in text
    assert "4 arms, 3 seeds each, trained on up to 7,680 rollouts." in text
    assert "reviewers down in 2 of 61 updates" in text
    assert "collapse at update 50" in text
    assert "unpriced" in text and "3 seeds × 200" in text
    assert "shuffled would need more than it had" in text


def test_table_shows_the_mean_over_seeds(scan, training_run):
    finals = [
        part.final("test", "eval/accuracy").value for part in load_run(training_run).parts_of("dca")
    ]
    assert f"{sum(finals) / 3:.3f}" in scan.text


def test_a_directory_name_is_text(tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>-run"
    write_stage_run(path, problems=2)
    scan = _Scan(write_report(path).read_text(encoding="utf-8"))
    assert "img" not in scan.tags
    assert "<img src=x onerror=alert(1)>-run" in scan.text


def test_run_without_rollouts_still_has_a_page(tmp_path):
    write_metrics(tmp_path / "dca-s0", "dca", 0, 20)
    text = " ".join(_Scan(write_report(tmp_path).read_text(encoding="utf-8")).text)
    assert "There are no traces to show" in text
    assert "No records but figures were kept in dca-s0" in text


def test_empty_files(tmp_path):
    for kind in ("rollouts", "reviews", "credit", "metrics"):
        (tmp_path / f"{kind}.jsonl").touch()
    assert "There are no traces to show" in write_report(tmp_path).read_text(encoding="utf-8")


def test_unreadable_lines_are_on_the_page(tmp_path):
    write_stage_run(tmp_path, problems=2)
    write_lines(tmp_path / "reviews.jsonl", ["<script>alert(1)</script>", '{"rollout_id": 1}'])
    scan = _Scan(write_report(tmp_path).read_text(encoding="utf-8"))
    text = " ".join(" ".join(scan.text).split())
    assert "2 lines of the records could not be read and are left out" in text
    assert "reviews.jsonl:17: not JSON" in text


def test_nan_and_infinite_numbers_do_not_break_the_page(tmp_path):
    part = tmp_path / "dca-s0"
    write_metrics(part, "dca", 0, 20)
    metrics = {"reward/mean": None, "train/loss": float("nan"), "train/kl": float("inf")}
    line = {"update": 30, "rollouts": 3840, "split": "train", "metrics": metrics}
    write_lines(part / "metrics.jsonl", [json.dumps(line)])
    json.loads(_Scan(write_report(tmp_path).read_text(encoding="utf-8")).scripts[0])


def test_no_traces_can_be_asked_for(tmp_path):
    write_stage_run(tmp_path, problems=2)
    text = write_report(tmp_path, max_traces=0).read_text(encoding="utf-8")
    assert "None of the 8 traces of the run is embedded" in text
    with pytest.raises(UserError, match="max_traces"):
        write_report(tmp_path, max_traces=-1)


def test_charts_cover_evaluation_and_training(training_run):
    charts = charts_of(load_run(training_run))
    assert [c.metric for c in charts][:4] == [
        "eval/accuracy",
        "eval/step_error_rate",
        "eval/right_with_wrong_step",
        "eval/length",
    ]
    assert {"reward/mean", "train/grad_norm"} <= {c.metric for c in charts}
    accuracy = charts[0].series[0]
    run = load_run(training_run)
    last = [p.series("validation", "eval/accuracy")[-1][1].value for p in run.parts_of("outcome")]
    assert accuracy.y[-1] == pytest.approx(sum(last) / 3)
    assert accuracy.low[-1] == pytest.approx(min(last))
    assert accuracy.high[-1] == pytest.approx(max(last))
    assert accuracy.of == "3 seeds × 200"


def test_one_seed_is_drawn_with_its_interval_over_problems(tmp_path):
    write_metrics(tmp_path / "dca-s0", "dca", 0, 20)
    run = load_run(tmp_path)
    series = charts_of(run)[0].series[0]
    measure = run.parts[0].series("validation", "eval/accuracy")[-1][1]
    assert (series.low[-1], series.high[-1]) == (measure.low, measure.high)


def test_ticks_are_round_and_enclose():
    assert ticks(0.41, 0.78, 4) == [0.4, 0.5, 0.6, 0.7, 0.8]
    assert ticks(0, 7680, 6) == [0, 2000, 4000, 6000, 8000]
    assert ticks(5, 5, 4)[0] <= 5 <= ticks(5, 5, 4)[-1]


def test_labels_do_not_overlap_and_keep_their_order():
    places = spread_labels([100, 102, 50, 101], 16, 10, 120)
    assert places[2] == 50
    ordered = [places[0], places[3], places[1]]
    assert ordered == sorted(ordered)
    assert all(b - a >= 16 for a, b in zip(sorted(places), sorted(places)[1:], strict=False))
    assert max(places) <= 120


def test_wording():
    assert wording.signed(-0.25) == "−0.250" and wording.signed(0.25, 2) == "+0.25"
    assert wording.fixed(-0.0001) == "0.000"
    assert wording.fixed(math.inf) == "never"
    assert wording.interval(Estimate(0.5, 1)) == "no interval"
    assert wording.interval(Estimate(1, 3, 0.5, math.inf), 2) == "[0.50, never]"
    assert wording.compact(12800) == "12.8k" and wording.compact(1280) == "1,280"
    assert wording.compact(2.5e12) == "2.5T" and wording.compact(-1.5e6) == f"{wording.MINUS}1.5M"
    assert wording.cost(None) == "not recorded" and wording.cost(Tally()) == "no calls"
    assert (
        wording.cost(Tally(calls=2, tokens=12_345, usd=1.5)) == "2 calls, 12.3 k tokens, 1.50 USD"
    )
    assert wording.cost(Tally(calls=2, unpriced=True)) == "2 calls, 0 tokens, unpriced"
    assert [wording.duration(s) for s in (30, 720, 3900)] == ["30 s", "12 min", "1 h 05 min"]
