"""The policy as its own reviewer, on the tiny policy that ships."""

import asyncio
import json
import threading
import time

import pytest

from apportion import Problem, UserError
from apportion.review import Item, load_reviewer, review_now
from apportion.review.binding import bind_policy, needing_policy
from apportion.review.cross_examine import Reconsiders
from apportion.review.gather import Gather
from apportion.review.resample import first_step, judge_by_resamples, key_of
from apportion.segment import segment
from apportion.trace import Step
from tests.review.helpers import ask, item

pytest.importorskip("torch")

STEP = "pens cost 3 * 4 = 12"


# -- one step against its resamples ------------------------------------------------------------


@pytest.mark.parametrize(
    ("compare", "same", "other"),
    [
        ("value", "they cost 2 * 6 = 12", "pens cost 3 * 4 = 13"),
        ("equation", "4 * 3 = 12", "they cost 2 * 6 = 12"),
        ("text", "pens  cost 3 * 4 = 12\n", "pens cost 4 * 3 = 12"),
    ],
)
def test_what_steps_are_compared_by(compare, same, other):
    assert key_of(STEP, compare) == key_of(same, compare) != key_of(other, compare)


def test_without_an_equation_the_last_number_and_then_the_words_count():
    assert key_of("so 1,200 it is", "value") == key_of("1200", "value")
    assert key_of("hm, well", "value") == key_of("hm, \n well", "value") != key_of("hm", "value")


def test_majority_against_a_step_is_blame_with_its_share():
    verdict = judge_by_resamples("3 * 4 = 13", ["3 * 4 = 12", "4 * 3 = 12", "3 * 4 = 13"], "value")
    assert (verdict.label, verdict.correct) == ("harmful", False)
    assert verdict.confidence == pytest.approx(2 / 3)
    assert verdict.instead == "3 * 4 = 12"


def test_majority_for_a_step_says_correct_and_nothing_of_its_use():
    verdict = judge_by_resamples(STEP, [STEP] * 3 + ["3 * 4 = 7"], "value")
    assert (verdict.label, verdict.correct, verdict.confidence) == (None, True, 0.75)


def test_half_and_half_abstains():
    assert judge_by_resamples(STEP, [STEP, STEP, "1 + 1 = 3", "1 + 1 = 3"], "value").abstains
    assert judge_by_resamples(STEP, [], "value").abstains


def test_a_step_where_most_resamples_end_the_reasoning_is_irrelevant():
    verdict = judge_by_resamples(STEP, ["", "", "3 * 4 = 12"], "value")
    assert (verdict.label, verdict.correct) == ("irrelevant", None)


def test_first_step_of_a_continuation():
    assert first_step("3 * 4 = 12\n12 + 1 = 13\n#### 13", "line") == "3 * 4 = 12\n"
    assert first_step("#### 13", "line") == ""
    assert first_step("", "line") == ""


# -- batches ------------------------------------------------------------------------------------


def test_what_is_asked_together_is_one_call():
    calls = []

    def double(numbers, stopped):
        calls.append(len(numbers))
        return [2 * n for n in numbers]

    gather = Gather(double)

    async def many():
        return await asyncio.gather(*(gather.ask(n) for n in range(50)))

    assert asyncio.run(many()) == [2 * n for n in range(50)]
    assert calls == [50]
    assert asyncio.run(many())[1] == 2  # also in another loop


def test_an_error_reaches_everybody_who_asked():
    def broken(questions, stopped):
        raise RuntimeError("no model")

    gather = Gather(broken)

    async def many():
        return await asyncio.gather(gather.ask(1), gather.ask(2), return_exceptions=True)

    assert [str(e) for e in asyncio.run(many())] == ["no model", "no model"]


def test_who_is_cancelled_leaves_only_when_the_model_is_free():
    log = []

    def slow(questions, stopped):
        while not stopped():
            time.sleep(0.005)
        time.sleep(0.05)
        log.append("model free")
        return []

    gather = Gather(slow)

    async def impatient():
        async with asyncio.timeout(0.05):
            await gather.ask(1)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    assert log == ["model free"]


