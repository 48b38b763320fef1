"""Likelihood rewards, one form a file: log-probabilities of references in, weights out."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from apportion.credit.likelihood.base import Form, Scored, Weights
from apportion.credit.likelihood.jepo import Jepo
from apportion.credit.likelihood.logprob import LogProb
from apportion.credit.likelihood.nover import Nover
from apportion.credit.likelihood.rlpr import Rlpr
from apportion.credit.likelihood.verifree import VeriFree
from apportion.errors import UserError, nearest

FORMS: dict[str, type[Form]] = {
    "logprob": LogProb,
    "verifree": VeriFree,
    "rlpr": Rlpr,
    "nover": Nover,
    "jepo": Jepo,
}

__all__ = ["FORMS", "Form", "Scored", "Weights", "load_form"]


def load_form(name: str, **options: Any) -> Form:
    """A form by name. Raises UserError for an unknown form, or an option it does not have."""
    if name not in FORMS:
        raise UserError(f"unknown likelihood form '{name}'{nearest(name, list(FORMS))}")
    try:
        return FORMS[name](**options)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        raise UserError(f"reward.{option} (form {name}): {first['msg']}") from None
