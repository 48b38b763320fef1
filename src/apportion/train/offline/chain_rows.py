"""Chains as rows of token ids, labels and weights: what supervised training reads."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import Any, NamedTuple

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Edit, Problem, Rollout

IGNORED = -100


class ChainRow(NamedTuple):
    """One prompt with one completion; all (T,). ``labels`` is -100 and ``loss_weights`` 0 where
    nothing is to be learned: on the prompt, and on what the caller weighs 0."""

    input_ids: list[int]
    labels: list[int]
    loss_weights: list[float]

    @property
    def trained(self) -> list[float]:
        """The weights of the tokens that are learned."""
        return [w for w in self.loss_weights if w > 0]


def edit_row(
    policy: LanguageModelPolicy, problem: Problem, edit: Edit, *, kept: float = 1.0
) -> ChainRow:
    """The edited chain with its end of text. Tokens of *kept* text alone weigh ``kept`` (0: the
    loss is on the edit only), all others 1; the end weighs what the last text does.

    Raises UserError where the tokenizer cannot say which characters a token stands for.
    """
    try:
        encoded = policy.tokenizer(edit.text, add_special_tokens=False, return_offsets_mapping=True)
    except NotImplementedError:
        raise UserError(
            f"policy {policy.name}: its tokenizer gives no offsets, so edits cannot be found in "
            "its tokens: use a fast tokenizer"
        ) from None
    new = [(span.start, span.end) for span in edit.spans if span.kind != "kept"]
    weights = [
        1.0 if any(start < high and low < max(end, start + 1) for low, high in new) else kept
        for start, end in encoded["offset_mapping"]
    ]
    closes_new = bool(edit.spans) and edit.spans[-1].kind != "kept"
    return _row(policy, problem, encoded["input_ids"], weights, 1.0 if closes_new else kept)


def sampled_row(policy: LanguageModelPolicy, rollout: Rollout) -> ChainRow:
    """The rollout as it was sampled; its text tokenised where its token ids are not recorded."""
    if rollout.token_ids:
        ids, ended = list(rollout.token_ids), rollout.token_ids[-1] == policy.tokenizer.eos_token_id
        if ended or rollout.finish == "length":
            return _row(policy, rollout.problem, ids, [1.0] * len(ids), None)
    else:
        ids = policy.tokenizer(rollout.text, add_special_tokens=False)["input_ids"]
    return _row(policy, rollout.problem, ids, [1.0] * len(ids), 1.0)


def completion_row(policy: LanguageModelPolicy, problem: Problem, text: str) -> ChainRow:
    """A text to be learned whole as the completion of a problem, with its end of text."""
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    return _row(policy, problem, ids, [1.0] * len(ids), 1.0)


def _row(
    policy: LanguageModelPolicy,
    problem: Problem,
    ids: Sequence[int],
    weights: Sequence[float],
    end_weight: float | None,
) -> ChainRow:
    prompt = policy.prompt_ids(problem)
    completion, weights = list(ids), list(weights)
    if end_weight is not None:
        completion.append(policy.tokenizer.eos_token_id)
        weights.append(end_weight)
    labels = [i if w > 0 else IGNORED for i, w in zip(completion, weights, strict=True)]
    return ChainRow(
        [*prompt, *completion], [IGNORED] * len(prompt) + labels, [0.0] * len(prompt) + weights
    )


def weighted(rows: Sequence[ChainRow], factors: Sequence[float]) -> list[ChainRow]:
    """Each row's weights times its factor, all of them scaled so that a learned token weighs 1 on
    average: the learning rate then means the same whatever the weights are. Rows in which nothing
    is left to learn are dropped; equal weights become exactly 1.
    """
    scaled = [
        row._replace(
            loss_weights=[w * factor for w in row.loss_weights],
            labels=row.labels if factor > 0 else [IGNORED] * len(row.labels),
        )
        for row, factor in zip(rows, factors, strict=True)
    ]
    left = [row for row in scaled if row.trained]
    values = [weight for row in left for weight in row.trained]
    if not values:
        return []
    if min(values) == max(values):
        return [row._replace(loss_weights=[float(w > 0) for w in row.loss_weights]) for row in left]
    mean = fsum(values) / len(values)
    return [row._replace(loss_weights=[w / mean for w in row.loss_weights]) for row in left]


def as_columns(rows: Sequence[ChainRow]) -> list[dict[str, Any]]:
    """Rows for ``datasets.Dataset.from_list``."""
    return [row._asdict() for row in rows]
