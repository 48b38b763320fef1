"""apportion sample, review and credit on files and run directories."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apportion import Review, StepVerdict
from apportion.records import read_kind
from apportion.review.arithmetic import ArithmeticReviewer
from apportion.segment import segment

SHARED = Path(os.environ.get("APPORTION_DATA", Path(__file__).parents[3] / "shared/data"))
KINDS = ("finetuning", "verification")
SOLUTIONS = SHARED / "gsm8k/model_solutions_first660.jsonl"


@pytest.mark.skipif(not SOLUTIONS.is_file(), reason=f"needs {SOLUTIONS} (see APPORTION_DATA)")
def test_published_solutions_of_four_models_take_seconds(run: Callable) -> None:
    start = time.process_time()
    result = run("review", SOLUTIONS, "-r", "arithmetic", "--out", "out")
    assert result.exit_code == 0, result.stderr
    assert time.process_time() - start < 30
    lines = result.stdout.splitlines()
    assert lines[0] == "2,640 traces, 1,008 of 2,640 scored ones right"
    assert lines[1].startswith("right answers that hold a wrong step: ")
    assert lines[2] == "2,640 reviews, 0 failed"
    hold = int(lines[1].split(": ")[1].split(" of ")[0])
    assert 5 <= hold <= 50
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "with a wrong step" in page
    assert all(f"{size}_{kind}" in page for size in ("6b", "175b") for kind in KINDS)


def test_review_of_a_foreign_file(run: Callable, traces: Path) -> None:
    result = run("review", traces, "--reviewer", "arithmetic", "--out", "out")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "3 traces, 2 of 3 scored ones right"
    assert lines[1] == "right answers that hold a wrong step: 1 of 2 reviewed (50.0%)"
    assert lines[2] == "3 reviews, 0 failed"
    assert lines[3] == "cost: no calls"
    assert lines[4] == "out/report.html" and Path(lines[4]).is_file()
    reviews, complaints = read_kind("out", "reviews")
    assert [review.rollout_id for review in reviews] == ["traces-1", "traces-2", "traces-3"]
    assert not complaints and all(review.ok for review in reviews)
    wrong = [[verdict.wrong for verdict in review.verdicts] for review in reviews]
    assert wrong == [[False], [True], [True, False]]
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["complaints"] == [] and "finished" in manifest


def test_the_same_directory_needs_resume_and_then_nothing_is_redone(
    run: Callable, traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("review", traces, "-r", "arithmetic", "--out", "out")
    files = [Path("out/reviews.jsonl"), Path("out/rollouts.jsonl")]
    before = [file.read_bytes() for file in files]
    refused = run("review", traces, "-r", "arithmetic", "--out", "out")
    assert refused.exit_code == 2 and "--resume" in refused.stderr
    asked = []
    monkeypatch.setattr(ArithmeticReviewer, "review", lambda *_, **__: asked.append(1))
    again = run("review", traces, "-r", "arithmetic", "--out", "out", "--resume")
    assert again.exit_code == 0 and again.stdout == first.stdout
    assert not asked and [file.read_bytes() for file in files] == before
    other = run(
        "review", traces, "-r", "arithmetic", "--segment", "whole", "--out", "out", "--resume"
    )
    assert other.exit_code == 2 and "another segment" in other.stderr


def test_failed_reviews_are_tried_again_on_resume(run: Callable, traces: Path) -> None:
    assert run("review", traces, "-r", "arithmetic", "--out", "out").exit_code == 0
    file = Path("out/reviews.jsonl")
    failed = Review(rollout_id="traces-2", reviewer="arithmetic", error="timed out")
    other = Review(rollout_id="traces-2", reviewer="someone", error="timed out")
    lines = [line for line in file.read_text().splitlines() if "traces-2" not in line]
    lines += [failed.model_dump_json(), other.model_dump_json()]
    file.write_text("\n".join(lines) + "\n")
    result = run("review", traces, "-r", "arithmetic", "--out", "out", "--resume")
    assert result.exit_code == 0
    assert "1 failed review of before will be tried again" in result.stderr
    reviews = {(r.rollout_id, r.reviewer): r.ok for r in read_kind("out", "reviews")[0]}
    assert reviews == {
        ("traces-1", "arithmetic"): True,
        ("traces-2", "arithmetic"): True,
        ("traces-3", "arithmetic"): True,
        ("traces-2", "someone"): False,
    }


def test_unreadable_lines_are_named_and_the_rest_is_reviewed(run: Callable, traces: Path) -> None:
    with traces.open("a") as file:
        file.write('{"prompt": "x"}\n[1]\n{"prompt": "x", "comple')
    result = run("review", traces, "-r", "arithmetic", "--out", "out")
    assert result.exit_code == 0
    for number in (4, 5, 6):
        assert f"traces.jsonl:{number}: " in result.stderr
    assert "3 traces" in result.stdout
    assert len(json.loads(Path("out/manifest.json").read_text())["complaints"]) == 3


def test_a_reviewer_joins_those_who_were_there(run: Callable, traces: Path) -> None:
    assert run("review", traces, "-r", "arithmetic", "--out", "a").exit_code == 0
    noisy = "{kind: noisy, inner: arithmetic, tpr: 0.0, fpr: 0.0, name: blind}"
    result = run("review", "a", "-r", noisy, "--consensus", "union", "--out", "b")
    assert result.exit_code == 0, result.stderr
    reviewers = [review.reviewer for review in read_kind("b", "reviews")[0]]
    assert reviewers.count("arithmetic") == reviewers.count("blind") == 3


def test_a_reviewer_of_the_same_name_is_asked_anew(run: Callable, traces: Path) -> None:
    run("review", traces, "-r", "arithmetic", "--out", "a")
    blind = "{kind: noisy, inner: arithmetic, tpr: 0.0, fpr: 0.0, name: arithmetic}"
    assert run("review", "a", "-r", blind, "--out", "b").exit_code == 0
    reviews = read_kind("b", "reviews")[0]
    assert len(reviews) == 3
    assert not any(verdict.wrong for review in reviews for verdict in review.verdicts)


def test_a_reviewer_that_is_down_is_an_error_and_resume_mends_it(
    run: Callable, traces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = ArithmeticReviewer.review

    async def down(*_: object, **__: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ArithmeticReviewer, "review", down)
    result = run("review", traces, "-r", "arithmetic", "--out", "out")
    assert result.exit_code == 2
    assert "every review failed (" in result.stderr and "nobody there" in result.stderr
    assert "3 reviews, 3 failed, most often: " in result.stdout
    monkeypatch.setattr(ArithmeticReviewer, "review", review)
    again = run("review", traces, "-r", "arithmetic", "--out", "out", "--resume")
    assert again.exit_code == 0 and "3 reviews, 0 failed" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.jsonl", "-r", "arithmetic"], "none.jsonl: no such file"),
        (["traces.jsonl", "-r", "arithmetik"], "(did you mean 'arithmetic'?)"),
        (["traces.jsonl", "-r", "arithmetic:tpr=1"], "tpr"),
        (["traces.jsonl", "-r", "arithmetic", "--segment", "lines"], "unknown segmenter 'lines'"),
        (["traces.jsonl", "-r", "arithmetic", "-r", "arithmetic"], "are named 'arithmetic'"),
        (["traces.jsonl", "-r", "arithmetic", "--map", "x"], "--map 'x': write COLUMN=field"),
        (["traces.jsonl", "-r", "arithmetic", "--map", "x=prompt"], "no column 'x'"),
        (["traces.jsonl", "-r", "arithmetic", "--consensus", "unoin"], "consensus: "),
        (["traces.jsonl", "traces.jsonl", "-r", "arithmetic"], "occurs in traces.jsonl and in"),
        (["traces.jsonl", "-r", "arithmetic", "--out", "traces.jsonl"], "is a file"),
    ],
)
def test_bad_input_is_one_line_status_2_and_no_directory(
    run: Callable, traces: Path, arguments: list[str], message: str
) -> None:
    out = [] if "--out" in arguments else ["--out", "out"]
    result = run("review", *arguments, *out)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.startswith("apportion: ")
    assert result.stderr.count("\n") == 1 and not result.stdout
    assert not Path("out").exists()


def test_credit_by_several_methods_side_by_side(run: Callable, traces: Path) -> None:
    assert run("review", traces, "-r", "arithmetic", "--out", "reviewed").exit_code == 0
    methods = ["-m", "outcome", "-m", "dca", "-m", "dca:signed=true,cap=4", "-m", "shuffled"]
    result = run("credit", "reviewed", *methods, "--out", "credited")
    assert result.exit_code == 0, result.stderr
    assert "3 traces credited by outcome, dca, dca:signed=True,cap=4, shuffled" in result.stdout
    assert Path("credited/report.html").is_file()
    records = {(c.rollout_id, c.method): c for c in read_kind("credited", "credit")[0]}
    assert len(records) == 12
    right_after_wrong = records["traces-3", "dca"]
    assert len(right_after_wrong.advantages) == 12  # words of the text
    base = records["traces-3", "outcome"].advantages[0]
    # the wrong step gets nothing, the right one what it loses, the answer its own; the sum stays
    assert right_after_wrong.advantages[:5] == (0.0,) * 5
    assert all(a > base for a in right_after_wrong.advantages[5:10])
    assert right_after_wrong.advantages[10:] == (base, base)
    assert sum(right_after_wrong.advantages) == pytest.approx(12 * base, abs=1e-4)
    assert records["traces-3", "dca:signed=True,cap=4"].advantages[0] < 0


def test_credit_takes_outcomes_alone_where_no_review_is_needed(run: Callable, traces: Path) -> None:
    result = run("credit", traces, "-m", "outcome", "--scale", "none", "--out", "out")
    assert result.exit_code == 0, result.stderr
    first, second, _ = read_kind("out", "credit")[0]
    assert set(first.advantages) == {round(1 / 3, 6)}
    assert set(second.advantages) == {round(-2 / 3, 6)}
    refused = run("credit", traces, "-m", "dca", "--out", "other")
    assert refused.exit_code == 2
    assert "dca needs reviews and there are none" in refused.stderr
    assert "apportion review" in refused.stderr and not Path("other").exists()


def test_credit_resumes_without_a_second_record(run: Callable, traces: Path) -> None:
    for flags in ([], ["--resume"]):
        result = run("credit", traces, "-m", "outcome", "--out", "out", *flags)
        assert result.exit_code == 0, result.stderr
    assert len(read_kind("out", "credit")[0]) == 3


def test_the_vote_of_the_run_is_kept(run: Callable, traces: Path) -> None:
    run("review", traces, "-r", "arithmetic", "--consensus", "union:quorum=0.9", "--out", "a")
    assert run("credit", "a", "-m", "capo", "--out", "b").exit_code == 0
    assert "quorum: 0.9" in Path("b/config.yaml").read_text()
    assert "rule: union" in Path("b/config.yaml").read_text()


def scripted_recipe(folder: Path) -> Path:
    from apportion.tasks import load_task

    problems = load_task("words").problems("validation", 6, 0)
    gold = {p.id: load_task("words").gold_completion(p) for p in problems[:3]}
    rest = {p.id: "#### nothing" for p in problems[3:]}
    file = folder / "said.yaml"
    policy = {"kind": "scripted", "completions": gold | rest}
    file.write_text(json.dumps({"task": "words", "policy": policy}))
    return file


def test_sample_scores_and_resumes(run: Callable, tmp_path: Path) -> None:
    recipe = scripted_recipe(tmp_path)
    command = ["sample", recipe, "--problems", "6", "-n", "2", "--out", "out"]
    first = run(*command)
    assert first.exit_code == 0, first.stderr
    assert first.stdout.splitlines()[0] == "12 completions, 6 of 12 right (50.0%)"
    whole = read_kind("out", "rollouts")[0]
    file = Path("out/rollouts.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:7]) + lines[7][:30])
    again = run(*command, "--resume")
    assert again.exit_code == 0 and "dropped 30 bytes" in again.stderr
    assert sorted(r.id for r in read_kind("out", "rollouts")[0]) == sorted(r.id for r in whole)


def test_sample_with_the_answer_in_sight_says_so(run: Callable, tmp_path: Path) -> None:
    recipe = scripted_recipe(tmp_path)
    command = ["sample", recipe, "--problems", "2", "-n", "1", "--out", "out", "--in-sight"]
    wrong = run(*command, "neutrall")
    assert wrong.exit_code == 2 and "did you mean 'neutral'" in wrong.stderr
    assert not Path("out").exists()
    assert run(*command, "neutral").exit_code == 0
    for rollout in read_kind("out", "rollouts")[0]:
        assert rollout.meta["prompt"] == "neutral"
        assert rollout.meta["shown"] == rollout.problem.answers[0]
        assert "right answer is" not in rollout.problem.prompt


def test_sample_searches_with_a_reviewer_as_judge(run: Callable, tmp_path: Path) -> None:
    recipe = tmp_path / "sums.json"
    task = {"kind": "sums", "operations": [2, 2], "terms": [1, 9]}
    policy = {"kind": "tiny", "checkpoint": "sums"}
    train = {"max_completion_tokens": 30}
    recipe.write_text(json.dumps({"name": "s", "task": task, "policy": policy, "train": train}))
    command = ["sample", recipe, "--problems", "3", "-n", "4", "--out", "out", "--search"]
    for kind in ("best-of-n", "beam"):
        found = run(*command, kind, "--judge", "arithmetic", "--width", "2", "--clean")
        assert found.exit_code == 0, found.stderr
        rollouts = read_kind("out", "rollouts")[0]
        assert len(rollouts) == 3
        assert {r.meta["search"] for r in rollouts} == {kind}
    for wrong, said in (
        (["best"], "use best-of-n or beam"),
        (["beam"], "needs a --judge"),
        (["beam", "--judge", "arithmetic", "--width", "3"], "no multiple of --width 3"),
        (["beam", "--judge", "arithmetic", "--in-sight", "neutral"], "exclude each other"),
    ):
        refused = run(*command, *wrong)
        assert refused.exit_code == 2 and said in refused.stderr, refused.stderr
    assert "add best-of-n" in run(*command[:-1], "--judge", "arithmetic").stderr


def test_sample_refuses_a_split_that_is_none(run: Callable, tmp_path: Path) -> None:
    result = run("sample", scripted_recipe(tmp_path), "--split", "tset")
    assert result.exit_code == 2 and "--split 'tset'" in result.stderr


def test_a_policy_that_is_not_there_leaves_nothing_behind(run: Callable, tmp_path: Path) -> None:
    recipe = scripted_recipe(tmp_path)
    policy = "policy={kind: tiny, checkpoint: nowhere}"
    result = run("sample", recipe, policy, "--out", "out")
    assert result.exit_code == 2 and "nowhere" in result.stderr
    assert result.stderr.count("\n") == 1 and not Path("out").exists()


def test_recorded_reviews_can_be_replayed(run: Callable, traces: Path) -> None:
    run("review", traces, "-r", "arithmetic", "--out", "a")
    spec = "scripted:reviews=a/reviews.jsonl,name=echo"
    result = run("review", traces, "-r", spec, "--out", "b")
    assert result.exit_code == 0, result.stderr
    (a, _), (b, _) = read_kind("a", "reviews"), read_kind("b", "reviews")
    assert [r.verdicts for r in a] == [r.verdicts for r in b]
    assert {r.reviewer for r in b} == {"echo"}


def test_steps_are_cut_as_asked(run: Callable, traces: Path) -> None:
    run("review", traces, "-r", "arithmetic", "--segment", "whole", "--out", "out")
    for review in read_kind("out", "reviews")[0]:
        assert len(review.steps) == 1
        assert isinstance(review.verdicts[0], StepVerdict)
    assert len(segment("3 + 4 = 8\n3 * 4 = 12\n")) == 2