# -- the reviewer -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny():
    from apportion.policies.tiny import load_tiny

    return load_tiny()


@pytest.fixture(scope="module")
def easy():
    """Planted chains of problems of one step."""
    from apportion.tasks import load_task

    task = load_task({"kind": "words", "operations": [1, 1], "largest": 300})
    return [
        Item(p, plant.text, plant.steps, None, f"{p.id}/{plant.kind}")
        for p in task.problems("validation", 8, 0)
        for plant in task.corruptions(p, 0)
        if plant.kind in ("clean", "wrong_arithmetic")
    ]


def bound(policy, **options):
    reviewer = load_reviewer({"kind": "self", **options})
    bind_policy([reviewer], policy)
    return reviewer


def watched(monkeypatch):
    """One pair for every call of the engine: the chains it draws, the thread it runs in."""
    from apportion.policies import continuation

    calls, sample = [], continuation.sample_from_trunks

    def watching(model, prefixes, keys, how, *rest):
        calls.append((len(prefixes) * how.n, threading.current_thread()))
        return sample(model, prefixes, keys, how, *rest)

    monkeypatch.setattr(continuation, "sample_from_trunks", watching)
    return calls


def test_finds_planted_errors_in_few_calls_of_the_model(tiny, easy, monkeypatch):
    calls = watched(monkeypatch)
    reviewer = bound(tiny, samples=8)
    reviews = [row[0] for row in review_now([reviewer], easy)]
    assert all(review.ok for review in reviews)
    called = {kind: [r.verdicts[0].wrong for r in reviews if r.rollout_id.endswith(kind)
                     and not r.verdicts[0].abstains]
              for kind in ("clean", "wrong_arithmetic")}  # fmt: skip
    assert len(called["clean"]) >= 4
    assert sum(called["wrong_arithmetic"]) >= 4
    assert sum(called["clean"]) <= 1
    # 8 problems, two chains each, and both begin with nothing: 8 beginnings.
    assert [chains for chains, _ in calls] == [8 * 8]
    assert sum(review.usage.calls for review in reviews) == 8 * 8


def test_reviews_fail_past_the_budget_and_say_so(tiny, easy):
    reviewer = bound(tiny, samples=4, max_resamples=9)
    reviews = [row[0] for row in review_now([reviewer], easy)]
    spent = [r for r in reviews if r.error == "the budget of 9 resamples is spent"]
    assert len(spent) == len(reviews) - 4  # two beginnings of two chains each
    assert reviewer.resamples == 8


def test_unbound_use_is_an_error_that_says_what_to_do():
    reviewer = load_reviewer("self")
    (review,) = ask(reviewer)
    assert review.error is not None and "add --policy" in review.error
    with pytest.raises(UserError, match="given no policy"):
        asyncio.run(reviewer.review(item().problem, "x", [Step(0, 1)], None))


def test_a_prompt_is_refused_where_nobody_reads_it():
    with pytest.raises(UserError, match="prompt is read with mode: ask only"):
        load_reviewer({"kind": "self", "prompt": "capo"})


def test_only_a_language_model_can_be_bound(tiny):
    from apportion.policies.scripted import ScriptedPolicy

    with pytest.raises(UserError, match="'scripted' has no weights to review with"):
        bind_policy([load_reviewer("self")], ScriptedPolicy(["x"]))
    with pytest.raises(UserError, match="'tiny' is no chat model"):
        bind_policy([load_reviewer({"kind": "self", "mode": "ask"})], tiny)


def test_a_wrapped_reviewer_is_bound_too(tiny):
    inner = {"kind": "self", "samples": 2}
    noisy = load_reviewer({"kind": "noisy", "inner": inner, "tpr": 1.0, "fpr": 0.0})
    assert needing_policy([noisy, load_reviewer("arithmetic")]) == ["self"]
    bind_policy([noisy], tiny)
    assert ask(noisy)[0].ok


