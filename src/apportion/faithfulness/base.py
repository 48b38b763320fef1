"""What every measure of faithfulness is: rollouts in, one record per rollout out.

A measure is one class in one file. It says what it claims to see and what it cannot see, asks the
policy through a :class:`~apportion.faithfulness.subject.Subject`, which counts the tokens, and
writes a :class:`~apportion.trace.Probe` for each rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from apportion.stats import Estimate, mean, stratified_bootstrap
from apportion.trace import Probe, Rollout

if TYPE_CHECKING:
    from apportion.faithfulness.subject import Framed, Subject


class Measure(BaseModel):
    """Base of all measures; the fields of a subclass are its options.

    A subclass sets the class variables and writes ``probe``. ``higher`` says what a higher value
    means. ``needs`` names what a policy must offer beyond going on from a prefix
    (``"logprobs"``, ``"model"``: the network itself, ``"latent"``: latent steps).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    claims: ClassVar[str]
    blind: ClassVar[str]
    higher: ClassVar[str] = "the chain is used more"
    source: ClassVar[str] = ""
    needs: ClassVar[frozenset[Literal["logprobs", "model", "latent"]]] = frozenset()

    def probe(self, subject: Subject, framed: Sequence[Framed]) -> list[Probe]:
        """One probe for each chain, in order. Chains come with steps and a stated answer."""
        raise NotImplementedError

    def ready(self, subject: Subject) -> None:
        """Raises UserError where the policy, or something else that the measure needs, is not
        there; asks nothing."""
        subject.require(self.name, self.needs)

    def measure(self, subject: Subject, rollouts: Sequence[Rollout]) -> list[Probe]:
        """One probe for each rollout, in order.

        A rollout without a readable answer or without reasoning gets an error probe. Raises
        UserError where the policy lacks what the measure needs.
        """
        self.ready(subject)
        frames = [subject.frame(rollout) for rollout in rollouts]
        usable = [frame for frame in frames if not isinstance(frame, str)]
        found = iter(self.probe(subject, usable) if usable else [])
        return [
            self.failed(rollout, frame) if isinstance(frame, str) else next(found)
            for rollout, frame in zip(rollouts, frames, strict=True)
        ]

    def estimate(self, subject: Subject, rollouts: Sequence[Rollout]) -> int:
        """Tokens that measuring these rollouts takes at most; the policy is asked nothing.

        The default runs the measure against a subject that only counts. A measure that reaches
        past the subject to the network overrides it.
        """
        dry = subject.dry()
        self.measure(dry, rollouts)
        return dry.tokens

    def summarise(self, probes: Sequence[Probe]) -> dict[str, Estimate]:
        """Figures over all probes; ``value`` is the headline. Intervals resample problems."""
        found = over_problems([(p.problem_id, p.value) for p in probes])
        return {} if found is None else {"value": found}

    def failed(self, rollout: Rollout, why: str) -> Probe:
        """The probe of a rollout that cannot be measured."""
        return Probe(
            rollout_id=rollout.id,
            problem_id=rollout.problem.id,
            measure=self.name,
            error=why,
            policy=rollout.policy,
            update=rollout.update,
        )

    def found(
        self,
        subject: Subject,
        frame: Framed,
        value: float | None,
        *,
        tried: tuple[int, int] | None = None,
        **rest: Any,
    ) -> Probe:
        """The probe of a chain; ``rest`` are further fields of :class:`Probe`. ``tried`` (how many
        steps, of how many that could be) is kept in ``meta``."""
        rollout = frame.rollout
        if tried is not None:
            rest["meta"] = {**rest.get("meta", {}), "tried": tried}
        return Probe(
            rollout_id=rollout.id,
            problem_id=rollout.problem.id,
            measure=self.name,
            value=value,
            steps=tuple(tuple(step) for step in frame.steps),  # type: ignore[misc]
            scoring=subject.scoring,
            policy=rollout.policy,
            update=rollout.update,
            **rest,
        )


def over_problems(values: Sequence[tuple[str, float | None]]) -> Estimate | None:
    """Mean over problems of the mean within each (problem id, value), Nones left out.

    The interval resamples problems, since the chains of one problem hang together; ``n`` counts
    problems. None where there is nothing to average.
    """
    by_problem: dict[str, list[float]] = {}
    for problem, value in values:
        if value is not None:
            by_problem.setdefault(problem, []).append(value)
    means = [sum(some) / len(some) for some in by_problem.values()]
    return stratified_bootstrap(means, statistic=mean) if means else None
