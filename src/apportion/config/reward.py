"""What a completion is rewarded for: section ``reward``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from apportion.config.section import Section

# Options that only one kind takes; the other kinds refuse them.
_OPTIONS_OF_KIND: dict[str, set[str]] = {
    "outcome": set(),
    "likelihood": {"form", "references", "marker", "answer_term", "collapse", "collapse_ratio"},
    "model": {"path"},
}


class RewardConfig(Section):
    """``kind`` outcome is the task's score, likelihood what the policy makes of the reference
    answers after its own reasoning, model a learned reward model. Options belong to a kind, and
    another kind refuses them.

    Kind likelihood: ``form`` is one of ``apportion.credit.likelihood.FORMS``. ``references`` says
    how several reference answers count: "mean" averages over them (each is a sample of what is
    right), "logsumexp" adds their probabilities (any of them will do). ``marker`` begins the line
    of the answer; the reasoning is everything up to and with it. With ``answer_term`` the answer
    gets the supervised gradient that belongs to the form, without it only the reasoning learns.
    ``collapse`` says what to do when chains are dropping away: a training batch's mean length is
    below ``collapse_ratio`` times the first one's, or most chains are empty.

    Kind model: ``path`` is a folder that objective reward_model wrote, an arm's
    checkpoints/final. Its score is the outcome that is trained on (``reward/proxy``); the task's
    is recorded beside it (``reward/gold``).
    """

    kind: Literal["outcome", "likelihood", "model"] = "outcome"
    form: Literal["logprob", "verifree", "rlpr", "nover", "jepo"] = "logprob"
    references: Literal["mean", "logsumexp"] = "mean"
    marker: str = Field(default="####", min_length=1)
    answer_term: bool = True
    collapse: Literal["warn", "stop", "off"] = "warn"
    collapse_ratio: float = Field(default=0.25, ge=0, le=1)
    path: str | None = None

    @model_validator(mode="after")
    def _options_fit_kind(self) -> Self:
        if self.kind == "model" and self.path is None:
            raise ValueError("kind model needs a path: a folder that objective reward_model wrote")
        own = _OPTIONS_OF_KIND[self.kind]
        for kind, options in _OPTIONS_OF_KIND.items():
            given = sorted((options - own) & self.model_fields_set)
            foreign = [name for name in given if self._differs(name)]
            if foreign:
                raise ValueError(f"{foreign[0]} is an option of kind {kind}, not of {self.kind}")
        return self

    def _differs(self, name: str) -> bool:
        """A resolved configuration that is read back names every option, with its default."""
        return getattr(self, name) != type(self).model_fields[name].default
