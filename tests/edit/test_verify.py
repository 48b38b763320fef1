"""Keeping only what still answers: a real tiny policy, and verifiers that are told what to say."""

import pytest

from apportion import UserError
from apportion.edit import edit_chain, kept_shares, verify_edits
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.trace import Consensus, Problem, Rollout, StepConsensus
from tests.edit.helpers import chain

TASK = load_task({"kind": "words"})


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


@pytest.fixture(scope="module")
def solved(tiny):
    """Problems that the shipped policy solves greedily, with their gold lines as steps."""
    problems = load_task({"kind": "words", "operations": [2, 2]}).problems("train", 40, 0)
    found = tiny.sample(problems, temperature=0.0, max_tokens=80, reasoning_end=TASK.reasoning_end)
    right = [r for r in found if TASK.score(r.problem, r.text) == 1.0 and r.text.count("\n") == 2]
    return [r.model_copy(update={"outcome": 1.0}) for r in right[:6]]


def labelled(rollout, labels, insert="", instead=""):
    """The rollout with a line put before its steps, and one agreed label for each line."""
    text = insert + rollout.text
    rollout = rollout.model_copy(
        update={
            "text": text,
            "reasoning_end": rollout.reasoning_end + len(insert),
            "token_ids": (),
            "token_spans": (),
            "logprobs": None,
        }
    )
    lines = text[: rollout.reasoning_end].splitlines(keepends=True)
    steps, start = [], 0
    for line, label in zip(lines, labels, strict=True):
        end = start + len(line)
        proposal = instead if label == "harmful" else ""
        steps.append(
            StepConsensus(start=start, end=end, status="agreed", label=label, instead=proposal)
        )
        start = end
    return rollout, Consensus(
        rollout_id=rollout.id, rule="majority", steps=tuple(steps), valid_reviews=1
    )


def test_a_true_detour_goes_and_a_needed_step_stays(tiny, solved):
    assert len(solved) >= 4
    detours = [labelled(r, ["irrelevant", "useful", "useful"], "so 2 + 2 = 4\n") for r in solved]
    needed = [labelled(r, ["useful", "irrelevant"]) for r in solved]
    rollouts = [rollout for rollout, _ in detours]
    kept = verify_edits([edit_chain(*d, ["delete"]) for d in detours], rollouts, tiny, TASK)
    assert all(edit.usable and edit.right == 1.0 and edit.answered == 1 for edit in kept)
    assert [e.text for e in kept] == [r.text for r in solved]
    lost = verify_edits([edit_chain(*n, ["delete"]) for n in needed], solved, tiny, TASK)
    # The answer is asked for at once, so the deleted step cannot be thought again.
    assert sum(edit.usable for edit in lost) <= 1
    refused = [edit.refused for edit in lost if not edit.usable]
    assert set(refused) == {"re-answered: 0 of 1 right, 1 needed"}
    shares = kept_shares([*kept, *lost])
    n = 2 * len(solved)
    assert shares["delete"].n == shares["all"].n == n
    assert shares["delete"].value == (len(solved) + sum(e.usable for e in lost)) / n
    assert 0 < shares["delete"].low < shares["delete"].value < shares["delete"].high < 1


def test_an_open_edit_is_written_to_its_end_by_the_policy(tiny, solved):
    rollout, agreed = labelled(solved[0], ["harmful", "useful", "useful"], "so 1 + 1 = 3\n")
    rollout = rollout.model_copy(update={"outcome": 0.0})
    edit = edit_chain(rollout, agreed, ["replace"])
    assert edit.refused  # nothing was proposed, so nothing is left of the first step
    first_line = solved[0].text.splitlines()[0]
    agreed = labelled(
        solved[0], ["harmful", "useful", "useful"], "so 1 + 1 = 3\n", instead=first_line
    )[1]
    edit = edit_chain(rollout, agreed, ["replace"])
    assert edit.open and edit.text == first_line + "\n"
    (done,) = verify_edits([edit], [rollout], tiny, TASK)
    assert done.usable and done.text == solved[0].text
    assert done.spans[-1].kind == "inserted" and done.spans[-1].end == len(done.text)
    assert done.reasoning_end == solved[0].reasoning_end
    (sampled,) = verify_edits(
        [edit], [rollout], tiny, TASK, n=4, temperature=1.0, threshold=0.25, seed=3
    )
    assert sampled.answered == 4 and sampled.usable == (sampled.right >= 1)


