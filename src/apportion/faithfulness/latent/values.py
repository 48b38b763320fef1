"""Linear probes: which values of the solution do the latents hold?

_N problems   _K latent steps   _D size of a hidden state   _F features
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from apportion.faithfulness.intermediate import step_labels
from apportion.faithfulness.latent.base import Chain, LatentMeasure
from apportion.faithfulness.latent.discriminant import Discriminant, fit
from apportion.faithfulness.subject import Subject
from apportion.trace import Probe, Problem

if TYPE_CHECKING:
    from apportion.policies.latent.policy import LatentPolicy

# Fewer problems that have a value than this cannot fit a probe of it.
_FEWEST = 20


class LatentValues(LatentMeasure):
    """Share of the problem's intermediate values that linear probes read from the latents.

    One probe for the i-th value, fitted to ``problems`` training problems: discriminant analysis
    of the hidden states after all latent steps, side by side. A reading counts where it is exactly
    the value. Parts, each the same share by another probe: ``question`` from the hidden state
    before the first step, ``shuffled`` with the values permuted over the problems it is fitted to
    (what guessing by frequency gives), ``beyond_question`` the difference to the first, and
    ``step_t`` from the state after step t alone. ``answer`` reads the answer from all steps.
    """

    name = "latent_values"
    higher = "more of the solution can be read"
    claims = "what share of the intermediate values a linear probe reads from the latents"
    blind = "values held in another than linear form; whether the answer rests on what is held"
    source = "Alain and Bengio 2016, 1610.01644; controls as in Hewitt and Liang 2019, 1909.03368"

    problems: int = Field(default=1000, ge=_FEWEST)

    def probe_chains(self, subject: Subject, chains: Sequence[Chain]) -> list[Probe]:
        readers = subject.once(self._key(), lambda: self._readers(subject))
        problems = [chain.rollout.problem for chain in chains]
        views = _views(subject, problems)
        subject.tokens += sum(len(chain.question) + chain.steps for chain in chains)
        return [
            self._probe(chain, {name: features[i] for name, features in views.items()}, readers)
            for i, chain in enumerate(chains)
        ]

    def _key(self) -> tuple[str, int]:
        return (self.name, self.problems)

    def _readers(self, subject: Subject) -> dict[int, dict[str, Discriminant]]:
        """Probes by value (-1 the answer) and view, fitted to training problems."""
        problems = subject.task.problems("train", self.problems, subject.seed)
        views = _views(subject, problems)
        wanted = [_values(problem) for problem in problems]
        rng = random.Random(subject.seed)
        found = {}
        for index in (*range(max(map(len, wanted), default=0) - 1), -1):
            having = [n for n, values in enumerate(wanted) if _at(values, index) is not None]
            if len(having) >= _FEWEST:
                labels = [str(_at(wanted[n], index)) for n in having]
                found[index] = {n: fit(x[having], labels) for n, x in views.items()}
                rng.shuffle(labels)
                found[index]["shuffled"] = fit(views["all"][having], labels)
        return found

    def _probe(
        self,
        chain: Chain,
        features: dict[str, np.ndarray],
        readers: dict[int, dict[str, Discriminant]],
    ) -> Probe:
        values = _values(chain.rollout.problem)
        # A place at which training problems have too few values has no probe.
        between = [(i, v) for i, v in enumerate(values[:-1]) if i in readers]
        if not between:
            return self.told(chain, None)

        def share(view: str) -> float:
            seen = features["all" if view == "shuffled" else view][None]
            return fmean(float(readers[i][view].read(seen)[0] == v) for i, v in between)

        steps = [view for view in features if view.startswith("step_")]
        parts = {view: share(view) for view in ("question", "shuffled", *steps)}
        value = share("all")
        parts["beyond_question"] = value - parts["question"]
        if -1 in readers:
            read = readers[-1]["all"].read(features["all"][None])[0]
            parts["answer"] = float(read == values[-1])
        return self.told(chain, value, parts=dict(parts))


class _States(NamedTuple):
    question_ND: np.ndarray
    states_NKD: np.ndarray


def _views(subject: Subject, problems: Sequence[Problem]) -> dict[str, np.ndarray]:
    """Features (N, F) by name: of the question, of each step, and of all steps side by side."""
    found = _states(subject, problems)
    steps = {f"step_{k + 1}": found.states_NKD[:, k] for k in range(found.states_NKD.shape[1])}
    whole = found.states_NKD.reshape(len(problems), -1)
    return {"all": whole, "question": found.question_ND, **steps}


def _states(subject: Subject, problems: Sequence[Problem], at_once: int = 128) -> _States:
    """Hidden states before the first step and after each, as many as the policy may take. A chain
    that halts keeps its last."""
    import torch

    from apportion.policies.latent.batch import pad_questions
    from apportion.policies.latent.generate import halted
    from apportion.policies.modes import evaluating

    policy: LatentPolicy = subject.policy
    model, parts = policy.model, []
    with evaluating(model):
        for start in range(0, len(problems), at_once):
            some = [policy.prompt_ids(p) for p in problems[start : start + at_once]]
            padded = pad_questions(some, model.steps, policy.tokenizer.pad_token_id)
            thought, steps_B = halted(model, padded.to(model.device))
            states_BKD = thought.states_BKD
            last_B = steps_B.clamp_min(1) - 1
            counted_K = torch.arange(model.steps, device=states_BKD.device)
            place_BK = torch.minimum(counted_K[None], last_B[:, None])
            row_B1 = torch.arange(len(some), device=states_BKD.device)[:, None]
            parts.append((thought.question_BD, states_BKD[row_B1, place_BK]))
    question_ND, states_NKD = (torch.cat(one).float().cpu() for one in zip(*parts, strict=True))
    return _States(question_ND.numpy(), states_NKD.numpy())


def _values(problem: Problem) -> tuple[str, ...]:
    """The intermediate values and the answer's; empty where there is none between."""
    values = step_labels(problem)
    return values if len(values) > 1 else ()


def _at(values: tuple[str, ...], index: int) -> str | None:
    """The i-th intermediate value, or with -1 the answer's."""
    if index == -1:
        return values[-1] if values else None
    return values[index] if index < len(values) - 1 else None
