"""Objective trice: the marginal likelihood of right answers, by Markov chain Monte Carlo EM."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from apportion.errors import UserError
from apportion.records.memory import Remembered
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem
from apportion.train.draws import batches
from apportion.train.self_training.chain_learner import ChainLearner, WeightedChain
from apportion.train.self_training.chain_loop import Draw
from apportion.train.self_training.chain_memory import (
    ChainMemory,
    chain_figures,
    graded,
    remembered_chain,
)
from apportion.train.self_training.guide import Guide, make_guide
from apportion.train.self_training.trice_terms import gradient_terms, leave_one_out, systematic
from apportion.train.setup import Arm

_CHUNK = 32
_MEMORY = 0.8  # what an older visit of a problem weighs in its acceptance rate, per visit


class Trice:
    """One remembered chain z for each training problem; per update and problem one proposal
    z̃ ~ p(z | x) of the policy.

    The proposal is drawn from the prior, so the Metropolis-Hastings ratio of an independence
    sampler with target p(z | x, right answer) is that of the likelihoods, 0 or 1: z̃ takes the
    place of z if its answer is right, and z stays otherwise. ``gradient_terms`` says what is
    learned then.

    Source: TRICE, Phan, Hoffman et al. 2023 (2312.02179), algorithm 1.
    """

    def __init__(
        self,
        arm: Arm,
        learner: ChainLearner,
        memory: ChainMemory,
        problems: Sequence[Problem],
    ) -> None:
        self._config, self._seed, self._task, self._policy, _, self._progress = arm
        self._memory, self._problems = memory, problems
        self._stream = batches(problems, arm.config.train.prompts_per_update, arm.seed)
        for _ in range(learner.done):
            next(self._stream)
        self._hits = dict.fromkeys((p.id for p in problems), 0.0)
        self._visits = dict(self._hits)

    def begin(self) -> None:
        """Fill the memory of every problem that has none yet; what is there is kept."""
        guide: Guide | None = None
        for start in range(0, len(self._problems), _CHUNK):
            chunk = self._problems[start : start + _CHUNK]
            missing = {p.id for p in chunk if self._memory.of(p) is None}
            if missing:
                guide = guide or self._make_guide()
                self._fill(chunk, missing, guide, stable_hash(f"{self._seed} fill {start}"))

    def draw(self, update: int) -> Draw:
        """Propose, accept, and say which chains to learn. Raises UserError where after a whole
        pass over the problems no chain at all was ever right."""
        settings = self._config.trice
        problems = next(self._stream)
        rollouts, accepted = graded(self._task, self._propose(problems, update))
        betas = self._betas(problems, accepted)
        for problem, rollout, right in zip(problems, rollouts, accepted, strict=True):
            if right:
                chain = remembered_chain(rollout, hinted=False)
                self._memory.put(Remembered(update=update, problem_id=problem.id, chains=(chain,)))
            self._hits[problem.id] = _MEMORY * self._hits[problem.id] + right
            self._visits[problem.id] = _MEMORY * self._visits[problem.id] + 1.0
        held = [self._memory.chain(problem) for problem in problems]
        coverage = self._memory.coverage(self._problems)
        self._check_some_right(update, coverage["chains/coverage"])
        terms = gradient_terms([chain is not None for chain in held], accepted, betas)
        if settings.terms is not None:
            offset = random.Random(stable_hash(f"{self._seed} terms {update}")).random()
            terms = systematic(terms, settings.terms, offset)
        chains = []
        for term in terms:
            chain = held[term.example] if term.chain == "memory" else None
            ids = chain.token_ids if chain else rollouts[term.example].token_ids
            prompt = self._policy.prompt_ids(problems[term.example])
            chains.append(WeightedChain(term.example, prompt, ids, term.weight))
        return Draw(
            chains,
            len(problems),
            rollouts,
            chain_figures(self._task, rollouts)
            | coverage
            | {
                "chains/acceptance": sum(accepted) / len(accepted),
                "chains/beta": sum(betas) / len(betas),
                "chains/terms": float(len(chains)),
            },
        )

    def drawn(self, update: int) -> int:
        """Completions sampled until ``update``, by guide and policy."""
        if not update:
            return 0
        settings = self._config.trice
        teaches = settings.bootstrap == "guide" and settings.guide_updates > 0
        taught = settings.guide_samples * len(self._problems) if teaches else 0
        proposals = update * self._config.train.prompts_per_update
        return self._memory.drawn(update) + taught + proposals

    def state(self) -> dict[str, Any]:
        return {"hits": self._hits, "visits": self._visits}

    def load_state(self, state: dict[str, Any]) -> None:
        self._hits, self._visits = dict(state["hits"]), dict(state["visits"])

    def _make_guide(self) -> Guide | None:
        if self._config.trice.bootstrap == "policy":
            return None
        return make_guide(
            self._policy,
            self._task,
            self._problems,
            self._config.trice,
            temperature=self._config.train.temperature,
            max_tokens=self._config.train.max_completion_tokens,
            seed=self._seed,
            say=self._progress.say,
        )

    def _fill(
        self, chunk: Sequence[Problem], missing: set[str], guide: Guide | None, seed: int
    ) -> None:
        """A chunk is sampled whole, so that a run killed in it repeats the same completions."""
        train, tries = self._config.train, self._config.trice.tries
        how: dict[str, Any] = {
            "n": tries,
            "temperature": train.temperature,
            "max_tokens": train.max_completion_tokens,
            "seed": seed,
        }
        found = guide.sample(chunk, **how) if guide else self._policy.sample(chunk, **how)
        rollouts, right = graded(self._task, found)
        for number, problem in enumerate(chunk):
            if problem.id not in missing:
                continue
            own = range(number * tries, (number + 1) * tries)
            first = next((i for i in own if right[i]), None)
            chain = None if first is None else remembered_chain(rollouts[first], hinted=bool(guide))
            self._memory.put(
                Remembered(
                    update=0,
                    problem_id=problem.id,
                    chains=(chain,) if chain else (),
                    tried=0 if guide else tries,
                    hinted=tries if guide else 0,
                )
            )

    def _propose(self, problems: Sequence[Problem], update: int) -> list[Any]:
        train = self._config.train
        return self._policy.sample(
            problems,
            temperature=train.temperature,
            max_tokens=train.max_completion_tokens,
            seed=stable_hash(f"{self._seed} proposals {update}"),
            reasoning_end=self._task.reasoning_end,
        )

    def _betas(self, problems: Sequence[Problem], accepted: Sequence[bool]) -> list[float]:
        """Acceptance rates that know nothing of the proposals that they weigh."""
        kind = self._config.trice.control_variate
        if kind == "none":
            return [0.0] * len(accepted)
        others = leave_one_out(accepted)
        if kind == "batch":
            return others
        return [
            (beta + self._hits[p.id]) / (1.0 + self._visits[p.id])
            for p, beta in zip(problems, others, strict=True)
        ]

    def _check_some_right(self, update: int, coverage: float) -> None:
        a_pass = math.ceil(len(self._problems) / self._config.train.prompts_per_update)
        if update >= a_pass and not coverage:
            raise UserError(
                f"update {update}: no chain of any of the {len(self._problems)} problems was ever "
                f"right, of {self.drawn(update)} sampled: nothing can be learned; take an easier "
                "task, a better policy, or more trice.tries"
            )
