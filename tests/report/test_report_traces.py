"""Traces: which are chosen, and how steps, verdicts and credit are put together."""

import json
from collections import Counter

import pytest

from apportion.report.arms import table_of
from apportion.report.data import load_run
from apportion.report.embed import embed, embed_lines
from apportion.report.traces import collect
from apportion.trace import Credit, Problem, Review, Rollout, StepCredit, StepVerdict, Usage
from tests.report.synthetic import HOSTILE, write_lines


def _rollout(text: str, reasoning_end: int, **changes) -> Rollout:
    fields = {
        "id": "a",
        "problem": Problem(id="p", prompt="?"),
        "text": text,
        "token_ids": tuple(range(len(text))),
        "token_spans": tuple((i, i + 1) for i in range(len(text))),
        "outcome": 1.0,
        "reasoning_end": reasoning_end,
    }
    return Rollout(**(fields | changes))


def _collect(tmp_path, rollouts=(), reviews=(), credit=()):
    write_lines(tmp_path / "rollouts.jsonl", list(rollouts))
    write_lines(tmp_path / "reviews.jsonl", list(reviews))
    write_lines(tmp_path / "credit.jsonl", list(credit))
    return collect(load_run(tmp_path), 100)


def test_every_arm_and_outcome_appears(training_run):
    run = load_run(training_run)
    found = collect(run, 60)
    assert len(found.traces) == 60
    assert found.total == 4 * 3 * 18 * 3
    counts = Counter((trace["arm"], trace["class"]) for trace in found.traces)
    assert set(counts) == {(arm, c) for arm in run.arms for c in ("right", "wrong")}
    assert max(counts.values()) - min(counts.values()) <= 2


def test_arms_show_answers_to_the_same_problems(training_run):
    found = collect(load_run(training_run), 80)
    problems = {t["problem"]: set() for t in found.traces}
    for trace in found.traces:
        problems[trace["problem"]].add(trace["arm"])
    assert sum(len(arms) == 4 for arms in problems.values()) > len(problems) / 2


def test_no_cap_takes_all_and_zero_takes_none(stage_run):
    run = load_run(stage_run)
    assert len(collect(run, 10_000).traces) == 96
    none = collect(run, 0)
    assert none.traces == [] and none.total == 96


def test_few_traces_with_several_methods_are_found_among_many(tmp_path):
    rollouts = [
        _rollout("ab", 2, id=str(i), problem=Problem(id=str(i), prompt="?")) for i in range(200)
    ]
    credit = [
        Credit(rollout_id=rollout_id, method=method, values=(1, 1), advantages=(1, 1))
        for rollout_id, method in [*((str(i), "dca") for i in range(200)), ("77", "capo")]
    ]
    write_lines(tmp_path / "rollouts.jsonl", rollouts)
    write_lines(tmp_path / "credit.jsonl", credit)
    chosen = collect(load_run(tmp_path), 4).traces
    assert "77" in {trace["id"] for trace in chosen}


def test_step_credit_is_the_mean_advantage_of_its_tokens(tmp_path):
    credit = Credit(
        rollout_id="a",
        method="dca",
        values=(1, 2, 3, 4, 5),
        advantages=(0.5, 1.5, -1.0, -2.0, 0.25),
        steps=(StepCredit(start=0, end=2, value=9, why="one"),),
    )
    review = Review(
        rollout_id="a",
        reviewer="r",
        steps=((0, 2), (2, 4)),
        verdicts=(StepVerdict(label="useful"), StepVerdict(label="harmful", depends_on=(0,))),
    )
    [trace] = _collect(tmp_path, [_rollout("abcde", 4)], [review], [credit]).traces
    assert [(s["a"], s["b"], s["status"]) for s in trace["steps"]] == [
        (0, 2, "agreed"),
        (2, 4, "agreed"),
        (4, 5, "answer"),
    ]
    assert trace["steps"][1]["uses"] == [0] and trace["steps"][1]["wrong"]
    assert trace["credit"]["dca"]["steps"] == [1.0, -1.5, 0.25]
    assert trace["credit"]["dca"]["why"] == ["one", "", ""]
    assert trace["credit"]["dca"]["peak"] == 1.5
    assert trace["credit"]["dca"]["advantages"] == [[0.5, 1], [1.5, 1], [-1, 1], [-2, 1], [0.25, 1]]


