"""apportion agree, and the figure on the page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion.records import read_kind

SECOND = "{kind: noisy, inner: arithmetic, tpr: 0.0, fpr: 0.0, name: blind}"
ROWS = [
    {"prompt": f"{a} pens for {b} dollars each?", "answer": str(a * b), "operations": level,
     "completion": f"{a} * {b} = {a * b + wrong}\n#### {a * b}"}
    for level, a, b, wrong in [(1, 2, 3, 0), (1, 4, 5, 0), (1, 2, 9, 1), (2, 6, 7, 1), (2, 3, 8, 1)]
]  # fmt: skip


@pytest.fixture
def reviewed(run: Callable, tmp_path: Path) -> Path:
    """Two reviewers who differ on every wrong step: one at one operation, two at two."""
    file = tmp_path / "traces.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    result = run("review", file, "-r", "arithmetic", "-r", SECOND, "--out", "out")
    assert result.exit_code == 0, result.stderr
    return Path("out")


def test_a_table_by_difficulty(run: Callable, reviewed: Path) -> None:
    result = run("agree", reviewed)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["level", "problems", "traces", "alpha", "agreed", "tokens"]
    assert lines[1][:3] == ["all", "5", "5"]
    assert lines[2][:4] == ["operations", "1", "3", "3"]
    # One operation: useful 5, harmful 1 of 6: 1 - 5 * 2 / (2 * 5 * 1) = 0; of equal length.
    assert lines[2][4] == "0.000"
    assert "Alpha is at least 0.667 at no level; at operations 1 it is below" in result.stdout
    assert run("agree", reviewed / "rollouts.jsonl").stdout == result.stdout


def test_json_for_programs(run: Callable, reviewed: Path) -> None:
    result = run("agree", reviewed, "--by", "operations", "--json")
    overall, by_operations = json.loads(result.stdout)
    assert overall["by"] is None and overall["levels"][0]["rollouts"] == 5
    assert [level["level"] for level in by_operations["levels"]] == [1.0, 2.0]
    assert by_operations["levels"][1]["agreed"]["value"] == 0.0
    assert by_operations["boundary"]["last"] is None
    strict = run("agree", reviewed, "--json", "--consensus", "majority:min_families=3")
    assert strict.exit_code == 2 and "no step was judged twice" in strict.stderr


def test_what_cannot_be_compared_is_one_line(run: Callable, reviewed: Path, traces: Path) -> None:
    for arguments, message in [
        ((reviewed, "--by", "operation"), "did you mean 'operations'"),
        ((reviewed, "--consensus", "unoin"), "consensus: "),
        (("nowhere",), "no such run directory"),
    ]:
        result = run("agree", *arguments)
        assert result.exit_code == 2 and message in result.stderr
        assert result.stderr.count("\n") == 1
    assert run("review", traces, "-r", "arithmetic", "--out", "alone").exit_code == 0
    result = run("agree", "alone")
    assert result.exit_code == 2
    assert "no step was judged twice: review the traces by two reviewers or more" in result.stderr


def test_the_page_shows_it_where_there_are_two_reviewers(run: Callable, reviewed: Path) -> None:
    page = (reviewed / "report.html").read_text(encoding="utf-8")
    section = page.split('id="agreement"')[1].split("</section>")[0]
    assert section.count("<svg") == 2 and section.count("<circle") == 4
    assert "Krippendorff&#39;s alpha" in section and "by operations" in section
    assert "at no level; at operations 1 it is below" in section
    assert run("review", "traces.jsonl", "-r", "arithmetic", "--out", "one").exit_code == 0
    assert 'id="agreement"' not in Path("one/report.html").read_text(encoding="utf-8")


def test_cross_examination_is_recorded_and_resumes_whole_chains(
    run: Callable, traces: Path
) -> None:
    swayed = "{kind: noisy, inner: arithmetic, tpr: 0.0, fpr: 0.0, yields: 1, name: swayed}"
    third = "{kind: noisy, inner: arithmetic, tpr: 1.0, fpr: 0.0, name: third}"
    panel = ["-r", "arithmetic", "-r", third, "-r", swayed, "--consensus", "majority:quorum=1.0"]
    result = run("review", traces, *panel, "--out", "out", "--cross-examine", "2")
    assert result.exit_code == 0, result.stderr
    reviews = {(r.rollout_id, r.reviewer): r for r in read_kind("out", "reviews")[0]}
    assert len(reviews) == 9
    changed = reviews["traces-2", "swayed"]
    assert changed.meta["rounds"][0]["changed"][0]["to"] == "harmful"
    assert changed.verdicts[0].wrong
    assert "rounds" not in reviews["traces-1", "swayed"].meta
    file = Path("out/reviews.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:-2]))  # one chain has lost two of its three reviews
    again = run("review", traces, *panel, "--out", "out", "--cross-examine", "2", "--resume")
    assert again.exit_code == 0 and again.stdout == result.stdout
    resumed = {(r.rollout_id, r.reviewer): r for r in read_kind("out", "reviews")[0]}
    assert resumed == reviews and len(file.read_text().splitlines()) == 9
    other = run("review", traces, *panel, "--out", "out", "--resume")
    assert other.exit_code == 2 and "cross_examine" in other.stderr


def test_votes_that_cannot_be_taken_leave_nothing_behind(run: Callable, reviewed: Path) -> None:
    for consensus, message in [
        ("majority:rates=measured", "filled in when training starts"),
        ("dawid_skene", "needs 3 or more reviewers, not 2 (arithmetic, blind)"),
    ]:
        result = run("credit", reviewed, "-m", "dca", "--consensus", consensus, "--out", "no")
        assert result.exit_code == 2 and message in result.stderr
        assert result.stderr.count("\n") == 1 and not Path("no").exists()
    result = run(
        "review", "traces.jsonl", "-r", "gold", "--consensus", "dawid_skene", "--out", "no"
    )
    assert result.exit_code == 2 and "not 1 (gold)" in result.stderr and not Path("no").exists()


def test_credit_by_learned_error_rates(run: Callable, reviewed: Path) -> None:
    sharp = "{kind: noisy, inner: arithmetic, tpr: 1.0, fpr: 0.0, name: sharp}"
    assert run("review", reviewed, "-r", sharp, "--out", "three").exit_code == 0
    result = run("credit", "three", "-m", "dca", "--consensus", "dawid_skene", "--out", "learned")
    assert result.exit_code == 0, result.stderr
    whys = [step.why for record in read_kind("learned", "credit")[0] for step in record.steps]
    assert len(whys) == 5 and all("probability" in why for why in whys)
    assert sum(why.startswith("agreed: harmful") for why in whys) == 3
