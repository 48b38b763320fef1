"""Values measured with the tiny policy: where the cuts are, what V is, and what it costs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from apportion import UserError
from apportion.config import RunConfig
from apportion.credit import load_method
from apportion.credit.apply import credit_rollouts
from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.tiny import load_tiny
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Problem, Rollout, Step
from apportion.train.grpo.signals import load_signals
from apportion.train.grpo.step_values import Continuations, cut_at_choices, with_answer
from apportion.train.measure.evaluate import score_rollouts

_TASK = {"kind": "sums", "operations": [2, 2], "terms": [1, 9], "largest": 60}


def _config(**changes: object) -> RunConfig:
    settings = {
        "name": "values",
        "task": _TASK,
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "credit": {"method": "monte_carlo", "samples": 2},
        "train": {"max_completion_tokens": 36},
    }
    return RunConfig.model_validate(settings | changes)


@pytest.fixture(scope="module")
def sampled():
    policy, task = load_tiny("sums"), load_task(_TASK)
    problems = task.problems("validation", 2, 0)
    rollouts = policy.sample(problems, n=2, max_tokens=36, reasoning_end=task.reasoning_end)
    return policy, task, score_rollouts(task, rollouts)


def _rollout(text: str, end: int, spans: list[tuple[int, int]]) -> Rollout:
    return Rollout(
        id="a",
        problem=Problem(id="p", prompt="x", answers=("1",)),
        text=text,
        token_ids=tuple(range(len(spans))),
        token_spans=tuple(spans),
        reasoning_end=end,
        outcome=1.0,
    )


def test_the_answer_is_a_step_of_its_own() -> None:
    rollout = _rollout("ab\ncd\n#1", 6, [(0, 8)])
    cut = segment(rollout.text, rollout.reasoning_end)
    assert with_answer(rollout, cut) == (Step(0, 3), Step(3, 6), Step(6, 8))
    assert with_answer(rollout, ()) == (Step(0, 8),)  # nothing but an answer


def test_segments_begin_at_choices_and_share_them() -> None:
    rollout = _rollout("abcdef", 6, [*((i, i + 1) for i in range(6)), (6, 6)])
    choice_T = np.array([1, 0, 1, 1, 0, 1, 1], bool)  # the last one wrote no character
    assert cut_at_choices(rollout, choice_T, 2) == (Step(0, 3), Step(3, 6))
    assert cut_at_choices(rollout, choice_T, 9) == (Step(0, 2), Step(2, 3), Step(3, 5), Step(5, 6))
    assert cut_at_choices(rollout, np.zeros(7, bool), 4) == (Step(0, 6),)


def test_values_are_the_mean_score_of_continuations_and_telescope(sampled) -> None:
    policy, task, rollouts = sampled
    config = _config()
    source = load_signals(config, task, policy)[0]
    cuts = [segment(r.text, r.reasoning_end) for r in rollouts]
    measured = source.measure(rollouts, cuts)
    states = {(r.problem.id, "") for r in rollouts}
    for r, cut in zip(rollouts, cuts, strict=True):
        states |= {(r.problem.id, r.text[: step.start]) for step in with_answer(r, cut)}
    assert measured.metrics["value/states"] == len(states)
    assert measured.metrics["value/rollouts"] == 2 * len(states)
    assert measured.metrics["value/tokens"] > 2 * len(states)
    credits = credit_rollouts(measured.rollouts, [], load_method("monte_carlo"), name="monte_carlo")
    for rollout, cut, credit in zip(measured.rollouts, cuts, credits, strict=True):
        steps = with_answer(rollout, cut)
        firsts = [
            next(t for t, (start, _) in enumerate(rollout.token_spans) if start >= step.start)
            for step in steps
        ]
        paid = sum(credit.advantages[t] for t in firsts)
        assert paid == pytest.approx(rollout.outcome - rollout.signals["value"][0], abs=1e-5)
        for a, b in pairwise(firsts):
            assert rollout.signals["value_after"][a] == rollout.signals["value"][b]
        assert rollout.signals["value_after"][-1] == rollout.outcome
        assert set(rollout.signals["value"]) <= {0.0, 0.5, 1.0}
    again = source.measure(rollouts, cuts)
    assert again.rollouts == measured.rollouts  # the same draws: a resumed run goes on exactly


def test_a_chain_that_has_its_answer_is_worth_it(sampled) -> None:
    policy, task, _ = sampled
    problem = task.problems("validation", 1, 0)[0]
    gold = task.gold_completion(problem)
    assert gold is not None
    wrong = gold[: task.reasoning_end(gold)] + "\n#### 77777"
    runs = Continuations(_config(), 4, task, policy).run(
        [Prefix(problem, gold), Prefix(problem, wrong)], "u1/0/0"
    )
    assert runs[problem.id, gold].value == 1.0 and runs[problem.id, wrong].value == 0.0


def test_continuations_end_where_a_completion_would(sampled) -> None:
    policy, task, _ = sampled
    problem = task.problems("validation", 1, 0)[0]
    short = _config(train={"max_completion_tokens": 3})
    run = Continuations(short, 2, task, policy).run([Prefix(problem, "")], "u1/0/0")
    assert run[problem.id, ""].value == 0.0  # three tokens hold no answer
    assert continue_chains(policy, [Prefix(problem, "")], max_tokens=36)[0][0].count("#") == 4


def test_segments_are_cut_where_the_policy_doubts(sampled) -> None:
    policy, task, rollouts = sampled
    config = _config(credit={"method": "segment", "samples": 2, "segments": 3})
    measured = load_signals(config, task, policy)[0].measure(rollouts, [()] * len(rollouts))
    for rollout in measured.rollouts:
        choice = rollout.signals["choice"]
        assert set(choice) <= {0.0, 1.0} and sum(choice) < len(choice)
        value, after = rollout.signals["segment_value"], rollout.signals["segment_value_after"]
        for t in range(1, len(choice)):
            if value[t] != value[t - 1]:
                assert choice[t] == 1.0 and after[t - 1] == value[t]
        assert after[-1] == rollout.outcome
    assert measured.metrics["value/states"] <= 3 * len(rollouts)


def test_an_undecided_outcome_is_not_continued(sampled) -> None:
    policy, task, rollouts = sampled
    undecided = [rollouts[0].model_copy(update={"outcome": None})]
    measured = load_signals(_config(), task, policy)[0].measure(undecided, [()])
    assert measured.metrics["value/rollouts"] == 0
    assert set(measured.rollouts[0].signals["value_after"]) == {0.0}


def test_the_control_measures_what_its_inner_method_says(sampled) -> None:
    policy, task, rollouts = sampled
    inner = {"method": "monte_carlo", "samples": 3}
    config = _config(credit={"method": "shuffled", "inner": inner})
    measured = load_signals(config, task, policy)[0].measure(rollouts[:1], [()])
    assert measured.metrics["value/rollouts"] == 3


def test_another_reward_is_refused(sampled) -> None:
    policy, task, _ = sampled
    with pytest.raises(UserError, match=r"reward\.kind likelihood"):
        load_signals(_config(reward={"kind": "likelihood"}), task, policy)
