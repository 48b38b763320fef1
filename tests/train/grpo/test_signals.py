"""Signals travel from their source to the credit method, and their absence is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.credit import METHODS, Group, Method, Sample, TokenCredit, load_method
from apportion.credit.apply import credit_rollouts, to_sample
from apportion.errors import UserError
from apportion.trace import Problem, Rollout, Step
from apportion.train.grpo import signals
from apportion.train.grpo.batch import Batch, CreditedBatch
from apportion.train.grpo.signals import Measured


class Doubled(Method):
    """Credit is the signal ``twice``."""

    @property
    def needs(self) -> tuple[str, ...]:
        return ("twice",)

    def assign(self, group: Group) -> list[TokenCredit]:
        return [TokenCredit(s.signals["twice"], s.signals["twice"]) for s in group.samples]


class Twice:
    gives = ("twice",)
    learned = 0

    def measure(self, rollouts: Sequence[Rollout], cuts: Sequence[tuple[Step, ...]]) -> Measured:
        found = [
            r.model_copy(update={"signals": {"twice": tuple(2.0 * i for i in r.token_ids)}})
            for r in rollouts
        ]
        return Measured(found, {"twice/calls": float(len(cuts))})

    def learn(self, credited: CreditedBatch) -> None:
        self.learned += 1


def _rollout(**signals: tuple[float, ...]) -> Rollout:
    return Rollout(
        id="a",
        problem=Problem(id="p", prompt="x", answers=("1",)),
        text="ab",
        token_ids=(3, 4),
        token_spans=((0, 1), (1, 2)),
        outcome=1.0,
        reasoning_end=2,
        signals=signals,
    )


def test_a_source_fills_what_the_method_reads() -> None:
    batch = Batch([_rollout()], [(Step(start=0, end=2),)], None)
    metrics = signals.measure_all([Twice()], batch)
    assert metrics == {"twice/calls": 1.0}
    sample = to_sample(batch.rollouts[0], [])
    credit = Doubled().assign(Group((sample,), np.array([0.0])))[0]
    assert credit.advantages_T.tolist() == [6.0, 8.0]


def test_records_without_the_signal_are_refused() -> None:
    with pytest.raises(UserError, match="rollout a has no signal 'twice'"):
        credit_rollouts([_rollout()], [], Doubled(), name="doubled")
    record = credit_rollouts([_rollout(twice=(1.0, 5.0))], [], Doubled(), name="doubled")[0]
    assert record.advantages == (1.0, 5.0)


def test_a_trainer_without_the_source_is_refused() -> None:
    with pytest.raises(UserError, match="needs the signal 'twice'"):
        signals.check_given([], Doubled())
    signals.check_given([Twice()], Doubled())


def test_shuffled_needs_what_its_inner_method_needs(monkeypatch: Any) -> None:
    monkeypatch.setitem(METHODS, "doubled", Doubled)
    assert load_method({"method": "shuffled", "inner": {"method": "doubled"}}).needs == ("twice",)


def test_a_signal_has_a_number_for_each_token() -> None:
    with pytest.raises(ValueError, match="1 values of signal twice for 2 tokens"):
        _rollout(twice=(1.0,))


def test_a_sample_has_no_signals_unless_measured() -> None:
    sample = Sample("a", 1.0, np.ones(1, bool), np.zeros((1, 2), int))
    assert dict(sample.signals) == {}


class Counter(Twice):
    """Has state and an opinion."""

    alarm: str | None = None

    def save(self, folder: Path) -> None:
        (folder / "twice.txt").write_text(str(self.learned))

    def load(self, folder: Path) -> None:
        self.learned = int((folder / "twice.txt").read_text())


def test_the_state_of_a_source_goes_with_the_checkpoint(tmp_path: Path) -> None:
    source, again = Counter(), Counter()
    source.learned = 7
    signals.save_all([Twice(), source], tmp_path / "checkpoint-1")
    signals.load_all([Twice(), again], tmp_path / "checkpoint-1")
    assert again.learned == 7


def test_a_source_may_ask_to_stop() -> None:
    source = Counter()
    assert signals.alarm_of([Twice(), source]) is None
    source.alarm = "diverged"
    assert signals.alarm_of([Twice(), source]) == "diverged"
