"""A chat model in this process in the place of an endpoint."""

import json

import pytest

from apportion import UserError
from apportion.review import load_reviewer
from apportion.review.budget import Budget
from apportion.review.cache import ReviewCache
from apportion.review.llm import LlmReviewer
from apportion.review.llm_options import LlmOptions, parameters_of
from apportion.review.local_model import LocalModel, weights_mark
from tests.review.helpers import ask, item
from tests.review.test_self_review import Talker, step

pytest.importorskip("torch")

GOOD = json.dumps({"steps": [step(0, "useful"), step(1, "harmful"), step(2, "useful")]})


def reviewer(policy, cache=None, budget=None, **options):
    asking = LlmOptions(base_url="local", model="talker", structured=False, **options)
    model = LocalModel(
        model=policy, parameters=parameters_of(asking), budget=budget or Budget(), price=None
    )
    return LlmReviewer(asking, cache, endpoint=model)


def test_questions_that_wait_together_are_one_batch():
    policy = Talker(GOOD)
    reviews = ask(reviewer(policy), item(), item(rollout_id="r2"))
    assert [[v.label for v in r.verdicts] for r in reviews] == [["useful", "harmful", "useful"]] * 2
    assert [len(prompts) for prompts in policy.asked] == [2]
    assert "books cost 2 * 5 = 10" in policy.asked[0][0]
    used = reviews[0].usage
    assert used.calls == 1 and used.prompt_tokens > used.completion_tokens > 10


def test_an_answer_that_cannot_be_read_gets_its_repair_turn_and_then_fails():
    policy = Talker("Who knows.")
    (review,) = ask(reviewer(policy))
    assert review.error is not None and "could not be read, nor its repair" in review.error
    assert [len(prompts) for prompts in policy.asked] == [1, 1]
    assert "Who knows." in policy.asked[1][0] and review.usage.calls == 2


def test_a_question_that_does_not_fit_fails_and_says_what_to_change():
    (review,) = ask(reviewer(Talker(GOOD, context=256), max_tokens=32))
    assert (
        review.error is not None and "exceed the context of 256: lower max_tokens" in review.error
    )


def test_stored_answers_are_not_asked_for_again(tmp_path):
    policy = Talker(GOOD)
    cache = ReviewCache(tmp_path / "cache.sqlite")
    first = ask(reviewer(policy, cache))[0]
    again = ask(reviewer(policy, cache))[0]
    assert len(policy.asked) == 1
    assert again.verdicts == first.verdicts and again.usage.cached


def test_a_spent_budget_asks_nothing():
    policy, budget = Talker(GOOD), Budget(tokens=1)
    ask(reviewer(policy, budget=budget))
    (review,) = ask(reviewer(policy, budget=budget))
    assert review.error is not None and "budget spent" in review.error
    assert len(policy.asked) == 1


def test_other_weights_under_the_same_path_are_another_question(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = weights_mark(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"three")
    assert weights_mark(str(tmp_path)) != before
    assert weights_mark("owner/name") == ""


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    from apportion.policies.tiny import load_tiny

    load_tiny("sums").save(tmp_path)
    reviewer = load_reviewer({"kind": "llm", "base_url": "local", "model": str(tmp_path)})
    (review,) = ask(reviewer)
    assert review.error is not None and "has no chat template" in review.error


def test_what_only_a_server_takes_is_refused():
    with pytest.raises(UserError, match="a model in this process takes no extra_body"):
        load_reviewer(
            {"kind": "llm", "base_url": "local", "model": "m", "extra_body": {"top_p": 0.5}}
        )
