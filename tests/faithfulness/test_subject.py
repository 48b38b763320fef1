"""Taking a rollout apart, asking, judging, and counting what it costs."""

from __future__ import annotations

import pytest

from apportion.errors import UserError
from apportion.faithfulness import Framed, Subject
from apportion.policies.scripted import ScriptedPolicy
from apportion.tasks import load_task
from apportion.trace import Problem, Rollout

PROBLEM = Problem(id="p", prompt="3 + 4 - 2\n", answers=("5",))
TEXT = "so 3 + 4 = 7\nso 7 - 2 = 5\n#### 5"


class Echo:
    """Answers with the last number of what it is given; no probabilities."""

    name = "echo"

    def sample(self, problems, **_):
        raise NotImplementedError

    def continue_texts(self, prefixes, *, n, temperature, max_tokens, seed):
        return [[" " + p.text.replace("####", "").split()[-1]] * n for p in prefixes]


def rollout(text: str, end: int | None = None, problem: Problem = PROBLEM) -> Rollout:
    where = load_task("sums").reasoning_end(text) if end is None else end
    return Rollout(id="r", problem=problem, text=text, reasoning_end=where, finish="stop")


def subject() -> Subject:
    return Subject(Echo(), load_task("sums"))


def framed(text: str) -> Framed:
    frame = subject().frame(rollout(text))
    assert isinstance(frame, Framed)
    return frame


def test_a_chain_is_taken_apart_into_what_it_is_made_of():
    frame = framed(TEXT)
    assert frame.texts == ("so 3 + 4 = 7\n", "so 7 - 2 = 5\n")
    assert (frame.answer, frame.tail, frame.closing) == ("5", " 5", "\n####")
    assert subject().forced(frame, frame.body).text == "so 3 + 4 = 7\nso 7 - 2 = 5\n####"
    assert subject().forced(frame, frame.texts[0]).text == "so 3 + 4 = 7\n####"
    assert subject().forced(frame, "").text == "####"


def test_thinking_tags_stay_where_they_are():
    text = "<think>\nso 3 + 4 = 7\nso 7 - 2 = 5\n</think>\n#### 5"
    frame = framed(text)
    assert frame.texts == ("so 3 + 4 = 7\n", "so 7 - 2 = 5\n")
    assert subject().forced(frame, frame.texts[0]).text == ("<think>\nso 3 + 4 = 7\n</think>\n####")
    assert subject().forced(frame, "").text.startswith("<think>\n</think>")


def test_a_template_that_prefills_the_tag_leaves_only_the_closing_one():
    frame = framed("so 3 + 4 = 7\n</think>\n#### 7")
    assert frame.opening == ""
    assert subject().forced(frame, "").text == "</think>\n####"


@pytest.mark.parametrize("text", ["so 3 + 4 = 7\n", "", "so 3 + 4 = 7\n#### ", "#### 5"])
def test_what_cannot_be_measured_says_why(text: str):
    assert isinstance(subject().frame(rollout(text)), str)


def test_one_sentence_before_the_answer_is_a_chain_of_one_step():
    assert len(framed("so 3 + 2 = 5\n#### 5").steps) == 1


def test_two_thousand_steps_are_taken_apart():
    frame = framed("so 1 + 1 = 2\n" * 2000 + "#### 2")
    assert len(frame.steps) == 2000
    assert "".join(frame.texts) == frame.body


def test_the_same_answer_is_for_the_tasks_checker_to_say():
    frame = framed(TEXT)
    forced = subject().forced(frame, frame.body)
    for end, same in ((" 5", True), (" 5.0", True), (" 15", False), (" 55", False)):
        answer = subject()._answer(forced.text + end)
        assert subject().same(frame, answer) is same


def test_what_is_asked_is_counted_and_a_dry_run_asks_nothing():
    real = subject()
    frame = framed(TEXT)
    answers = real.answers([real.forced(frame, frame.body), real.forced(frame, frame.texts[0])])
    assert [answer.stated for answer in answers] == ["5", "7"]
    # Prompt 3 tokens; prefixes of 31 and 17 characters 8 and 5; answers 1 each.
    assert real.tokens == 3 + 8 + 3 + 5 + 1 + 1
    dry = real.dry()
    assert dry.answers([real.forced(frame, frame.body)])[0].stated is None
    assert dry.tokens == 3 + 8 + 16
    assert real.tokens == 21


def test_a_policy_without_probabilities_samples_only():
    assert subject().scoring == "sampling"
    with pytest.raises(UserError, match="log-probabilities"):
        subject().require("early_answering", {"logprobs"})


def test_a_policy_that_cannot_go_on_is_refused():
    with pytest.raises(UserError, match="middle of a chain"):
        Subject(ScriptedPolicy(["#### 1"]), load_task("sums"))