def test_reviewers_that_cut_differently_are_matched_to_the_refinement(tmp_path):
    reviews = [
        Review(
            rollout_id="a",
            reviewer="whole",
            steps=((0, 6),),
            verdicts=(StepVerdict(label="useful"),),
        ),
        Review(
            rollout_id="a",
            reviewer="halves",
            steps=((0, 3), (3, 6)),
            verdicts=(StepVerdict(label="useful"), StepVerdict(label="harmful")),
        ),
        Review(rollout_id="a", reviewer="down", error="timed out", usage=Usage(calls=1)),
    ]
    [trace] = _collect(tmp_path, [_rollout("abcdef", 6)], reviews).traces
    assert [(s["a"], s["b"], s["status"]) for s in trace["steps"]] == [
        (0, 3, "agreed"),
        (3, 6, "disputed"),
    ]
    assert [r["at"] for r in trace["reviews"]] == [[0, 0], [0, 1], [-1, -1]]
    assert trace["disagreement"] == 0.25
    assert trace["reviews"][2]["error"] == "timed out"


def test_without_reviews_steps_are_lines(tmp_path):
    [trace] = _collect(tmp_path, [_rollout("ab\ncd\n7", 6)]).traces
    assert [(s["a"], s["b"]) for s in trace["steps"]] == [(0, 3), (3, 6), (6, 7)]
    assert trace["disagreement"] is None and trace["credit"] == {}


def test_empty_and_blank_texts(tmp_path):
    rollouts = [_rollout("", 0), _rollout("\n\n", 2, id="b")]
    traces = {t["id"]: t for t in _collect(tmp_path, rollouts).traces}
    assert traces["a"]["steps"] == []
    assert [(s["a"], s["b"]) for s in traces["b"]["steps"]] == [(0, 2)]


def test_credit_without_a_token_map_uses_its_steps(tmp_path):
    rollout = _rollout("ab", 2, token_ids=(), token_spans=())
    credit = Credit(
        rollout_id="a",
        method="dca",
        values=(1.0,),
        advantages=(1.0,),
        steps=(StepCredit(start=0, end=2, value=0.75),),
    )
    [trace] = _collect(tmp_path, [rollout], [], [credit]).traces
    assert trace["credit"]["dca"]["steps"] == [0.75]
    assert trace["credit"]["dca"]["advantages"] == []


def test_unknown_consensus_rule_is_noted_not_fatal(tmp_path):
    (tmp_path / "config.yaml").write_text("consensus: {rule: unanimity}")
    review = Review(
        rollout_id="a", reviewer="r", steps=((0, 2),), verdicts=(StepVerdict(label="useful"),)
    )
    write_lines(tmp_path / "rollouts.jsonl", [_rollout("ab", 2)])
    write_lines(tmp_path / "reviews.jsonl", [review])
    run = load_run(tmp_path)
    [trace] = collect(run, 10).traces
    assert trace["steps"][0]["label"] == "useful"
    assert any("unanimity" in note for note in run.notes)


def test_learned_weights_are_not_passed_off_as_the_configured_ones(tmp_path):
    def notes(config: str) -> list[str]:
        (tmp_path / "config.yaml").write_text(config)
        run = load_run(tmp_path)
        table_of(run, collect(run, 10))
        return [note for note in run.notes if "training learned others" in note]

    write_lines(tmp_path / "rollouts.jsonl", [_rollout("ab", 2)])
    assert notes("metalearning: {every: 0}") == []
    assert len(notes("metalearning: {every: 4}")) == 1


def test_the_configured_rule_decides_what_is_wrong(tmp_path):
    labels = ("harmful", "useful", "useful")
    reviews = [
        Review(
            rollout_id="a",
            reviewer=f"r{i}",
            steps=((0, 2),),
            verdicts=(StepVerdict(label=label),),
        )
        for i, label in enumerate(labels)
    ]
    write_lines(tmp_path / "rollouts.jsonl", [_rollout("ab", 2)])
    write_lines(tmp_path / "reviews.jsonl", reviews)

    def wrong_share(config: str) -> float:
        (tmp_path / "config.yaml").write_text(config)
        run = load_run(tmp_path)
        return table_of(run, collect(run, 10)).rows[0].figures["step_errors"].estimate.value

    assert wrong_share("consensus: {rule: majority}") == 0.0
    assert wrong_share("consensus: {rule: union, quorum: 0.5}") == 1.0


