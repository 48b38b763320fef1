"""Objective em: expectation maximisation with the helper as the proposal.

    E:  r_k ~ q(r | x, a*),  w_k ~ p(r_k | x) p(a* | x, r_k) / q(r_k | x, a*),  sum_k w_k = 1
    M:  policy  + sum_k w_k grad log p(r_k, a* | x),     helper  + sum_k w_k grad log q(r_k | x, a*)

With the true posterior as q the weights are equal and the policy's step is the gradient of
log p(a* | x); otherwise they correct for what q gets wrong, with a bias that goes with 1/K. The
helper's step is stage 1 on chains weighted by the posterior, so it learns of the reference answers
also where the policy seldom reaches them.

Source: Monte-Carlo EM with an amortised proposal, reweighted wake-sleep (1406.2751); the two-stage
helper of the post on neuralese is its q.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from apportion.config import RunConfig
from apportion.policies.guided import GuidedPolicy
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.scoring import score_tokens
from apportion.tasks import Task
from apportion.tasks.stable import stable_hash
from apportion.trace import Problem, Rollout
from apportion.train.draws import batches
from apportion.train.helper import Helper, cut, reference
from apportion.train.likelihood.boundary import Boundary
from apportion.train.measure.evaluate import score_rollouts
from apportion.train.self_training.chain_learner import ChainLearner, WeightedChain
from apportion.train.self_training.chain_loop import Draw
from apportion.train.supervised import Row


class Posterior:
    """Draws weighted chains and trains the helper beside. See the module.

    Raises UserError for a problem without a reference answer, or one too long for the context.
    """

    def __init__(
        self,
        config: RunConfig,
        seed: int,
        task: Task,
        policy: LanguageModelPolicy,
        learner: ChainLearner,
        problems: Sequence[Problem],
    ) -> None:
        self._config, self._seed, self._task = config, seed, task
        self._policy, self._learner = policy, learner
        self._problems = list(problems)
        for problem in self._problems:
            reference(problem)
        self._boundary = Boundary(policy, config.reward.marker)
        self.helper = Helper(policy, config.helper, seed) if config.em.guided else None
        self._stream: Iterator[list[Problem]] = iter(())

    def begin(self) -> None:
        stream = batches(self._problems, self._config.train.prompts_per_update, self._seed)
        self._stream = islice(stream, self._learner.done, None)

    def draw(self, update: int) -> Draw:
        """Raises UserError where a weight is not a number."""
        batch = next(self._stream)
        rollouts = score_rollouts(self._task, self._propose(batch, update))
        answers = [reference(r.problem) for r in rollouts]
        chains, answer_logps = self._complete(rollouts, answers)
        leads = np.zeros(len(rollouts))
        if self.helper is not None:
            leads = np.array([v.h_T.sum() for v in self.helper.velocities(rollouts, answers)])
        weights_MK, figures = weigh(
            answer_logps.reshape(len(batch), -1), leads.reshape(len(batch), -1)
        )
        weights = weights_MK.ravel().tolist()
        if self.helper is not None:
            rows = [
                Row(self.helper.prompt_ids(r.problem, answer), cut(r).ids, weight)
                for r, answer, weight in zip(rollouts, answers, weights, strict=True)
            ]
            figures["em/helper_loss"] = self.helper.learn(rows, self._config.em.helper_steps)
        return Draw(
            [
                WeightedChain(i // self._config.em.samples, prompt, completion, weight)
                for i, ((prompt, completion), weight) in enumerate(
                    zip(chains, weights, strict=True)
                )
            ],
            len(batch),
            rollouts,
            figures | _share_right(rollouts),
        )

    def drawn(self, update: int) -> int:
        return update * self._config.train.prompts_per_update * self._config.em.samples

    def state(self) -> dict[str, Any]:
        return {} if self.helper is None else self.helper.state()

    def load_state(self, state: dict[str, Any]) -> None:
        if self.helper is not None:
            self.helper.set_state(state)

    def _propose(self, batch: Sequence[Problem], update: int) -> list[Rollout]:
        policy = self._policy
        if self.helper is not None:
            helper = self.helper
            policy = GuidedPolicy(
                policy, helper.reader.model, lambda p: helper.prompt_ids(p, reference(p))
            )
        return policy.sample(
            batch,
            n=self._config.em.samples,
            max_tokens=self._config.train.max_completion_tokens,
            seed=stable_hash(f"em {self._seed} {update}") % 2**31,
            reasoning_end=self._task.reasoning_end,
        )

    def _complete(
        self, rollouts: Sequence[Rollout], answers: Sequence[str]
    ) -> tuple[list[tuple[list[int], list[int]]], np.ndarray]:
        """Prompt and completion of each chain with the reference in place of its answer, and
        log p(a* | x, r) in nats."""
        chains, before, after = [], [], []
        for rollout, answer in zip(rollouts, answers, strict=True):
            spliced = self._boundary.splice(rollout.token_ids, [answer])
            prompt, ending = self._policy.prompt_ids(rollout.problem), list(spliced.answers[0])
            chains.append((prompt, [*spliced.kept, *ending]))
            before.append([*prompt, *spliced.kept])
            after.append(ending)
        logps = score_tokens(self._policy.model, self._policy.tokenizer.pad_token_id, before, after)
        return chains, np.array([float(row.sum()) for row in logps])


def weigh(answer_logps_MK: np.ndarray, leads_MK: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Posterior weights (M, K) of K proposals for each of M problems, rows of sum 1.

    ``answer_logps_MK`` is log p(a* | x, r), ``leads_MK`` log q(r | x, a*) - log p(r | x). The
    figures: ``em/bound``, the mean over problems of log of the mean of p(r, a*) / q(r), which is
    at most log p(a* | x) in expectation; ``em/effective``, the effective number of proposals.
    """
    logits_MK = answer_logps_MK - leads_MK
    top_M1 = logits_MK.max(1, keepdims=True)
    raw_MK = np.exp(logits_MK - top_M1)
    weights_MK = raw_MK / raw_MK.sum(1, keepdims=True)
    bound_M = top_M1[:, 0] + np.log(raw_MK.mean(1))
    return weights_MK, {
        "em/bound": float(bound_M.mean()),
        "em/effective": float((1 / np.square(weights_MK).sum(1)).mean()),
        "em/lead": float(leads_MK.mean()),
    }


def _share_right(rollouts: Sequence[Rollout]) -> dict[str, float]:
    known = [r.outcome for r in rollouts if r.outcome is not None]
    return {"em/right": float(np.mean(known))} if known else {}
