"""Measures h_t with a helper that learns beside the policy: stage 2 of the two-stage scheme."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from apportion.config import RunConfig
from apportion.credit import Method
from apportion.edit.answer import stated
from apportion.policies.hindsight import Velocity, next_logps
from apportion.policies.language_model import LanguageModelPolicy
from apportion.tasks import Task
from apportion.trace import Rollout, Step
from apportion.train.grpo.batch import CreditedBatch
from apportion.train.grpo.helper_alarm import HelperAlarm, correlation_within
from apportion.train.grpo.signals import Measured
from apportion.train.helper import NO_ANSWER, Helper, cut, reference
from apportion.train.supervised import Row

_STATE = "hindsight.pt"
_HELD_OUT = 8  # of the first completions one in so many is kept back, to see what was learned


class HindsightSource:
    """Gives, for each token of the reasoning and 0 for the answer's:

    ``hindsight`` h_t under the reference answer, ``hindsight_mean`` its mean over the tokens that
    the policy could have written there, ``hindsight_reached`` h_t under the answer that the
    completion reached, and ``hindsight_chain`` 1. Only what the method needs is measured.

    The helper is trained at the first measurement (stage 1) and again as ``config.helper`` says.
    Raises UserError for a problem without a reference answer where the method needs one.
    """

    gives = ("hindsight", "hindsight_mean", "hindsight_reached", "hindsight_chain")

    def __init__(
        self, config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
    ) -> None:
        self.alarm: str | None = None
        self.helper = Helper(policy, config.helper, config.seeds[0])
        self._settings, self._train, self._seed = config.helper, config.train, config.seeds[0]
        self._task, self._policy = task, policy
        self._needs = set(method.needs)
        self._watch = HelperAlarm(config.helper)
        self._recent: deque[Row] = deque(maxlen=config.helper.buffer)
        self._refreshed: LanguageModelPolicy | None = None
        self._updates = 0
        self._metrics: dict[str, float] = {}

    def measure(self, rollouts: Sequence[Rollout], cuts: Sequence[tuple[Step, ...]]) -> Measured:
        """Raises UserError where a problem has no reference answer that is needed."""
        by_reference = "hindsight" in self._needs
        answers = [reference(r.problem) for r in rollouts] if by_reference else []
        reached = [stated(r) or NO_ANSWER for r in rollouts]
        if not self.helper.trained:
            self._first_stage()
        signals: list[dict[str, tuple[float, ...]]] = [{} for _ in rollouts]
        found: list[Velocity] = []
        if "hindsight_reached" in self._needs:
            found = self._velocities(rollouts, reached)
            _put(signals, rollouts, "hindsight_reached", [v.h_T for v in found])
        if by_reference:
            found = self._velocities(rollouts, answers)
            _put(signals, rollouts, "hindsight", [v.h_T for v in found])
            _put(signals, rollouts, "hindsight_mean", [v.mean_T for v in found])
        _put(signals, rollouts, "hindsight_chain", [np.ones(len(v.h_T)) for v in found])
        metrics = self._monitor(rollouts, answers or reached, found) | self._metrics
        self._metrics = {}
        measured = [
            r.model_copy(update={"signals": r.signals | more})
            for r, more in zip(rollouts, signals, strict=True)
        ]
        return Measured(measured, metrics)

    def learn(self, credited: CreditedBatch) -> None:
        """Keep the completions, and train the helper on the latest where it is due."""
        self._recent += [self.helper.row(r) for r in credited.rollouts if r.token_ids]
        self._updates += 1
        every = self._settings.refresh_every
        if every and self._updates % every == 0:
            loss = self.helper.fit(list(self._recent), self._settings.refresh_updates)
            self._metrics["helper/loss"] = loss
            self._keep_policy()

    def save(self, folder: Path) -> None:
        self.helper.save(folder)
        state = {
            "updates": self._updates,
            "counts": self._watch.counts,
            "metrics": self._metrics,
            "recent": [tuple(map(list, row[:2])) for row in self._recent],
            "refreshed": self._refreshed.model.state_dict() if self._refreshed else None,
        }
        torch.save(state, folder / _STATE)

    def load(self, folder: Path) -> None:
        self.helper.load(folder)
        state = torch.load(folder / _STATE, weights_only=True, map_location="cpu")
        self._updates, self._metrics = state["updates"], state["metrics"]
        self._watch.counts = state["counts"]
        self._recent.extend(Row(*row) for row in state["recent"])
        self._keep_policy()
        if self._refreshed is not None:
            self._refreshed.model.load_state_dict(state["refreshed"])

    def _first_stage(self) -> None:
        """Stage 1, on completions of the policy as it is; a share of them is held out."""
        settings = self._settings
        rollouts = self._policy.sample(
            self._task.problems("train", settings.problems, self._seed),
            n=settings.samples,
            temperature=self._train.temperature,
            max_tokens=self._train.max_completion_tokens,
            seed=self._seed,
            reasoning_end=self._task.reasoning_end,
        )
        rollouts = [r for r in rollouts if r.token_ids]
        # Whole problems are held out: one in eight, at least two. By half of them training is
        # stopped, on the other half it is measured.
        names = list(dict.fromkeys(r.problem.id for r in rollouts))
        held = names[:: max(1, min(_HELD_OUT, len(names) // 2))]
        stopping, measured = (
            [r for r in rollouts if r.problem.id in set(part)] for part in (held[::2], held[1::2])
        )
        rows = [self.helper.row(r) for r in rollouts if r.problem.id not in set(held)]
        self._metrics["helper/rollouts"] = float(len(rollouts))
        self._metrics["helper/loss"] = self.helper.fit_and_stop(rows, stopping, settings.updates)
        self._metrics["helper/held_out_gain"] = self.helper.gain(measured)
        self._keep_policy()

    def _keep_policy(self) -> None:
        """Hold on to the policy of now, where log q is to be compared with it."""
        if self._settings.against == "refreshed":
            was = self._policy
            model = copy.deepcopy(was.model).requires_grad_(False)
            self._refreshed = LanguageModelPolicy(model, was.tokenizer, was.name, chat=was.chat)
            self._refreshed.reviewer_tokens = was.reviewer_tokens

    def _velocities(self, rollouts: Sequence[Rollout], answers: Sequence[str]) -> list[Velocity]:
        return self.helper.velocities(rollouts, answers, self._refreshed)

    def _monitor(
        self, rollouts: Sequence[Rollout], answers: Sequence[str], found: Sequence[Velocity]
    ) -> dict[str, float]:
        """The helper's reward beside the truth; docs/metrics.md explains each figure."""
        now = found if self._refreshed is None else self.helper.velocities(rollouts, answers)
        kl = -float(np.concatenate([v.mean_T for v in now]).mean())
        rewards = [float(v.h_T.sum()) for v in found]
        truth = true_logps(self._policy, rollouts, answers)
        correlation = correlation_within([r.group for r in rollouts], rewards, truth)
        self.alarm = self.alarm or self._watch.check(kl, correlation)
        known = [value for value in truth if value is not None]
        metrics = {
            "helper/kl": kl,
            "helper/reward": float(np.mean(rewards)),
            "helper/no_answer": 1.0 - len(known) / len(rollouts),
        }
        if known:
            metrics["helper/true"] = float(np.mean(known))
        if correlation is not None:
            metrics["helper/correlation"] = correlation
        return metrics


