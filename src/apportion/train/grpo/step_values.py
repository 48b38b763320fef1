"""Measures V, the mean outcome of the policy's own continuations, along each completion."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from apportion.config import RunConfig
from apportion.credit import Method
from apportion.credit.base import stable_rng
from apportion.credit.monte_carlo import MonteCarlo
from apportion.credit.segment import Segment
from apportion.errors import UserError
from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.scoring import score_tokens
from apportion.tasks import Task
from apportion.trace import Rollout, Step
from apportion.train.grpo.batch import CreditedBatch
from apportion.train.grpo.signals import Measured, inner_of


class Continued(NamedTuple):
    """What the policy wrote after one prefix: the texts, the outcome of each, and all tokens."""

    texts: list[str]
    outcomes: np.ndarray
    tokens: int

    @property
    def value(self) -> float:
        return float(self.outcomes.mean())


class Continuations:
    """Continues prefixes and has the task score them. A prefix that occurs twice (the prompt of
    a group, a step that two completions share) is continued once.

    Raises UserError where completions are not paid with the task's outcome, which is all that a
    continuation can be scored by.
    """

    def __init__(
        self, config: RunConfig, samples: int, task: Task, policy: LanguageModelPolicy
    ) -> None:
        if config.reward.kind != "outcome":
            raise UserError(
                f"credit.method {config.credit['method']} takes the task's outcome as value: it "
                f"cannot be used with reward.kind {config.reward.kind}"
            )
        self._task, self._policy, self._samples = task, policy, samples
        self._train, self._seed = config.train, config.seeds[0]

    def run(self, prefixes: Sequence[Prefix], name: str) -> dict[tuple[str, str], Continued]:
        """By problem id and text. ``name`` makes the draws differ from one update to the next, and
        the same for a run that is resumed.

        A continuation has the tokens that the prefix leaves of ``train.max_completion_tokens``.
        Raises UserError where the task cannot score a continuation.
        """
        once = list({(p.problem.id, p.text): p for p in prefixes}.values())
        found = continue_chains(
            self._policy,
            once,
            n=self._samples,
            temperature=self._train.temperature,
            max_tokens=self._train.max_completion_tokens,
            seed=int(stable_rng(self._seed, "step values", name).integers(2**31)),
            batch_size=256,
        )
        return {
            (prefix.problem.id, prefix.text): self._scored(prefix, texts)
            for prefix, texts in zip(once, found, strict=True)
        }

    def _scored(self, prefix: Prefix, texts: list[str]) -> Continued:
        tokenizer = self._policy.tokenizer
        room = self._train.max_completion_tokens - len(
            tokenizer(prefix.text, add_special_tokens=False).input_ids
        )
        kept, outcomes, tokens = [], [], 0
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False).input_ids
            tokens += len(ids)
            kept.append(text if len(ids) <= room else tokenizer.decode(ids[: max(0, room)]))
            score = self._task.score(prefix.problem, prefix.text + kept[-1])
            if score is None:
                raise UserError(
                    f"problem {prefix.problem.id}: the task cannot tell whether a continuation is "
                    "right, so steps have no value: use a credit method that asks for none"
                )
            outcomes.append(score)
        return Continued(kept, np.array(outcomes, dtype=np.float64), tokens)


class StepValues:
    """Gives V at the start and at the end of each token's step or segment, and, for segments,
    ``choice`` 1 where the policy gave the token less than ``probability``. 0 for completions whose
    outcome is undecided, which are not continued.

    The reasoning is cut into steps by ``segment`` and the answer is a step of its own; segments
    are cut at tokens, at temperature 1, and run through to the end of the answer.
    """

    gives = ("value", "value_after", "segment_value", "segment_value_after", "choice")

    def __init__(
        self, config: RunConfig, method: Method, task: Task, policy: LanguageModelPolicy
    ) -> None:
        self._method = inner_of(method)
        if not isinstance(self._method, MonteCarlo | Segment):
            raise UserError(f"{type(self._method).__name__} does not say how to measure values")
        self._continuations = Continuations(config, self._method.samples, task, policy)
        self._policy = policy

    def measure(self, rollouts: Sequence[Rollout], cuts: Sequence[tuple[Step, ...]]) -> Measured:
        """Raises UserError where a continuation cannot be scored, or does not fit."""
        rows: list[tuple[Step, ...]] = []
        choices: list[np.ndarray] = []
        if isinstance(self._method, Segment):
            choices = self._choices(rollouts, self._method.probability)
            for rollout, choice_T in zip(rollouts, choices, strict=True):
                rows.append(cut_at_choices(rollout, choice_T, self._method.segments))
        else:
            rows = [with_answer(r, cut) for r, cut in zip(rollouts, cuts, strict=True)]
        prefixes = [
            Prefix(rollout.problem, rollout.text[: step.start])
            for rollout, steps in zip(rollouts, rows, strict=True)
            for step in steps
            if rollout.outcome is not None
        ]
        found = self._continuations.run(prefixes, rollouts[0].id) if prefixes else {}
        measured = []
        before, after = self._method.needs[:2]
        for i, (rollout, steps) in enumerate(zip(rollouts, rows, strict=True)):
            start_T, end_T = along(rollout, steps, found)
            more = {before: tuple(start_T.tolist()), after: tuple(end_T.tolist())}
            if choices:
                more["choice"] = tuple(choices[i].astype(float).tolist())
            measured.append(rollout.model_copy(update={"signals": rollout.signals | more}))
        return Measured(measured, cost_of(found))

    def learn(self, credited: CreditedBatch) -> None:
        """Nothing is learned: the policy is its own measure."""

    def _choices(self, rollouts: Sequence[Rollout], probability: float) -> list[np.ndarray]:
        policy = self._policy
        logps = score_tokens(
            policy.model,
            int(policy.tokenizer.pad_token_id),
            [policy.prompt_ids(r.problem) for r in rollouts],
            [r.token_ids for r in rollouts],
        )
        return [logps_T.cpu().numpy() < np.log(probability) for logps_T in logps]


def with_answer(rollout: Rollout, cut: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, and what follows the last of them as one more; they cover the whole text."""
    end = cut[-1].end if cut else 0
    return (*cut, Step(end, len(rollout.text))) if end < len(rollout.text) else tuple(cut)


