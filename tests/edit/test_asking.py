"""What asks a policy: the probe for the commitment point, and critique and revise."""

import pytest

from apportion import UserError
from apportion.edit import commitment_points, edit_rollouts, revise
from apportion.edit.revision import PRINCIPLES, load_principles
from apportion.policies.tiny import load_tiny
from apportion.review import load_reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.tasks import load_task

TASK = load_task({"kind": "words", "operations": [1, 2]})


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


@pytest.fixture(scope="module")
def rollouts(tiny):
    problems = TASK.problems("train", 10, 0)
    found = tiny.sample(problems, n=2, max_tokens=64, reasoning_end=TASK.reasoning_end)
    return [r.model_copy(update={"outcome": TASK.score(r.problem, r.text)}) for r in found]


def gold(rollouts):
    items = [
        Item(r.problem, r.text, segment(r.text, r.reasoning_end), r.outcome, r.id) for r in rollouts
    ]
    return [reviews[0] for reviews in review_now([load_reviewer("gold")], items)]


def repeated(rollout):
    """The rollout with its last step written twice."""
    reasoning, answer = rollout.text[: rollout.reasoning_end], rollout.text[rollout.reasoning_end :]
    again = reasoning.splitlines(keepends=True)[-1]
    update = {"text": reasoning + again + answer, "reasoning_end": len(reasoning + again)}
    return rollout.model_copy(
        update=update | {"token_ids": (), "token_spans": (), "logprobs": None}
    )


def test_the_answer_is_fixed_once_the_last_needed_step_is_there(tiny, rollouts):
    right = [r for r in rollouts if r.outcome == 1.0]
    twice = [repeated(r) for r in right]
    points = commitment_points(twice, tiny, TASK)
    assert len(points) >= 3
    needed = [points[r.id] <= r.reasoning_end for r in right if r.id in points]
    assert all(needed)
    edits = edit_rollouts(twice, gold(twice), ["cut"], commitments=points)
    for edit, rollout in zip(edits, twice, strict=True):
        if rollout.id in points:
            assert edit.text[: edit.reasoning_end] == rollout.text[: points[rollout.id]]
        else:
            assert not edit.changed


def test_wrong_rollouts_have_no_commitment_point(tiny, rollouts):
    wrong = [r for r in rollouts if r.outcome == 0.0]
    assert wrong and commitment_points(wrong, tiny, TASK) == {}


def test_the_rewriting_with_the_fewest_objections_is_kept(tiny, rollouts):
    reviews = gold(rollouts)
    objected = {
        review.rollout_id: sum(v.wrong or v.label == "irrelevant" for v in review.verdicts)
        for review in reviews
    }
    edits = revise(
        rollouts, reviews, tiny, [load_reviewer("gold")], TASK, tries=2, max_tokens=64, seed=1
    )
    assert [edit.rollout_id for edit in edits] == [r.id for r in rollouts]
    changed = [edit for edit in edits if edit.changed]
    assert changed
    for edit, rollout in zip(edits, rollouts, strict=True):
        if not edit.changed:
            assert edit.text == rollout.text
            continue
        left = sum(objected_to(edit, rollout))
        assert left < objected[rollout.id]
        assert edit.why[0].endswith(f"{left:g} are left")
        kept = edit.spans[0]
        assert kept.kind != "kept" or rollout.text.startswith(edit.text[: kept.end])


def objected_to(edit, rollout):
    steps = segment(edit.text, edit.reasoning_end)
    item = Item(rollout.problem, edit.text, steps, None, edit.rollout_id)
    verdicts = review_now([load_reviewer("gold")], [item])[0][0].verdicts
    return [v.wrong or v.label == "irrelevant" for v in verdicts]


def test_principles_are_a_text_file(tmp_path):
    assert "{objections}" in load_principles("reasoning")
    assert [path.stem for path in PRINCIPLES.glob("*.md")] == ["reasoning"]
    mine = tmp_path / "mine.md"
    mine.write_text("{problem} {chain}")
    with pytest.raises(UserError, match=r"the text lacks \{objections\}"):
        load_principles(str(mine))
    with pytest.raises(UserError, match="give a text file, or one of reasoning"):
        load_principles("nonexistent")


def test_a_chat_policy_is_shown_the_objections(tiny, rollouts):
    prompts = []

    class Chat:
        chat = True
        model, tokenizer = tiny.model, tiny.tokenizer
        decode = staticmethod(tiny.decode)

        def prompt_ids(self, problem):
            prompts.append(problem.prompt)
            return tiny.prompt_ids(problem)[:40]

        def generate_ids(self, ids, temperature, max_tokens):
            return tiny.generate_ids(ids, temperature, max_tokens)

    reviews = gold(rollouts)
    wrong = next(review for review in reviews if any(v.wrong for v in review.verdicts))
    rollout = next(r for r in rollouts if r.id == wrong.rollout_id)
    revise([rollout], [wrong], Chat(), [load_reviewer("gold")], TASK, tries=1, max_tokens=8)
    step = next(s for s, v in zip(wrong.steps, wrong.verdicts, strict=True) if v.wrong)
    assert f'- "{step.text(rollout.text).strip()}" is harmful.' in prompts[0]
    assert rollout.problem.prompt in prompts[0] and "No detours" in prompts[0]
