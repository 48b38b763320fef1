"""``apportion probe``: estimate, resume, refuse."""

from __future__ import annotations

import json

import pytest

from apportion.trace import Probe
from tests.review.endpoint import Answer, says, serving

TASK = "{kind: sums, operations: [2, 3], terms: [1, 9], largest: 60}"


@pytest.fixture
def probe(run):
    def ask(*more):
        return run("probe", "sums", "--task", TASK, "--problems", 12, "-m", "early_answering",
                   "--max-tokens", 40, "--out", "found", "--plain", *more)  # fmt: skip

    return ask


def lines(tmp_path):
    return (tmp_path / "found" / "probes.jsonl").read_text().splitlines()


def test_a_model_is_probed_and_a_second_time_nothing_is_measured_again(probe, tmp_path):
    first = probe()
    assert first.exit_code == 0, first.output
    whole = lines(tmp_path)
    assert len(whole) == 12
    assert {Probe.model_validate_json(line).scoring for line in whole} == {"probability"}
    assert "early_answering: " in first.output and "over 12 problems" in first.output
    assert probe().exit_code == 0 and lines(tmp_path) == whole


def test_killed_in_the_middle_it_goes_on_and_counts_nothing_twice(probe, tmp_path):
    assert probe().exit_code == 0
    whole = lines(tmp_path)
    file = tmp_path / "found" / "probes.jsonl"
    file.write_text("\n".join(whole[:5]) + "\n" + whole[5][: len(whole[5]) // 2])
    assert probe().exit_code == 0
    kept = [json.loads(line) for line in lines(tmp_path)]
    assert len({record["rollout_id"] for record in kept}) == len(kept) == 12
    # Batches are padded otherwise, so the last digits may differ.
    values = {json.loads(line)["rollout_id"]: json.loads(line)["value"] for line in whole}
    for record in kept:
        assert record["value"] == pytest.approx(values[record["rollout_id"]], abs=1e-4)


def test_an_estimate_measures_nothing(probe, tmp_path):
    result = probe("--estimate")
    assert result.exit_code == 0 and "at most" in result.output
    assert not (tmp_path / "found").exists()


def test_other_options_are_refused_and_samples_are_said(probe):
    assert probe().exit_code == 0
    other = probe("--sample-only")
    assert other.exit_code == 2 and "--clean" in other.output
    sampled = probe("--sample-only", "--clean")
    assert sampled.exit_code == 0
    assert "no log-probabilities are used, samples only" in sampled.output
    assert "by sampling" in sampled.output


def test_chains_that_were_tried_in_part_only_are_said(probe, tmp_path):
    found = probe("-m", "step_deletion:steps=1")
    assert "chains tried in part only: 1 of up to 3 steps" in found.output
    records = [json.loads(line) for line in lines(tmp_path)]
    tried = [r["meta"]["tried"] for r in records if r["measure"] == "step_deletion"]
    assert {k for k, _ in tried} == {1} and f"{sum(n > 1 for _, n in tried)} chains" in found.output


def test_a_monitor_that_was_not_reached_is_asked_again_and_counted_once(run, tmp_path):
    down = {"yes": True}

    def behaviour(request, number):
        return Answer(status=500) if down["yes"] else says('{"reason": "r", "suspicion": 0.5}')

    with serving(behaviour) as endpoint:
        spec = (
            f"{{name: monitorability, monitor: {{model: m, base_url: {endpoint.url}, retries: 0}}}}"
        )

        def ask():
            return run("probe", "sums", "--task", TASK, "--problems", 5, "-m", spec,
                       "--max-tokens", 40, "--out", "found", "--plain")  # fmt: skip

        first = ask()
        assert "5 chains not measured: the monitor gave no suspicion: HTTP 500" in first.output
        down["yes"] = False
        second = ask()
        assert second.exit_code == 0 and "not measured" not in second.output, second.output
        asked = len(endpoint.requests)
        assert asked == 10 and ask().exit_code == 0 and len(endpoint.requests) == asked
    values = [json.loads(line)["value"] for line in lines(tmp_path)]
    assert values == [None] * 5 + [0.5] * 5


def test_traces_without_policy_or_task_are_one_line(run, traces):
    assert "--policy" in run("probe", traces).output
    result = run("probe", traces, "--policy", "tiny")
    assert result.exit_code == 2 and "--task" in result.output
