"""Credit methods: one method, one file. Traces and reviews in, a number per token out."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from apportion.credit.base import Group, Method, Sample, TokenCredit, group_advantage, to_record
from apportion.credit.capo import Capo
from apportion.credit.counterfactual import Counterfactual
from apportion.credit.critic import Critic
from apportion.credit.dca import Dca
from apportion.credit.flow import Flow
from apportion.credit.hindsight import Hindsight
from apportion.credit.monte_carlo import MonteCarlo
from apportion.credit.oreal import Oreal
from apportion.credit.outcome import Outcome
from apportion.credit.papo import Papo
from apportion.credit.random import Random
from apportion.credit.segment import Segment
from apportion.credit.shuffled import Shuffled
from apportion.errors import UserError, nearest

METHODS: dict[str, type[Method]] = {
    "outcome": Outcome,
    "capo": Capo,
    "dca": Dca,
    "papo": Papo,
    "shuffled": Shuffled,
    "random": Random,
    "hindsight": Hindsight,
    "flow": Flow,
    "monte_carlo": MonteCarlo,
    "segment": Segment,
    "counterfactual": Counterfactual,
    "critic": Critic,
    "oreal": Oreal,
}

__all__ = [
    "METHODS",
    "Group",
    "Method",
    "Sample",
    "TokenCredit",
    "group_advantage",
    "load_method",
    "name_of",
    "to_record",
]


def load_method(spec: str | dict[str, Any]) -> Method:
    """Build a method from its name or from ``{"method": name, option: value, ...}``.

    Raises UserError for an unknown method or option, naming the nearest one.
    """
    options = {"method": spec} if isinstance(spec, str) else dict(spec)
    name = str(options.pop("method", "outcome"))
    if name not in METHODS:
        raise UserError(f"unknown credit method '{name}'{nearest(name, list(METHODS))}")
    cls = METHODS[name]
    try:
        method = cls(**options)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        hint = (
            nearest(option, ["method", *cls.model_fields])
            if first["type"] == "extra_forbidden"
            else ""
        )
        raise UserError(f"credit.{option} (method {name}): {first['msg']}{hint}") from None
    if isinstance(method, Shuffled):
        load_method(method.inner)
    return method


def name_of(method: Method) -> str:
    """What recipes call the method; the class's name in small letters for one of your own."""
    names = [name for name, cls in METHODS.items() if type(method) is cls]
    return names[0] if names else type(method).__name__.lower()
