"""Objectives star and rejection: rounds of collecting right chains and training on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from apportion.errors import UserError
from apportion.records.memory import Remembered
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem, Rollout
from apportion.train.draws import batches
from apportion.train.self_training.chain_learner import ChainLearner, WeightedChain
from apportion.train.self_training.chain_loop import Draw
from apportion.train.self_training.chain_memory import (
    ChainMemory,
    chain_figures,
    graded,
    remembered_chain,
)
from apportion.train.self_training.guide import make_guide
from apportion.train.setup import Arm

_CHUNK = 32


class Rounds:
    """A round collects ``samples`` completions of every training problem, keeps those with the
    right answer, and learns them for its share of the updates, from the policy at the start of
    the run (``restart``) or from where the last round ended.

    STaR (Zelikman et al. 2022, 2203.14465) also *rationalises*: problems without a right chain get
    ``samples`` chains written with the answer in sight, and those that reach it are learned as if
    there had been no hint. Rejection sampling leaves such problems out.
    """

    def __init__(
        self,
        arm: Arm,
        learner: ChainLearner,
        memory: ChainMemory,
        problems: Sequence[Problem],
        start: dict[str, Any],
    ) -> None:
        self._config, self._seed, self._task, self._policy, _, self._progress = arm
        self._learner, self._memory, self._problems = learner, memory, problems
        self._start = start
        self._length = math.ceil(arm.config.train.updates / arm.config.trice.rounds)
        self._stream: Iterator[list[_Kept]] = iter(())

    def begin(self) -> None:
        """Take up the round of a resumed run where it was left."""
        if within := self._learner.done % self._length:
            at = self._learner.done - within
            self._stream = islice(self._batches(at), within, None)

    def draw(self, update: int) -> Draw:
        """The next batch of the round's chains; the first update of a round collects them.

        Raises UserError where a round finds none.
        """
        at = (update - 1) // self._length * self._length
        rollouts: list[Rollout] = []
        if at == update - 1:
            rollouts = self._collect(at)
            self._stream = self._batches(at)
            if self._config.trice.restart and at:
                self._learner.set_weights(self._start)
                self._learner.forget()
        batch = next(self._stream)
        chains = [
            WeightedChain(number, self._policy.prompt_ids(kept.problem), kept.token_ids, 1.0)
            for number, kept in enumerate(batch)
        ]
        metrics = self._memory.coverage(self._problems) | {"chains/terms": float(len(chains))}
        if rollouts:
            figures = chain_figures(self._task, rollouts)
            metrics |= figures | {"chains/acceptance": figures["reward/mean"]}
        return Draw(chains, len(chains), rollouts, metrics)

    def drawn(self, update: int) -> int:
        """Completions sampled for the rounds that began before ``update`` was done."""
        settings = self._config.trice
        begun = math.ceil(update / self._length)
        teaches = self._config.objective == "star" and settings.guide_updates > 0
        taught = settings.guide_samples * len(self._problems) if teaches else 0
        return self._memory.drawn(update) + begun * taught

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """All there is stands in the memory."""

    def _batches(self, at: int) -> Iterator[list[_Kept]]:
        kept = [
            _Kept(problem, chain.token_ids)
            for problem in self._problems
            if (record := self._memory.of(problem, since=at)) is not None
            for chain in record.chains
        ]
        if not kept:
            raise UserError(
                f"update {at}: no chain of any of the {len(self._problems)} problems is right, of "
                f"{self.drawn(at + 1)} sampled: nothing can be learned; take an easier task, a "
                "better policy, or more trice.samples"
            )
        size = self._config.train.prompts_per_update
        return batches(kept, size, stable_hash(f"{self._seed} {at}") >> 1)

    def _collect(self, at: int) -> list[Rollout]:
        """The round's chains go into the memory; returns the policy's own completions. A run that
        was killed here samples the same ones again and writes what is missing."""
        found: list[Rollout] = []
        own: dict[str, list[Rollout]] = {}
        for start in range(0, len(self._problems), _CHUNK):
            chunk = self._problems[start : start + _CHUNK]
            rollouts, right = graded(
                self._task,
                self._policy.sample(
                    chunk, reasoning_end=self._task.reasoning_end, **self._how("own", at, start)
                ),
            )
            found += rollouts
            for rollout, good in zip(rollouts, right, strict=True):
                own.setdefault(rollout.problem.id, []).extend([rollout] if good else [])
        hard = [problem for problem in self._problems if not own[problem.id]]
        hinted = self._rationalise(hard, at) if self._config.objective == "star" and hard else {}
        samples = self._config.trice.samples
        for problem in self._problems:
            if self._memory.of(problem, since=at) is not None:
                continue
            chains = [remembered_chain(rollout, hinted=False) for rollout in own[problem.id]]
            chains += [remembered_chain(r, hinted=True) for r in hinted.get(problem.id, ())]
            self._memory.put(
                Remembered(
                    update=at,
                    problem_id=problem.id,
                    chains=tuple(chains),
                    tried=samples,
                    hinted=samples if problem.id in hinted else 0,
                )
            )
        return found

    def _rationalise(self, hard: Sequence[Problem], at: int) -> dict[str, list[Rollout]]:
        """Right chains of each problem, written with the answer in sight."""
        train = self._config.train
        guide = make_guide(
            self._policy,
            self._task,
            self._problems,
            self._config.trice,
            temperature=train.temperature,
            max_tokens=train.max_completion_tokens,
            seed=self._seed,
            say=self._progress.say,
        )
        found: dict[str, list[Rollout]] = {problem.id: [] for problem in hard}
        for start in range(0, len(hard), _CHUNK):
            chunk = hard[start : start + _CHUNK]
            written = guide.sample(chunk, **self._how("hinted", at, start))
            for rollout, right in zip(*graded(self._task, written), strict=True):
                if right:
                    found[rollout.problem.id].append(rollout)
        return found

    def _how(self, who: str, at: int, start: int) -> dict[str, Any]:
        return {
            "n": self._config.trice.samples,
            "temperature": self._config.train.temperature,
            "max_tokens": self._config.train.max_completion_tokens,
            "seed": stable_hash(f"{self._seed} {who} {at} {start}"),
        }


class _Kept(NamedTuple):
    problem: Problem
    token_ids: Sequence[int]
