"""Questions about recorded chains, answered from the records alone."""

import pytest

from apportion.errors import UserError
from apportion.explain import explain, find_record
from apportion.explain.answer import lines_of
from tests.explain.runs import WRONG, write_run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return find_record(write_run(tmp_path_factory.mktemp("explain") / "run"), "u7/0/1")


def texts(explanation, step=None):
    return [s.text for s in explanation.sentences if step in (None, s.step)]


@pytest.mark.parametrize(
    ("question", "steps", "about"),
    [
        ("why step 3?", (3,), "The question names step 3."),
        ("what of steps 1, 2 and 3", (1, 2, 3), "names steps 1, 2 and 3"),
        ("why “books cost”?", (2,), "quotes step 2"),
        ('why "12 + 10"?', None, "no step of record u7/0/1 says"),
        ("where does 14 come from?", (1,), "Step 1 arrives at 14."),
        ("why multiply by 5?", (2,), "Step 2 computes with 5."),
        ("why is that one wrong?", (1,), "step 1 has the lowest credit under dca"),
        ("why step 4?", None, "no step 4: record u7/0/1 has steps 1 to 3"),
        ("step 0?", None, "there is no step 0"),
    ],
)
def test_which_steps_a_question_is_about(found, question, steps, about):
    if steps is None:
        with pytest.raises(UserError, match=about):
            explain(found, question)
        return
    explanation = explain(found, question)
    assert tuple(step.step for step in explanation.steps) == steps
    assert about in explanation.about


def test_what_is_known_of_a_step(found):
    explanation = explain(found, "why step 1?")
    (step,) = explanation.steps
    assert WRONG[step.start : step.end].strip() == step.text == "pens cost 3 * 4 = 14"
    arithmetic, strict, down = step.verdicts
    assert (arithmetic.label, arithmetic.correct) == ("harmful", False)
    assert "12, not 14" in arithmetic.reason
    assert (strict.label, strict.covers, down.error) == (None, True, "HTTP 500")
    assert (step.status, step.label, step.wrong) == ("agreed", "harmful", True)
    assert [(t.number, t.step) for t in step.takes] == [("3", None), ("4", None)]
    assert step.takes[0].sentence is not None and "3 pens" in step.takes[0].sentence
    assert step.used_by == (3,)
    # One right and one wrong completion: the advantages are +-1/sqrt(2); the step is blamed most.
    by_method = {credit.method: credit for credit in step.credit}
    assert list(by_method) == ["dca", "outcome", "capo", "papo"]
    assert by_method["outcome"].value == pytest.approx(-0.7071, abs=2e-4)
    assert by_method["dca"].recorded and not by_method["outcome"].recorded
    assert by_method["dca"].value < by_method["dca"].mean and by_method["dca"].place == 3


def test_every_sentence_names_its_evidence(found):
    explanation = explain(found, "why step 1?")
    assert all(sentence.evidence for sentence in explanation.sentences)
    said = dict(zip(texts(explanation), explanation.sentences, strict=True))
    short = next(text for text in said if text.startswith("In short"))
    assert "less than the chain's mean" in short and "it counts as harmful (“" in short
    assert said[short].evidence == ("credit dca", "consensus")
    failed = "The review by down failed (HTTP 500), so it says nothing."
    assert said[failed].evidence == ("review down",)
    assert "strict abstains." in said
    assert "Step 3 takes what it arrives at." in said
    anew = [s for s in explanation.sentences if s.text.startswith("It would get")]
    assert anew[0].evidence[0] == "credit outcome (computed anew)"
    lines = lines_of(explanation, lambda outcome: "wrong")
    assert lines[0] == "u7/0/1: answers 24, wrong, reference 22"
    assert any(line.endswith("[review down]") for line in lines)


def test_reviewers_that_disagree(found):
    explanation = explain(found, "why step 3?")
    assert explanation.steps[0].status == "disputed"
    assert any("They do not agree" in text for text in texts(explanation))
    assert any(text.endswith("its reviewers disagree about it.") for text in texts(explanation))


def test_what_there_is_no_evidence_of_is_named(found, tmp_path):
    assert explain(found, "step 1?").missing == (
        "interventions: no policy is at hand; --policy names one",
    )
    bare = write_run(tmp_path / "bare", reviewed=False, credited=False)
    explanation = explain(find_record(bare, "2"), "why step 1?")
    named = " | ".join(explanation.missing)
    assert "verdicts: nobody reviewed it" in named
    assert "credit under dca, capo, papo: that needs verdicts" in named
    (step,) = explanation.steps
    assert step.verdicts == () and step.label is None
    assert [credit.method for credit in step.credit] == ["outcome"]
    assert not any("reviewer" in s.text for s in explanation.sentences)


def test_methods_may_be_chosen(found):
    (step,) = explain(found, "step 1?", methods=[{"method": "capo"}]).steps
    assert "capo" in {credit.method for credit in step.credit}
    assert "papo" not in {credit.method for credit in step.credit}
    with pytest.raises(UserError, match="unknown credit method 'cap'"):
        explain(found, "step 1?", methods=[{"method": "cap"}])


def test_one_completion_alone_is_no_comparison(found):
    alone = found.__class__(
        name="a", rollout=found.rollout, reviews=found.reviews, group=(found.rollout,)
    )
    explanation = explain(alone, "step 1?")
    assert any("no other completion of the prompt" in text for text in explanation.missing)


def test_a_record_without_steps(found):
    empty = found.rollout.model_copy(
        update={"text": "#### 3", "reasoning_end": 0, "token_ids": (), "token_spans": ()}
    )
    with pytest.raises(UserError, match="has no reasoning to ask about"):
        explain(found.__class__(name="e", rollout=empty, group=(empty,)), "why?")
