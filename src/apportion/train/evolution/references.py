"""Reference texts of problems, and their log-probability without any sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.tasks import Task
from apportion.trace import Problem

Reference = Literal["solution", "answer"]
Logits = Callable[[torch.Tensor], torch.Tensor]


class ReferenceRow(NamedTuple):
    """Token ids of a question and of its reference, end of text included."""

    question: list[int]
    reference: list[int]


def reference_rows(
    policy: LanguageModelPolicy, task: Task, problems: Sequence[Problem], which: Reference
) -> list[ReferenceRow]:
    """The gold solution of each problem, or what comes after its reasoning (``answer``).

    Raises UserError for a problem without a gold solution, with an empty reference, or with one
    that does not fit into the context.
    """
    context = getattr(policy.model.config, "max_position_embeddings", None)
    rows = []
    for problem in problems:
        gold = task.gold_completion(problem) or ""
        text = gold[task.reasoning_end(gold) :] if which == "answer" else gold
        if not text.strip():
            raise UserError(f"task {task.name}: problem {problem.id} has no gold {which} to score")
        ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
        row = ReferenceRow(policy.prompt_ids(problem), [*ids, policy.tokenizer.eos_token_id])
        length = len(row.question) + len(row.reference)
        if context and length > context:
            raise UserError(
                f"problem {problem.id}: question and reference of {length} tokens exceed the "
                f"context of {context}: shorten it or use another task option"
            )
        rows.append(row)
    return rows


def log_likelihood(
    logits: Logits, rows: Sequence[ReferenceRow], pad: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """log p(reference | question) of each row, (..., B), summed over the reference's tokens.

    ``logits`` maps ids (B, T) to (..., B, T, V); leading dimensions, such as one of weights, stay.
    Rows are padded on the right, where a causal model does not see it.
    """
    length = max(len(row.question) + len(row.reference) for row in rows)
    ids_BT = torch.full((len(rows), length), pad)
    mask_BT = torch.zeros(len(rows), length - 1, dtype=torch.bool)
    for b, (question, reference) in enumerate(rows):
        end = len(question) + len(reference)
        ids_BT[b, :end] = torch.tensor([*question, *reference])
        mask_BT[b, len(question) - 1 : end - 1] = True
    ids_BT, mask_BT = ids_BT.to(device), mask_BT.to(device)
    scores = logits(ids_BT)[..., :-1, :].float()
    targets = ids_BT[:, 1:, None].expand(*scores.shape[:-1], 1)
    chosen = scores.gather(-1, targets)[..., 0] - scores.logsumexp(-1)
    return torch.where(mask_BT, chosen, 0.0).sum(-1)
