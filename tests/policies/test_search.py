"""Search: the judge decides, candidates are what they should be, and a step ends where it ends."""

from __future__ import annotations

from itertools import pairwise

import pytest

from apportion.errors import UserError
from apportion.policies.search import How, beam_search, best_of_n
from apportion.policies.tiny import load_tiny
from apportion.review import load_reviewer
from apportion.review.step_scores import judge, probability_sound
from apportion.tasks import load_task
from apportion.trace import StepVerdict

TASK = load_task({"kind": "sums", "operations": [3, 3], "terms": [1, 9], "largest": 60})
PROBLEMS = TASK.problems("validation", 3, 0)
HOW = How(n=6, width=2, max_tokens=40, step_tokens=14)


@pytest.fixture(scope="module")
def policy():
    return load_tiny("sums")


def longest(texts):
    return [float(len(text)) for _, text in texts]


def exact(texts):
    return judge(load_reviewer("arithmetic"), reasoning_end=TASK.reasoning_end)(texts)


def test_best_of_n_takes_what_the_judge_likes_best(policy) -> None:
    seen: list[tuple[str, str]] = []

    def watching(texts):
        seen.extend((problem.id, text) for problem, text in texts)
        return longest(texts)

    found = best_of_n(policy, PROBLEMS, watching, HOW, reasoning_end=TASK.reasoning_end)
    assert len(seen) == 18 and [r.problem.id for r in found] == [p.id for p in PROBLEMS]
    for rollout in found:
        texts = [text for name, text in seen if name == rollout.problem.id]
        assert rollout.text == max(texts, key=len)
        assert rollout.meta["score"] == len(rollout.text)
        counts = [len(policy.tokenizer(text).input_ids) for text in texts]
        assert rollout.meta["sampled"] == sum(counts)
        assert len(rollout.token_ids) == len(rollout.token_spans)
    again = best_of_n(policy, PROBLEMS, longest, HOW, reasoning_end=TASK.reasoning_end)
    assert [r.text for r in again] == [r.text for r in found]


def test_a_failed_judgement_is_chosen_last_and_never_counts_as_zero(policy) -> None:
    def fails_but_once(texts):
        return [-5.0 if i == 4 else None for i in range(len(texts))]

    def fails(texts):
        return [None] * len(texts)

    kept: list[str] = []
    best_of_n(policy, PROBLEMS[:1], lambda t: [kept.append(x) or 0.0 for _, x in t], HOW)
    assert best_of_n(policy, PROBLEMS[:1], fails_but_once, HOW)[0].text == kept[4]
    lost = best_of_n(policy, PROBLEMS[:1], fails, HOW)[0]
    assert lost.text == kept[0] and lost.meta["score"] is None


def test_beams_grow_by_lines_and_keep_the_best(policy) -> None:
    rounds: list[list[str]] = []

    def watching(texts):
        rounds.append([text for _, text in texts])
        return exact(texts)

    (found,) = beam_search(policy, PROBLEMS[:1], watching, HOW, reasoning_end=TASK.reasoning_end)
    assert len(rounds[0]) <= 6 and len(set(rounds[0])) == len(rounds[0])
    assert all(text.count("\n") <= 1 for text in rounds[0])
    assert any(text.count("\n") == 2 for text in rounds[1])
    assert all(len(texts) <= 6 for texts in rounds)  # two beams, three ways each
    for earlier, later in pairwise(rounds):
        begun = {text for text in earlier if any(t.startswith(text) for t in later)}
        assert len(begun) >= 1 and all(any(t.startswith(e) for e in begun) for t in later)
    assert found.text in rounds[-1]
    assert "####" in found.text and found.meta["sampled"] > len(found.token_ids)


def test_exact_judgement_makes_search_right_where_the_policy_often_is_not(policy) -> None:
    hard = load_task({"kind": "sums", "operations": [4, 4], "terms": [1, 9], "largest": 60})
    problems = hard.problems("validation", 12, 0)
    score = judge(load_reviewer("arithmetic"), reasoning_end=hard.reasoning_end)
    how = How(n=12, width=3, max_tokens=56, step_tokens=14)

    def right(rollouts) -> int:
        return sum(hard.score(r.problem, r.text) == 1.0 for r in rollouts)

    first = policy.sample(problems, max_tokens=56, reasoning_end=hard.reasoning_end)
    best = best_of_n(policy, problems, score, how, reasoning_end=hard.reasoning_end)
    beams = beam_search(policy, problems, score, how, reasoning_end=hard.reasoning_end)
    assert right(best) > right(first) and right(beams) > right(first)


def test_chains_end_at_their_limit(policy) -> None:
    how = HOW._replace(max_tokens=9, step_tokens=4)
    for rollout in beam_search(policy, PROBLEMS, longest, how):
        assert len(rollout.token_ids) <= 9


def test_candidates_that_cannot_be_shared_are_refused(policy) -> None:
    with pytest.raises(UserError, match="6 candidates cannot be shared among 4 beams"):
        beam_search(policy, PROBLEMS, longest, HOW._replace(width=4))


def test_a_prompt_beyond_the_context_is_refused(policy) -> None:
    with pytest.raises(UserError, match="exceed the context"):
        best_of_n(policy, PROBLEMS, longest, HOW._replace(max_tokens=4000))


def test_a_step_is_sound_as_far_as_its_verdict_tells() -> None:
    assert probability_sound(StepVerdict()) == 0.5
    assert probability_sound(StepVerdict(label="harmful", correct=False)) == 0.0
    assert probability_sound(StepVerdict(label="harmful", confidence=0.75)) == 0.25
    assert probability_sound(StepVerdict(label="useful", correct=True, confidence=0.75)) == 0.75


@pytest.mark.parametrize(
    ("over", "wanted"), [("min", 0.0), ("product", 0.0), ("mean", 0.5), ("last", 1.0)]
)
def test_a_chain_is_judged_by_its_steps(over, wanted) -> None:
    text = "so 3 + 4 = 9\nso 9 + 1 = 10\n#### 10"
    problem = PROBLEMS[0].model_copy(update={"prompt": "3 + 4 + 1\n"})
    score = judge(load_reviewer("arithmetic"), over=over, reasoning_end=TASK.reasoning_end)
    assert score([(problem, text), (problem, "")]) == [wanted, 0.5]