def true_logps(
    policy: LanguageModelPolicy, rollouts: Sequence[Rollout], answers: Sequence[str]
) -> list[float | None]:
    """log p(answer | question, reasoning) in nats, written where and as the completion wrote its
    own; None where that states none."""
    before, after, index = [], [], []
    for i, (rollout, answer) in enumerate(zip(rollouts, answers, strict=True)):
        parts = cut(rollout)
        if parts.answer is None:
            continue
        text = parts.after.replace(parts.answer, answer, 1)
        ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        end = policy.tokenizer.eos_token_id
        ended = rollout.token_ids[-1] == end
        before.append([*policy.prompt_ids(rollout.problem), *parts.ids])
        after.append([*ids, end] if ended else ids)
        index.append(i)
    found: list[float | None] = [None] * len(rollouts)
    if index:
        scores = next_logps(policy.model, before, after, policy.tokenizer.pad_token_id)
        for i, ids, logps_TV in zip(index, after, scores, strict=True):
            chosen_T = torch.tensor(ids, device=logps_TV.device)[:, None]
            found[i] = float(logps_TV.gather(1, chosen_T).sum())
    return found


def _put(
    signals: Sequence[dict[str, tuple[float, ...]]],
    rollouts: Sequence[Rollout],
    name: str,
    values: Sequence[np.ndarray],
) -> None:
    for of_one, rollout, value_T in zip(signals, rollouts, values, strict=True):
        rest = len(rollout.token_ids) - len(value_T)
        of_one[name] = (*value_T.tolist(), *[0.0] * rest)