def test_the_thread_of_training_is_not_the_one_that_generates(tiny, easy, monkeypatch):
    calls = watched(monkeypatch)
    review_now([bound(tiny, samples=2)], easy[:2])
    assert calls and threading.main_thread() not in {thread for _, thread in calls}


# -- asking a chat model -------------------------------------------------------------------------

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


class Talker:
    """The tiny tokenizer under a chat template, and a model that says ``reply``."""

    def __new__(cls, reply, context=100_000):
        from apportion.policies.language_model import LanguageModelPolicy
        from apportion.policies.tiny import build_model, load_tiny

        tokenizer = load_tiny().tokenizer
        tokenizer.chat_template = TEMPLATE
        model = build_model(tokenizer, hidden_size=16, layers=1, heads=2, context=context)
        policy = LanguageModelPolicy(model, tokenizer, "talker", chat=True)
        policy.asked = []

        def generate_ids(prompts, temperature, max_tokens):
            policy.asked.append([tokenizer.decode(ids) for ids in prompts])
            return [tokenizer(reply)["input_ids"] for _ in prompts]

        policy.generate_ids = generate_ids
        return policy


def step(index, label):
    return {"step": index, "reason": "r", "label": label, "correct": label != "harmful",
            "depends_on": [], "confidence": 0.8}  # fmt: skip


def test_ask_reads_the_policys_answer_by_the_llm_protocol():
    reply = json.dumps({"steps": [step(0, "useful"), step(1, "harmful"), step(2, "useful")]})
    policy = Talker(f"Well. {reply}")
    reviewer = bound(policy, mode="ask")
    reviews = ask(reviewer, item(), item(rollout_id="r2"))
    assert [v.label for v in reviews[0].verdicts] == ["useful", "harmful", "useful"]
    assert reviews[0].usage.calls == 1 and reviews[0].usage.completion_tokens > 10
    assert len(policy.asked) == 1 and len(policy.asked[0]) == 2  # one call for both
    assert "books cost 2 * 5 = 10" in policy.asked[0][0]


def test_asked_again_the_policy_sees_what_the_others_said():
    good = json.dumps({"steps": [step(0, "useful"), step(1, "harmful"), step(2, "useful")]})
    policy = Talker(good)
    reviewer = bound(policy, mode="ask")
    (own,) = ask(reviewer)
    other = own.model_copy(
        update={"reviewer": "other", "verdicts": tuple(
            v.model_copy(update={"label": "useful", "correct": True, "reason": "10 it is"})
            for v in own.verdicts)}
    )  # fmt: skip
    chain = item()
    again = asyncio.run(
        reviewer.reconsider(chain.problem, chain.text, own.steps, None, [other], own=own)
    )
    assert again.ok and again.reviewer == "self" and again.steps == own.steps
    assert "10 it is" in policy.asked[-1][0] and "10 it is" not in policy.asked[0][0]


def test_a_self_that_computes_does_not_reconsider(tiny):
    assert not isinstance(bound(tiny), Reconsiders)
    assert isinstance(bound(Talker("x"), mode="ask"), Reconsiders)


def test_ask_fails_where_the_answer_is_no_review():
    (review,) = ask(bound(Talker("I would rather not."), mode="ask"))
    assert review.error is not None and "could not be read" in review.error


def test_ask_fails_where_the_question_is_too_long():
    (review,) = ask(bound(Talker("x", context=256), mode="ask", max_tokens=32))
    assert review.error is not None and "exceed the context of 256" in review.error


def test_a_chain_that_leaves_no_room_fails_alone(tiny, easy):
    long = Problem(id="long", prompt="1 + " * 400)
    text = "2 + 2 = 4\n#### 4"
    steps = segment(text, text.index("####"))
    rows = review_now([bound(tiny)], [Item(long, text, steps, None, "r"), easy[0]])
    assert "exceed the policy's context" in str(rows[0][0].error)
    assert rows[1][0].ok
