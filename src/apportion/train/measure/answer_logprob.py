"""How likely a policy finds the reference answers after a chain of its own: a measure without a
grader, for problems that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apportion.errors import UserError
from apportion.policies.base import Policy
from apportion.policies.flow.policy import FlowPolicy
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.scoring import score_tokens
from apportion.stats import Estimate, mean, over_rows, stratified_bootstrap
from apportion.trace import Problem, Rollout
from apportion.train.likelihood.boundary import Boundary, references_of


def answer_logprob(
    policy: Policy, rollouts: Sequence[Rollout], *, marker: str = "####"
) -> dict[str, Estimate | None]:
    """``eval/answer_logprob``, mean log p(reference | prompt, chain) in nats per reference, and
    ``eval/answer_logprob_token``, the same per token of the references.

    One chain a problem. Each reference takes the place of the chain's answer, end of text
    included; where the chain has no marker, marker and reference are put at its end and both
    count. A problem's references are averaged, intervals resample problems, and a problem without
    references is left out. Temperature 1.

    Raises UserError for a policy that has no weights or does not write its thoughts, where no
    problem has a reference, and for a reference that is empty or exceeds the context.
    """
    if isinstance(policy, FlowPolicy):
        return _after_a_flow(policy, rollouts, marker)
    if not isinstance(policy, LanguageModelPolicy) or isinstance(policy, LatentPolicy):
        raise UserError(
            "eval.answer_logprob needs a policy with weights that writes its reasoning as text "
            f"(policy.kind tiny or pretrained), not {type(policy).__name__}"
        )
    boundary = Boundary(policy, marker)
    before: list[list[int]] = []
    after: list[tuple[int, ...]] = []
    counts: list[int] = []
    context = getattr(policy.model.config, "max_position_embeddings", None)
    for rollout in rollouts:
        references = references_of(rollout.problem.answers)
        if not references:
            continue
        spliced = boundary.splice(rollout.token_ids, references)
        head = [*policy.prompt_ids(rollout.problem), *spliced.kept]
        _check(policy, rollout.problem, references, head, spliced.answers, context)
        before += [head] * len(references)
        after += spliced.answers
        counts.append(len(references))
    if not counts:
        raise UserError("eval.answer_logprob: no problem of the evaluation has a reference answer")
    logps = score_tokens(policy.model, policy.tokenizer.pad_token_id, before, after)
    sums_R2 = np.array([(float(row.double().sum()), len(row)) for row in logps])
    return _averages(sums_R2, counts)


def _after_a_flow(
    policy: FlowPolicy, rollouts: Sequence[Rollout], marker: str
) -> dict[str, Estimate | None]:
    """There is no chain: marker and reference stand behind the thought, and both count."""
    questions: list[list[int]] = []
    answers: list[list[int]] = []
    counts: list[int] = []
    context = getattr(policy.model.config, "max_position_embeddings", None)
    for rollout in rollouts:
        references = references_of(rollout.problem.answers)
        if not references:
            continue
        texts = [f"{marker} {reference}" for reference in references]
        ids = [policy.tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
        ids = [[*row, policy.tokenizer.eos_token_id] for row in ids]
        thought = [0] * policy.model.width
        _check(policy, rollout.problem, references, thought, ids, context)
        questions += [policy.prompt_ids(rollout.problem)] * len(references)
        answers += ids
        counts.append(len(references))
    if not counts:
        raise UserError("eval.answer_logprob: no problem of the evaluation has a reference answer")
    logps_R = policy.logps_along(questions, answers)[:, -1]
    sums_R2 = np.stack([logps_R.numpy(), [float(len(row)) for row in answers]], 1)
    return _averages(sums_R2, counts)


def _averages(sums_R2: np.ndarray, counts: Sequence[int]) -> dict[str, Estimate | None]:
    """Of nats and tokens of each reference, problem by problem."""
    # Nats and tokens of a problem, each averaged over its references.
    ends = np.cumsum(counts)[:-1]
    rows_N2 = np.array([of_one.mean(0) for of_one in np.split(sums_R2, ends)])
    return {
        "eval/answer_logprob": stratified_bootstrap(rows_N2[:, 0].tolist(), statistic=mean),
        "eval/answer_logprob_token": over_rows(rows_N2, _ratio),
    }


def _ratio(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def _check(
    policy: LanguageModelPolicy,
    problem: Problem,
    references: Sequence[str],
    head: Sequence[int],
    answers: Sequence[Sequence[int]],
    context: int | None,
) -> None:
    if not all(references):
        raise UserError(
            f"problem {problem.id}: a reference answer is empty: take it out of the data"
        )
    longest = max(map(len, answers))
    if context and len(head) + longest > context:
        raise UserError(
            f"problem {problem.id}: prompt and chain of {len(head)} tokens and a reference of "
            f"{longest} exceed the context of {context}: lower train.max_completion_tokens or "
            "shorten the reference"
        )
