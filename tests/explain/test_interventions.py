"""Interventions with the tiny policy that ships, and what is concluded from them."""

import pytest

from apportion.explain.answer import explain
from apportion.explain.evidence import StepEvidence
from apportion.explain.interventions import Intervention, falsified, intervene
from apportion.explain.record import Found
from apportion.policies.tiny import load_tiny
from apportion.review.provenance import read_numbers
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Rollout


@pytest.fixture(scope="module")
def policy():
    return load_tiny()


@pytest.fixture(scope="module")
def rollout():
    """A gold solution of two steps, the second of which takes the result of the first."""
    task = load_task({"kind": "words", "operations": [2, 2]})
    problem = task.problems("train", 4, 0)[3]
    assert problem.meta["edges"] == [[0, 1]]
    text = task.gold_completion(problem)
    assert text is not None
    return Rollout(
        id="gold",
        problem=problem,
        text=text,
        outcome=1.0,
        reasoning_end=task.reasoning_end(text),
        token_ids=tuple(range(len(text))),
        token_spans=tuple((i, i + 1) for i in range(len(text))),
    )


@pytest.fixture(scope="module")
def done(policy, rollout):
    steps = segment(rollout.text, rollout.reasoning_end)
    numbers = read_numbers(rollout.problem.prompt, [s.text(rollout.text) for s in steps])
    found = intervene(policy, rollout, steps, numbers, (0, 1), resamples=2, max_tokens=40)
    return {index: {i.kind: i for i in of_step} for index, of_step in found.items()}


def test_a_real_policy_answers_what_the_last_step_says(done, rollout):
    for index in (0, 1):
        whole = done[index]["as_it_is"]
        assert (whole.n, whole.same, whole.right) == (1, 1, 1)
        assert whole.answers == rollout.problem.answers
    # The answer is read off the last step: a wrong number there becomes the answer.
    last = done[1]["corrupted"]
    wrong = str(int(rollout.problem.answers[0]) + 1)
    assert last.change == f"{rollout.problem.answers[0]} became {wrong}"
    assert (last.answers, last.same, last.right) == ((wrong,), 0, 0)
    assert done[1]["deleted"].same == 0, "without its last step it has to go on by itself"
    # A wrong number in the first step does nothing while the second is kept, and is carried on
    # where the second is written anew.
    assert done[0]["corrupted"].same == 1
    assert done[0]["carried_on"].answers != done[0]["goes_on"].answers


def test_what_is_written_anew_is_sampled(done):
    for kind in ("anew_before", "anew_after"):
        assert done[0][kind].n == 2 and len(done[0][kind].answers) == 2
    assert "#### " in done[0]["as_it_is"].sample


def test_the_explanation_says_what_the_answer_hangs_on(policy, rollout):
    found = Found(name="gold", rollout=rollout, group=(rollout,))
    explanation = explain(found, "steps 1 and 2?", policy=policy, resamples=0, max_tokens=40)
    short = {s.step: s for s in explanation.sentences if s.text.startswith("In short")}
    assert "by way of later steps" in short[1].text
    assert short[1].evidence[-1] == "intervention carried_on"
    assert "changing it alone changes the answer" in short[2].text
    assert explanation.policy == "tiny"
    assert not any("interventions" in missing for missing in explanation.missing)
    assert {i.kind for i in explanation.steps[0].interventions} == {
        "as_it_is", "deleted", "corrupted", "goes_on", "carried_on"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("pens 3 * 4 = 12\n", "pens 3 * 4 = 13\n"),
        ("3 * 4 = 12, and 12 / 8 = 1.5 so\n", "3 * 4 = 12, and 12 / 8 = 2.5 so\n"),
        ("She is glad.\n", None),
    ],
)
def test_falsifying_a_step(text, wrong):
    (numbers,) = read_numbers("", [text])
    changed = falsified(text, numbers)
    assert (changed and changed[0]) == wrong


def _step(before: int, after: int, n: int, **facts) -> str:
    from apportion.explain.answer import _sentences

    def anew(kind, right):
        return Intervention(kind=kind, n=n, answers=("1",) * n, same=0, right=right)

    step = StepEvidence(
        step=1,
        text="x",
        start=0,
        end=1,
        interventions=(anew("anew_before", before), anew("anew_after", after)),
        **facts,
    )
    return [text for text, _ in _sentences(step)][-1]


def test_samples_are_compared_by_their_intervals():
    # Wilson: 8 of 8 and 0 of 8 do not overlap, 6 of 8 and 2 of 8 do.
    agreed = {"status": "agreed", "label": "useful"}
    assert _step(0, 8, 8, **agreed).endswith("more often than without it, as its reviewers say.")
    assert _step(8, 0, 8, **agreed).endswith("less often than without it, against its reviewers.")
    assert _step(8, 0, 8, status="agreed", label="harmful").endswith("as its reviewers say.")
    assert _step(0, 8, 8).endswith("right more often than without it.")
    assert "cannot be told from 8 samples each" in _step(2, 6, 8, **agreed)
