"""noisy, scripted, human, and reviewers by name."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from apportion.errors import UserError
from apportion.review import REVIEWERS, Reviewer, load_reviewer
from apportion.review.human import HumanReviewer, TerminalReviewer
from apportion.review.labels import read_labels
from apportion.review.noisy import NoisyReviewer
from apportion.review.scripted import ScriptedReviewer
from apportion.trace import Review, Step, StepVerdict
from tests.review.helpers import CHAIN, ask, item

WRONG = StepVerdict(label="harmful", correct=False, focus=(1, 2), confidence=1.0)
RIGHT = StepVerdict(label="useful", correct=True, confidence=1.0)
SPARE = StepVerdict(label="irrelevant", correct=True)


def fixed(*verdicts: StepVerdict) -> ScriptedReviewer:
    return ScriptedReviewer(lambda problem, text, steps, critique: verdicts[: len(steps)])


def texts(count: int):
    return [item(CHAIN.replace("22", str(i)), f"r{i}") for i in range(count)]


@pytest.mark.parametrize(("tpr", "fpr"), [(0.75, 0.25), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)])
def test_noise_has_the_rates_that_were_asked_for(tpr: float, fpr: float):
    noisy = NoisyReviewer(fixed(WRONG, RIGHT, SPARE), tpr=tpr, fpr=fpr)
    reviews = ask(noisy, *texts(2000))
    hits = sum(review.verdicts[0].wrong for review in reviews) / 2000
    alarms = sum(v.wrong for review in reviews for v in review.verdicts[1:]) / 4000
    assert hits == pytest.approx(tpr, abs=0.04)
    assert alarms == pytest.approx(fpr, abs=0.03)
    assert noisy.youden == tpr - fpr


def test_flipped_verdicts_are_consistent_and_abstentions_stay():
    noisy = NoisyReviewer(fixed(WRONG, RIGHT, StepVerdict()), tpr=0.0, fpr=1.0)
    (review,) = ask(noisy)
    assert [(v.label, v.correct, v.focus) for v in review.verdicts] == [
        ("useful", True, None),
        ("harmful", False, None),
        (None, None, None),
    ]
    assert review.reviewer == "noisy"
    assert all(v.confidence is None for v in review.verdicts)


def test_noise_does_not_depend_on_the_order_nor_on_the_process():
    noisy = NoisyReviewer(fixed(WRONG, RIGHT, SPARE), tpr=0.5, fpr=0.5, seed=3)
    forward = {r.rollout_id: r.verdicts for r in ask(noisy, *texts(50))}
    backward = {r.rollout_id: r.verdicts for r in ask(noisy, *reversed(texts(50)))}
    assert forward == backward
    script = (
        "from tests.review.test_other_reviewers import *\n"
        "noisy = NoisyReviewer(fixed(WRONG, RIGHT, SPARE), tpr=0.5, fpr=0.5, seed=3)\n"
        "print([v.label for r in ask(noisy, *texts(50)) for v in r.verdicts])"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == str([v.label for i in range(50) for v in forward[f"r{i}"]])


def test_seeds_and_critiques_are_independent_and_the_rollout_id_does_not_matter():
    def labels(seed: int, critique: int):
        noisy = NoisyReviewer(fixed(WRONG, RIGHT, SPARE), tpr=0.5, fpr=0.5, seed=seed, critiques=2)
        reviews = [r for r in ask(noisy, *texts(60)) if r.critique == critique]
        return [v.label for r in reviews for v in r.verdicts]

    streams = [labels(0, 0), labels(0, 1), labels(1, 0)]
    for i, a in enumerate(streams):
        for b in streams[:i]:
            same = sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
            assert same < 0.75
    noisy = NoisyReviewer(fixed(WRONG, RIGHT, SPARE), tpr=0.5, fpr=0.5)
    a, b = ask(noisy, item(rollout_id="a"), item(rollout_id="b"))
    assert a.verdicts == b.verdicts


def test_a_failed_inner_review_stays_failed():
    (review,) = ask(NoisyReviewer(ScriptedReviewer({}), tpr=0.5, fpr=0.5))
    assert not review.ok


def test_rates_must_be_probabilities():
    with pytest.raises(ValueError, match=r"tpr 1\.5 is not a probability"):
        NoisyReviewer(fixed(), tpr=1.5, fpr=0.0)


def test_scripts_by_rollout_by_callable_and_async():
    (by_id, unknown) = ask(
        ScriptedReviewer({"r1": [RIGHT, WRONG, SPARE]}), item(), item(rollout_id="r2")
    )
    assert by_id.verdicts == (RIGHT, WRONG, SPARE)
    assert unknown.error == "nothing is scripted for rollout 'r2', critique 0"

    async def later(problem, text, steps, critique):
        await asyncio.sleep(0)
        return [WRONG if critique else RIGHT] * len(steps)

    first, second = ask(ScriptedReviewer(later, critiques=2))
    assert (first.verdicts[0], second.verdicts[0]) == (RIGHT, WRONG)


def test_recorded_reviews_are_replayed_with_their_own_cut(tmp_path):
    cut = (Step(0, 10), Step(10, CHAIN.index("####")))
    recorded = [
        Review(rollout_id="r1", reviewer=name, critique=k, steps=cut, verdicts=(RIGHT, WRONG))
        for name in ("a", "b")
        for k in (0, 1)
    ]
    path = tmp_path / "reviews.jsonl"
    path.write_text("".join(r.model_dump_json() + "\n" for r in recorded))
    with pytest.raises(UserError, match="holds the reviews of a, b: say which with 'recorded'"):
        load_reviewer({"kind": "scripted", "reviews": path})
    with pytest.raises(UserError, match="no review of 'c', only of a, b"):
        load_reviewer({"kind": "scripted", "reviews": path, "recorded": "c"})
    replay = load_reviewer({"kind": "scripted", "reviews": str(path), "recorded": "a"})
    assert replay.critiques == 2
    reviews = ask(replay)
    assert [review.steps for review in reviews] == [cut, cut]
    assert reviews[1].reviewer == "scripted"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "labels.jsonl",
            '{"rollout_id": "r1", "step": 0, "label": "Useful", "confidence": 0.7}\n'
            '{"rollout_id": "r1", "step": 2, "label": "harmful", "depends_on": [0]}\n',
        ),
        (
            "labels.csv",
            "rollout_id,step,label,correct,depends_on,reason,confidence\n"
            'r1,0,Useful,,,,0.7\nr1,2,harmful,,"0",,\n',
        ),
    ],
)
def test_labels_from_a_file(tmp_path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text)
    reviewer = load_reviewer({"kind": "human", "labels": str(path)})
    review, unknown = ask(reviewer, item(), item(rollout_id="r2"))
    assert [v.label for v in review.verdicts] == ["useful", None, "harmful"]
    assert review.verdicts[1].abstains
    assert review.verdicts[2].correct is False
    assert review.verdicts[2].depends_on == (0,)
    assert review.verdicts[0].confidence == 0.7
    assert unknown.error == "no labels for rollout 'r2'"


def test_recorded_reviews_are_labels_too(tmp_path):
    path = tmp_path / "reviews.jsonl"
    (review,) = ask(fixed(RIGHT, WRONG, SPARE))
    path.write_text(review.model_dump_json())
    assert read_labels(path)["r1"] == {0: RIGHT, 1: WRONG, 2: SPARE}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.jsonl", '{"rollout_id": "r1", "step": 0}\n{"step": 1}\n', r"l.jsonl:2: .*rollout_id"),
        ("l.jsonl", '{"rollout_id": "r1", "step": 0, "label": "good"}', r"l.jsonl:1: .*label"),
        ("l.jsonl", '{"rollout_id": "r1", "step": 0}\n' * 2, r"l.jsonl:2: step 0 .*labelled twice"),
        ("l.jsonl", '{"rollout_id', r"l.jsonl:1: unfinished"),
        ("l.jsonl", "", "holds no labels"),
        ("l.csv", "rollout_id,step,label\nr1,zero,useful\n", r"l.csv:2: step: .*\"zero\""),
        ("l.csv", "rollout,step,label\nr1,0,useful\n", r"l.csv:2: rollout"),
    ],
)  # fmt: skip
def test_bad_label_files_name_the_line(tmp_path, name: str, text: str, message: str):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_labels(path)
    assert "\n" not in str(caught.value)


def test_a_missing_label_file_is_a_user_error(tmp_path):
    for name in ("none.jsonl", "none.csv"):
        with pytest.raises(UserError, match=name):
            load_reviewer({"kind": "human", "labels": str(tmp_path / name)})


def test_labels_that_do_not_fit_the_cut_fail_the_review():
    beyond = HumanReviewer({"r1": {3: RIGHT}})
    assert ask(beyond)[0].error == "step 3 is labelled, but the cut has 3 steps"
    forward = HumanReviewer({"r1": {0: StepVerdict(label="useful", depends_on=(1,))}})
    assert ask(forward)[0].error == "a step depends on itself or a later one"


def test_a_person_at_the_terminal_is_asked_one_rollout_at_a_time():
    shown: list[str] = []
    keys = iter("uh-ii-")
    reviewer = TerminalReviewer(ask=lambda question: next(keys), show=shown.append)
    first, second = ask(reviewer, item(), item(rollout_id="r2"))
    assert [v.label for v in first.verdicts] == ["useful", "harmful", None]
    assert first.verdicts[1].correct is False
    assert [v.label for v in second.verdicts] == ["irrelevant", "irrelevant", None]
    assert len(shown) == 2
    assert CHAIN in shown[0]


def test_a_person_who_leaves_fails_the_review():
    def gone(question: str) -> str:
        raise EOFError

    (review,) = ask(TerminalReviewer(ask=gone, show=lambda text: None))
    assert review.error == "the person stopped answering"


def test_without_a_terminal_labels_are_needed(monkeypatch):
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
    with pytest.raises(UserError, match="there is no terminal to ask at: give 'labels'"):
        load_reviewer("human")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("arithmetics", r"unknown reviewer 'arithmetics' \(did you mean 'arithmetic'\?\)"),
        ({"name": "x"}, "a reviewer without 'kind'"),
        ({"kind": "gold", "tpr": 1}, "reviewer gold: unknown option 'tpr'"),
        ({"kind": "noisy", "inner": "gold"}, "reviewer noisy: option 'tpr' is required"),
        ({"kind": "noisy", "inner": "gold", "tpr": 2, "fpr": 0}, "reviewer noisy: option tpr"),
        ({"kind": "noisy", "inner": "glod", "tpr": 1, "fpr": 0}, "did you mean 'gold'"),
        ({"kind": "scripted", "reviews": "/nowhere.jsonl"}, "/nowhere.jsonl: no such file"),
        (7, "a reviewer is a name or a mapping"),
    ],
)
def test_bad_specs_are_one_line(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        load_reviewer(spec)
    assert "\n" not in str(caught.value)


def test_every_named_reviewer_fits_the_protocol(tmp_path):
    (tmp_path / "l.csv").write_text("rollout_id,step,label\nr1,0,useful\n")
    (recorded,) = ask(fixed(RIGHT, RIGHT, RIGHT))
    (tmp_path / "r.jsonl").write_text(recorded.model_dump_json())
    options = {
        "llm": {"base_url": "http://127.0.0.1:1/v1", "model": "m"},
        "noisy": {"inner": {"kind": "arithmetic"}, "tpr": 1, "fpr": 0},
        "human": {"labels": tmp_path / "l.csv"},
        "outcome_judge": {"inner": "arithmetic"},
        "scripted": {"reviews": tmp_path / "r.jsonl"},
        "style": {"likes": "terse"},
    }
    trained = {"step_model", "persona"}  # their own tests train them first
    for kind in set(REVIEWERS) - trained:
        reviewer = load_reviewer({"kind": kind, "name": "mine"} | options.get(kind, {}))
        assert isinstance(reviewer, Reviewer)
        assert reviewer.name == "mine"
        assert reviewer.critiques == 1


def test_loading_reviewers_does_not_import_the_openai_client():
    script = (
        "import sys; from apportion.review import load_reviewer;"
        "load_reviewer({'kind': 'llm', 'base_url': 'http://x/v1', 'model': 'm'});"
        "assert not {'openai', 'torch', 'transformers', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
