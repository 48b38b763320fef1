"""Faithfulness while training: the measures of ``probe`` on held-out problems, as metrics."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from apportion.config import RunConfig
from apportion.faithfulness import Measure, Subject, load_measures
from apportion.faithfulness.run import probe_all
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import RunDirectory
from apportion.stats import Estimate
from apportion.tasks import Task
from apportion.trace import Probe, Rollout
from apportion.train.measure.evaluate import sample_scored

PREFIX = "faith/"
_COST = ("faith/tokens", "faith/seconds")


class TrainingProbes:
    """Measures the policy as it is, and writes one line of metrics for each moment.

    A measure's headline is ``faith/MEASURE``, its other figures ``faith/MEASURE/FIGURE``, each
    with its n and interval; one of which nothing can be said is null. ``faith/tokens`` and
    ``faith/seconds`` are what the moment cost. Neither weights nor random numbers of the training
    are touched. Raises UserError for a measure that the policy cannot serve.
    """

    def __init__(
        self, config: RunConfig, task: Task, policy: LanguageModelPolicy, directory: RunDirectory
    ) -> None:
        self._config, self._task, self._policy = config, task, policy
        self._directory = directory
        settings = config.probe
        self._measures: list[Measure] = []
        if not settings.every:
            return
        settings.check(config.objective)
        self._measures = load_measures(settings.measures)
        for measure in self._measures:
            measure.ready(self._subject())
        self._problems = task.problems(settings.split, settings.problems, config.eval.seed)

    def due(self, update: int) -> bool:
        """Whether this is one of the moments while training."""
        every = self._config.probe.every
        return bool(every) and update % every == 0

    def measure(self, update: int, rollouts: int) -> dict[str, Estimate]:
        """Measure and record, unless that was done at this update before. ``rollouts`` is how many
        were sampled to get here. Returns the headlines by measure."""
        if not self._measures or self._is_done(update):
            return {}
        started = time.monotonic()
        with undisturbed(self._policy.model):
            subject = self._subject()
            chains = self._chains(update)
            kept = [p for p in self._read("probes") if p.update == update]
            done: dict[str, list[Probe]] = defaultdict(list)
            for probe in kept:
                done[probe.measure].append(probe)
            found = probe_all(
                subject,
                self._measures,
                chains,
                done=done,
                write=self._write,
                until=self._config.probe.until,
            )
        figures = {name: outcome.figures for name, outcome in found.items()}
        tokens = subject.tokens + sum(p.tokens for p in kept)
        tokens += sum(len(chain.token_ids) for chain in chains)
        cost = dict(zip(_COST, (tokens, round(time.monotonic() - started, 3)), strict=True))
        line = {
            "update": update,
            "rollouts": rollouts,
            "split": self._config.probe.split,
            "metrics": metrics_of(figures) | cost,
        }
        self._directory.append("metrics", line)
        return {name: own["value"] for name, own in figures.items() if "value" in own}

    def _subject(self) -> Subject:
        train, settings = self._config.train, self._config.probe
        return Subject(
            self._policy,
            self._task,
            segmenter=self._config.segment,
            temperature=train.temperature,
            max_tokens=train.max_completion_tokens,
            seed=self._config.eval.seed,
            sample_only=settings.sample_only,
        )

    def _chains(self, update: int) -> list[Rollout]:
        """Greedy chains of the policy as it is, recorded once."""
        sampled = sample_scored(
            self._policy,
            self._task,
            self._problems,
            temperature=0.0,
            max_tokens=self._config.train.max_completion_tokens,
            seed=self._config.eval.seed,
        )
        # A problem is asked at many moments, and a rollout's name is its own.
        chains = [
            chain.model_copy(update={"id": f"{chain.id}/probe{update}", "update": update})
            for chain in sampled
        ]
        if self._config.probe.records:
            present = {rollout.id for rollout in self._read("rollouts")}
            self._directory.append("rollouts", *(c for c in chains if c.id not in present))
        return chains

    def _write(self, probe: Probe) -> None:
        if self._config.probe.records:
            self._directory.append("probes", probe)

    def _read(self, kind: Any) -> Sequence[Any]:
        return self._directory.read(kind)[0] if self._config.probe.records else ()

    def _is_done(self, update: int) -> bool:
        lines = self._directory.read("metrics")[0]
        return any(line.update == update and _COST[0] in line.metrics for line in lines)


def metrics_of(figures: dict[str, dict[str, Estimate]]) -> dict[str, Any]:
    """Figures by measure as metrics; null where a measure has no headline."""
    metrics: dict[str, Any] = {}
    for name, own in figures.items():
        metrics[f"{PREFIX}{name}"] = None
        for figure, e in own.items():
            key = f"{PREFIX}{name}" + ("" if figure == "value" else f"/{figure}")
            metrics[key] = {"value": e.value, "n": e.n, "low": e.low, "high": e.high}
    return metrics


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Nothing within changes what is drawn afterwards, records gradients, or leaves the model in
    another mode."""
    states = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count()))
    was_training = model.training
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        model.train(was_training)