def test_what_needs_no_attempt_is_refused_without_one():
    def never(edit, rollout):
        raise AssertionError("nobody should have been asked")

    steps = [("3 * 4 = 12", "useful"), ("noon", "irrelevant")]
    wrong = chain(*steps, answer="#### 13", outcome=0.0, name="wrong")
    same = chain(("3 * 4 = 12", "useful"), name="same")
    empty = chain(("noon", "irrelevant"), name="empty")
    marks = chain(
        ("3 * 4 = 12", "useful"), ("x", "harmful", [], "#### 99"), ("y", "useful"), name="marks"
    )
    gone, agreed = chain(*steps, name="undecided")
    gone = gone.model_copy(update={"problem": Problem(id="q", prompt="?")})
    edits = [edit_chain(*wrong, ["delete"]), edit_chain(*same, ["delete"])]
    edits += [edit_chain(*empty, ["delete"]), edit_chain(*marks, ["correct"])]
    edits += [edit_chain(gone, agreed, ["delete"])]
    rollouts = [wrong[0], same[0], empty[0], marks[0], gone]
    checked = verify_edits(edits, rollouts, never, TASK)
    assert [edit.refused for edit in checked] == [
        "the answer is wrong, and this edit keeps it",
        "",
        "nothing of the reasoning is left after delete",
        "the new text marks an answer, which an edit must not give",
        "the outcome of this problem cannot be decided",
    ]
    assert not any(edit.usable for edit in checked)


def test_a_verifier_says_the_share():
    rollout, agreed = chain(("3 * 4 = 12", "useful"), ("noon", "irrelevant"))
    edit = edit_chain(rollout, agreed, ["delete"])
    (kept,) = verify_edits([edit], [rollout], lambda e, r: 0.8, TASK, threshold=0.75)
    assert kept.usable and (kept.right, kept.answered) == (0.8, 1)
    (refused,) = verify_edits([edit], [rollout], lambda e, r: 0.7, TASK, threshold=0.75)
    assert refused.refused == "re-answered: 0.7 of 1 right, 0.75 needed"
    open_one = edit_chain(*chain(("a", "useful"), ("b", "harmful"), outcome=0.0), ["correct"])
    (refused,) = verify_edits([open_one], [rollout], lambda e, r: 1.0, TASK)
    assert refused.refused == "the policy has to go on from here, and none was given"


def test_an_edit_of_an_unknown_rollout_is_an_error():
    rollout, agreed = chain(("3 * 4 = 12", "useful"), ("noon", "irrelevant"))
    with pytest.raises(UserError, match="edit of rollout r: there is no such rollout"):
        verify_edits([edit_chain(rollout, agreed, ["delete"])], [], lambda e, r: 1.0, TASK)


def test_a_prefix_never_ends_with_a_blank(tiny):
    seen = []

    class Watching:
        chat = False
        model, tokenizer = tiny.model, tiny.tokenizer
        decode = staticmethod(tiny.decode)

        def prompt_ids(self, problem):
            return tiny.prompt_ids(problem)

        def generate_ids(self, prompts, temperature, max_tokens):
            seen.extend(tiny.tokenizer.decode(ids) for ids in prompts)
            return tiny.generate_ids(prompts, temperature, max_tokens)

    problem = TASK.problems("train", 1, 0)[0]
    rollout = Rollout(id="r", problem=problem, text="a. b. ", reasoning_end=6, outcome=0.0)
    steps = (
        StepConsensus(start=0, end=3, status="agreed", label="useful"),
        StepConsensus(start=3, end=6, status="agreed", label="harmful", instead="c."),
    )
    agreed = Consensus(rollout_id="r", rule="majority", steps=steps, valid_reviews=1)
    edit = edit_chain(rollout, agreed, ["replace"])
    assert edit.text == "a. c. " and edit.open
    verify_edits([edit], [rollout], Watching(), TASK, max_tokens=4)
    assert seen == [problem.prompt + "a. c."]


def test_a_chain_without_room_for_an_answer_is_refused_and_the_others_are_not(tiny, solved):
    detour, agreed = labelled(solved[0], ["irrelevant", "useful", "useful"], "so 2 + 2 = 4\n")
    long, long_agreed = labelled(
        solved[1], ["irrelevant", "useful", "useful"], "so " + "2 + 2 = 4 " * 3 + "\n"
    )
    long = long.model_copy(
        update={"problem": long.problem.model_copy(update={"prompt": "How? " * 200})}
    )
    edits = [edit_chain(long, long_agreed, ["delete"]), edit_chain(detour, agreed, ["delete"])]
    refused, kept = verify_edits(edits, [long, detour], tiny, TASK, max_tokens=300)
    assert refused.refused == "too long for the policy to answer in 300 tokens more"
    assert kept.usable
