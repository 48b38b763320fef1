"""Every objective has something that trains it."""

from typing import get_args

import pytest

from apportion.config import RunConfig
from apportion.train.arm import RUNNERS, runner_of

pytest.importorskip("trl")


def test_every_objective_has_a_runner():
    objectives = set(get_args(RunConfig.model_fields["objective"].annotation))
    assert set(RUNNERS) == objectives - {"warm_start"}
    for objective in RUNNERS:
        assert runner_of(objective).__module__.startswith("apportion.train.")