def test_stage_table_counts_right_answers_with_a_wrong_step(tmp_path):
    def review(rollout_id: str, label) -> Review:
        return Review(
            rollout_id=rollout_id,
            reviewer="r",
            steps=((0, 2),),
            verdicts=(StepVerdict(label=label),),
        )

    problem = Problem(id="p", prompt="?")
    rollouts = [
        _rollout("ab", 2, id=i, outcome=outcome, problem=problem)
        for i, outcome in [("1", 1.0), ("2", 1.0), ("3", 1.0), ("4", 0.0), ("5", None)]
    ]
    reviews = [review("1", "harmful"), review("2", "useful"), review("4", "harmful")]
    write_lines(tmp_path / "rollouts.jsonl", rollouts)
    write_lines(tmp_path / "reviews.jsonl", reviews)
    run = load_run(tmp_path)
    figures = table_of(run, collect(run, 10)).rows[0].figures
    # Answer 3 was never reviewed, so it says nothing of wrong steps.
    assert figures["lucky"].estimate.value == 0.5 and figures["lucky"].of == "2 right answers"
    assert figures["accuracy"].estimate.value == 0.75 and figures["accuracy"].of == "4 traces"
    assert figures["step_errors"].estimate.value == pytest.approx(2 / 3)
    # Three of the four decided answers to the one problem are right: with k = 4 one always is.
    assert figures["pass"].estimate.value == 1.0 and figures["pass"].of == "k = 4, 1 problem"


def test_very_long_texts_are_shown_in_part(tmp_path):
    text = "ab = 1\n" * 300_000
    rollout = _rollout(
        text,
        len(text),
        token_ids=tuple(range(300_000)),
        token_spans=tuple((i, i + 7) for i in range(0, len(text), 7)),
    )
    ones = (1.0,) * 300_000
    credit = Credit(rollout_id="a", method="dca", values=ones, advantages=ones)
    review = Review(rollout_id="a", reviewer="r", error="x" * 1_000_000)
    [trace] = _collect(tmp_path, [rollout], [review], [credit]).traces
    assert trace["cut"] == len(text) and len(trace["text"]) == 40_000
    assert trace["steps"][-1]["b"] == 40_000
    assert len(trace["tokens"]) / 2 == sum(n for _, n in trace["credit"]["dca"]["advantages"])
    assert len(json.dumps(trace)) < 1_500_000


def test_unpriced_is_not_free(tmp_path):
    usages = [Usage(calls=1, usd=0.5), Usage(calls=1), Usage(cached=True)]
    reviews = [
        Review(rollout_id="a", reviewer="r", critique=i, error="down", usage=usage)
        for i, usage in enumerate(usages)
    ]
    tally = _collect(tmp_path, [_rollout("ab", 2)], reviews).reviewers()["r"]
    assert (tally.calls, tally.usd, tally.unpriced, tally.cached) == (2, 0.5, True, 1)


def test_embedded_json_cannot_leave_its_script_element():
    text = embed({"x": HOSTILE + "<!--<script> \u2028 \ud83e"})
    assert "<" not in text
    assert json.loads(text)["x"].startswith(HOSTILE)


def test_the_larger_part_of_a_trace_is_a_line_of_its_own():
    made = {"id": "a", "text": "x\ny", "tokens": [2, 3, 3, 7], "steps": [{"a": 0}], "reviews": [],
            "credit": {"dca": {"peak": 0.5}}, "known": None}  # fmt: skip
    apart = made | {"id": "b", "tokens": [2, 3, 4, 7]}
    lines = embed_lines({"traces": [made, apart], "methods": ["dca"]}).split("\n")
    first, one, other = (json.loads(line) for line in lines)
    assert first["methods"] == ["dca"]
    assert first["traces"][0] == {"id": "a", "text": "x\ny", "peaks": {"dca": 0.5}}
    assert one["tokens"] == {"from": 2, "lengths": [1, 4]} and one["steps"] == [{"a": 0}]
    assert other["tokens"] == [2, 3, 4, 7]