def cut_at_choices(rollout: Rollout, choice_T: np.ndarray, segments: int) -> tuple[Step, ...]:
    """At most ``segments`` spans that cover the text, each with about as many choices, and each
    but the first beginning with one."""
    starts = [start for start, end in rollout.token_spans if end > start]
    chosen = [
        start
        for (start, end), choice in zip(rollout.token_spans, choice_T, strict=True)
        if choice and end > start
    ]
    if not starts:
        return ()
    count = min(segments, max(1, len(chosen)))
    firsts = {chosen[len(chosen) * s // count] for s in range(1, count)} - {0}
    edges = [0, *sorted(firsts), len(rollout.text)]
    return tuple(Step(a, b) for a, b in pairwise(edges))


def along(
    rollout: Rollout, steps: Sequence[Step], found: dict[tuple[str, str], Continued]
) -> tuple[np.ndarray, np.ndarray]:
    """V at the start and at the end of each token's step, both (T,) float64.

    Tokens behind the last character (the end of text) belong to the last step.
    """
    start_T, end_T = np.zeros(len(rollout.token_ids)), np.zeros(len(rollout.token_ids))
    if rollout.outcome is None or not steps:
        return start_T, end_T
    values = [found[rollout.problem.id, rollout.text[: step.start]].value for step in steps]
    values.append(rollout.outcome)
    firsts = [step.start for step in steps]
    for t, (start, _) in enumerate(rollout.token_spans):
        s = int(np.searchsorted(firsts, start, side="right")) - 1
        start_T[t], end_T[t] = values[s], values[s + 1]
    return start_T, end_T


def cost_of(found: dict[tuple[str, str], Continued]) -> dict[str, float]:
    """What measuring cost; docs/metrics.md explains each figure."""
    metrics = {
        "value/states": float(len(found)),
        "value/rollouts": float(sum(len(c.texts) for c in found.values())),
        "value/tokens": float(sum(c.tokens for c in found.values())),
    }
    if found:
        values = np.array([c.value for c in found.values()])
        metrics["value/mean"] = float(values.mean())
        metrics["value/settled"] = float(((values == 0) | (values == 1)).mean())
    return metrics
