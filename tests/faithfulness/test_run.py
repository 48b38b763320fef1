"""Measuring many rollouts: resumed, stopped, and refused."""

from __future__ import annotations

from apportion.errors import UserError
from apportion.faithfulness import Subject, load_measure
from apportion.faithfulness.run import FEWEST, estimate_all, probe_all
from apportion.tasks import load_task
from tests.faithfulness.rules import RulePolicy, gold_rollouts, knows, last_number

TASK = load_task({"kind": "sums", "operations": [3, 3], "terms": [1, 9]})
ROLLOUTS = gold_rollouts(TASK, 40)
EARLY = load_measure("early_answering")


def run(rollouts=ROLLOUTS, done=(), answer=last_number, **options):
    written = []
    subject = Subject(RulePolicy(answer), TASK)
    found = probe_all(
        subject, [EARLY], rollouts, done={EARLY.name: list(done)}, write=written.append, **options
    )
    return written, found[EARLY.name]


def every_other(problem, chain):
    odd = int(problem.id.rsplit("-", 1)[1]) % 2
    return knows(problem, chain) if odd else last_number(problem, chain)


def test_an_interrupted_probe_measures_only_what_is_missing():
    whole, outcome = run()
    rest, resumed = run(done=whole[:13])
    assert [p.rollout_id for p in rest] == [p.rollout_id for p in whole[13:]]
    assert resumed.figures == outcome.figures
    assert run(done=whole)[0] == []


def test_it_stops_once_the_interval_is_narrow():
    written, outcome = run(answer=knows, until=0.2)
    assert outcome.stopped == "interval" and len(written) == FEWEST
    # 40 equal values leave room for 3 of 40 others.
    written, outcome = run(answer=knows, until=0.05)
    assert outcome.stopped == "" and len(written) == len(ROLLOUTS)
    written, outcome = run(answer=every_other, until=0.05)
    assert outcome.stopped == "" and len(written) == len(ROLLOUTS)


def test_the_budget_is_never_passed_and_the_estimate_is_enough():
    subject = Subject(RulePolicy(last_number), TASK)
    most = estimate_all(subject, [EARLY], ROLLOUTS, {})[EARLY.name]
    written, outcome = run(budget=most)
    assert len(written) == len(ROLLOUTS) and outcome.stopped == ""
    assert 0 < sum(p.tokens for p in written) <= most
    written, outcome = run(budget=most // 3)
    assert outcome.stopped == "budget" and sum(p.tokens for p in written) <= most // 3


def test_one_chain_that_is_refused_does_not_take_the_others_with_it():
    class Short(RulePolicy):
        def continue_texts(self, prefixes, **options):
            if any(p.problem.id == ROLLOUTS[3].problem.id for p in prefixes):
                raise UserError("exceeds the context")
            return super().continue_texts(prefixes, **options)

    written = []
    probe_all(
        Subject(Short(last_number), TASK), [EARLY], ROLLOUTS[:8], done={}, write=written.append
    )
    assert [p.error for p in written].count(None) == 7
    assert written[3].error == "exceeds the context" and written[3].value is None
