"""The trade-off of arms, from records made by hand."""

import json

import pytest
from rich.console import Console

from apportion.report import compare_runs
from apportion.report.data import load_run
from apportion.report.tradeoff import tradeoff
from tests.report.test_bet import arms_of, write_arm


def write_probes(run, arm, measure, values, *, update=None, parts=None):
    """``values``: by seed, what each problem gave."""
    for seed, own in values.items():
        records = [
            {
                "rollout_id": f"r{i}/{update}",
                "problem_id": f"p{i}",
                "measure": measure,
                "value": value,
                "update": update,
                "parts": parts or {},
            }
            for i, value in enumerate(own)
        ]
        file = run / f"{arm}-s{seed}" / "probes.jsonl"
        with file.open("a") as out:
            out.writelines(json.dumps(record) + "\n" for record in records)


def final(run, arm, accuracies, **metrics):
    for seed, accuracy in enumerate(accuracies):
        line = {
            "update": 9,
            "rollouts": 99,
            "split": "test",
            "metrics": {"eval/accuracy": {"value": accuracy, "n": 100}} | metrics,
        }
        with (run / f"{arm}-s{seed}" / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


@pytest.fixture
def run(tmp_path):
    # Text is at 0.5 after 10 and 20 examples; latents in one of two seeds, after 30.
    write_arm(tmp_path, "text", {0: [(0, 0.3), (20, 0.7)], 1: [(0, 0.3), (40, 0.7)]})
    write_arm(tmp_path, "latent", {0: [(0, 0.0), (60, 1.0)], 1: [(0, 0.0), (60, 0.2)]})
    final(tmp_path, "text", (0.7, 0.8), **{"eval/length": 20.0})
    final(tmp_path, "latent", (0.9, 0.2), **{"eval/length": 3.0, "eval/latent_steps": 4.0})
    write_probes(tmp_path, "text", "stated_values", {0: [1.0, 0.5], 1: [1.0, 1.0]}, update=9)
    write_probes(tmp_path, "text", "stated_values", {0: [0.0, 0.0], 1: [0.0, 0.0]}, update=0)
    parts = {"question": 0.1}
    write_probes(tmp_path, "latent", "latent_values", {0: [0.5, 0.0], 1: [0.5, None]}, parts=parts)
    return tmp_path


def row(found, arm):
    return next(row for row in found.rows if row.arm == arm)


def test_each_column_by_hand(run):
    found = tradeoff(arms_of(run))
    assert found is not None and (found.reach, found.split) == (0.5, "test")
    text, latent = row(found, "text"), row(found, "latent")
    assert text.examples.estimate.value == pytest.approx(15.0)
    assert (text.examples.reached, text.examples.seeds) == (2, 2)
    assert text.flops.estimate.value == pytest.approx(150.0)
    assert latent.examples.estimate.value == pytest.approx(30.0)
    assert latent.examples.shown == "30, 1 of 2 seeds"
    assert text.accuracy.value == pytest.approx(0.75)
    assert (text.tokens.value, text.latents) == (20.0, None)
    assert (latent.tokens.value, latent.latents.value) == (3.0, 4.0)
    # The newest probes count: 0.75 and 1.0; of the other arm 0.25 and 0.5 with their control.
    assert (text.reader, text.readable.value) == ("stated_values", pytest.approx(0.875))
    assert (latent.reader, latent.readable.value) == ("latent_values", pytest.approx(0.375))
    assert text.control is None and latent.control.value == pytest.approx(0.1)


def test_the_reader_that_reads_most_is_shown_with_its_control(run):
    write_probes(
        run, "latent", "latent_decoded", {0: [1.0], 1: [0.8]}, parts={"other": 0.2, "question": 0.7}
    )
    latent = row(tradeoff(arms_of(run)), "latent")
    assert (latent.reader, latent.readable.value) == ("latent_decoded", pytest.approx(0.9))
    assert latent.control.value == pytest.approx(0.2)


def test_the_accuracy_to_reach_is_the_recipes_and_may_be_out_of_reach(run):
    for part in load_run(run).parts:
        (part.path / "config.yaml").write_text("eval: {reach: 0.75}\n")
    found = tradeoff(arms_of(run))
    assert found is not None and found.reach == 0.75
    assert row(found, "text").examples.shown == "never"
    assert row(found, "latent").examples.estimate.value == pytest.approx(45.0)


def test_runs_that_nobody_read_have_no_table(tmp_path):
    write_arm(tmp_path, "text", {0: [(0, 0.3), (20, 0.7)]})
    assert tradeoff(arms_of(tmp_path)) is None


def test_it_is_printed_and_on_the_page(run, tmp_path):
    page = tmp_path / "page.html"
    found = compare_runs([run], page)
    console = Console(width=220, record=True)
    console.print(found)
    text = console.export_text()
    assert "examples to 0.5" in text and "15 [10, 20]" in text and "latent_values" in text
    html = page.read_text()
    assert "What is given for what" in html and "never" not in html.split("What is given")[1][:900]
    assert "At equal cost" in html and "Per examples: undecided" in html
    for axis in ("examples", "generated tokens", "FLOPs"):
        assert f"against {axis}" in html and f"Accuracy per {axis.removesuffix('s')}" in html
