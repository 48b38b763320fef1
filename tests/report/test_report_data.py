"""Reading run directories: whole, partial and damaged ones."""

import json
import shutil

import pytest

from apportion.errors import UserError
from apportion.report.data import Measure, load_run, over_seeds, read_measure
from apportion.stats import wilson
from tests.report.synthetic import write_lines, write_metrics, write_stage_run


def test_training_run_has_a_part_for_each_arm_and_seed(training_run):
    run = load_run(training_run)
    assert run.arms == ["outcome", "capo", "dca", "shuffled"]
    assert [part.seed for part in run.parts_of("dca")] == [0, 1, 2]
    assert run.measured and not run.notes and not run.complaints


def test_arms_without_configuration_start_with_the_baseline(tmp_path):
    for arm in ("capo", "outcome", "a-b"):
        write_metrics(tmp_path / f"{arm}-s0", arm, 0, 10)
    assert load_run(tmp_path).arms == ["outcome", "a-b", "capo"]


def test_stage_directory_is_one_part(stage_run):
    run = load_run(stage_run)
    assert [(part.arm, part.seed) for part in run.parts] == [("stage", None)]
    assert not run.measured


def test_directory_of_one_arm_and_seed_is_a_run(training_run):
    run = load_run(training_run / "capo-s1")
    assert [(part.arm, part.seed) for part in run.parts] == [("capo", 1)]


def test_directory_without_records_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such run directory"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"no rollouts\.jsonl"):
        load_run(tmp_path)


def test_missing_files_are_noted(tmp_path):
    run_dir = write_stage_run(tmp_path / "stage", problems=2)
    (run_dir / "credit.jsonl").unlink()
    assert load_run(run_dir).notes == [
        "No credit.jsonl in stage: the text of its traces is not tinted."
    ]


def test_what_was_trained_without_credit_misses_none(tmp_path):
    run_dir = write_stage_run(tmp_path / "stage", problems=2)
    (run_dir / "credit.jsonl").unlink()
    (run_dir / "reviews.jsonl").unlink()
    (run_dir / "config.yaml").write_text("objective: latent\n")
    assert load_run(run_dir).notes == []


def test_parts_that_kept_figures_alone_are_noted_once(tmp_path):
    for seed in (0, 1):
        write_metrics(tmp_path / f"dca-s{seed}", "dca", seed, 20)
    assert load_run(tmp_path).notes == [
        "No records but figures were kept in dca-s0, dca-s1: they show no traces."
    ]


def test_unreadable_lines_are_named_and_the_others_kept(tmp_path):
    part = tmp_path / "dca-s0"
    write_metrics(part, "dca", 0, 20)
    file = part / "metrics.jsonl"
    lines = file.read_text().splitlines()
    lines[1] = '{"update": "x"}'
    lines[3] = "<html>"
    file.write_text("\n".join(lines) + '\n{"update": 7, "rol')
    run = load_run(tmp_path)
    assert len(run.parts[0].lines) == len(lines) - 2
    assert [c.split(": ")[0] for c in run.complaints] == [
        "dca-s0/metrics.jsonl:2",
        "dca-s0/metrics.jsonl:4",
        f"dca-s0/metrics.jsonl:{len(lines) + 1}",
    ]


def test_damaged_config_and_manifest_are_noted(tmp_path):
    write_metrics(tmp_path / "dca-s0", "dca", 0, 10)
    (tmp_path / "config.yaml").write_text("a: [1")
    (tmp_path / "dca-s0" / "manifest.json").write_text("{")
    notes = load_run(tmp_path).notes
    assert any("config.yaml cannot be read" in note for note in notes)
    assert any("dca-s0/manifest.json cannot be read" in note for note in notes)


def _part(tmp_path, metrics, manifest=None):
    part = tmp_path / "dca-s0"
    part.mkdir()
    lines = [
        json.dumps({"update": u, "rollouts": u * 8, "split": "train", "metrics": m})
        for u, m in enumerate(metrics)
    ]
    write_lines(part / "metrics.jsonl", lines)
    if manifest is not None:
        (part / "manifest.json").write_text(json.dumps(manifest))
    return load_run(tmp_path)


def test_reviewers_down_is_an_alarm(tmp_path):
    run = _part(tmp_path, [{"review/failed": f} for f in (0.0, 1.0, 0.5, 1.0)])
    [(update, text)] = run.parts[0].alarms()
    assert update == 1
    assert text == "reviewers down in 2 of 4 updates, which trained on the outcome alone"


def test_reviewers_down_for_the_whole_run(tmp_path):
    run = _part(tmp_path, [{"review/failed": 1.0}] * 3)
    assert "down in all updates" in run.parts[0].alarms()[0][1]


def test_alarm_of_the_manifest_and_an_unfinished_arm(tmp_path):
    run = _part(tmp_path, [{"reward/mean": 0.5}], {"alarm": "collapse at update 40"})
    assert run.parts[0].alarms() == [(None, "collapse at update 40")]
    assert "Not finished when this page was made: dca-s0." in run.notes


def test_arms_and_seeds_without_records_are_noted(tmp_path):
    write_metrics(tmp_path / "outcome-s0", "outcome", 0, 10)
    config = "arms: [{name: outcome, set: {}}, {name: dca, set: {}}]\nseeds: [0, 1]"
    (tmp_path / "config.yaml").write_text(config)
    assert "Nothing recorded yet of outcome-s1, dca-s0, dca-s1." in load_run(tmp_path).notes


def test_measures():
    assert read_measure(0.5) == Measure(0.5)
    assert read_measure({"value": 0.5, "n": 8, "low": 0.2, "high": 0.8}) == (0.5, 8, 0.2, 0.8)
    for undefined in (None, "reviewer down", {"value": None, "n": 0}, float("nan")):
        assert read_measure(undefined) is None


def test_one_seed_keeps_its_own_interval():
    given = over_seeds([Measure(0.5, 8, 0.2, 0.8)], share=True)
    assert given is not None and (given.n, given.low, given.high) == (1, 0.2, 0.8)
    worked_out = over_seeds([Measure(0.5, 8)], share=True)
    assert worked_out is not None and (worked_out.low, worked_out.high) == wilson(4, 8)
    unknown = over_seeds([Measure(31.0, 8)], share=False)
    assert unknown is not None and unknown.low is None


def test_several_seeds_are_resampled():
    estimate = over_seeds([Measure(v, 100) for v in (0.1, 0.2, 0.3)], share=True)
    assert estimate is not None and estimate.n == 3
    assert estimate.value == pytest.approx(0.2)
    assert estimate.low == pytest.approx(0.1) and estimate.high == pytest.approx(0.3)


def test_repeated_moment_counts_once(tmp_path):
    part = tmp_path / "dca-s0"
    write_metrics(part, "dca", 0, 10)
    text = (part / "metrics.jsonl").read_text()
    (part / "metrics.jsonl").write_text(text + text)
    series = load_run(tmp_path).parts[0].series("validation", "eval/accuracy")
    assert [x for x, _ in series] == [0, 1280]


def test_other_directories_are_left_alone(training_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(training_run, copy)
    (copy / "checkpoints").mkdir()
    assert len(load_run(copy).parts) == 12
