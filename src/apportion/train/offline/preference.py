"""Preference pairs: the edited chain against the original, for TRL's DPOTrainer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from trl.trainer.dpo_trainer import DPOTrainer

from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Edit, Rollout


def preference_rows(
    policy: LanguageModelPolicy, pairs: Sequence[tuple[Rollout, Edit]]
) -> list[dict[str, Any]]:
    """Rows ``prompt``, ``chosen`` (the edit) and ``rejected`` (the original), as text or, for a
    chat policy, as messages: what ``trl.DPOTrainer`` takes."""
    return [
        {
            "prompt": policy.prompt_for(rollout.problem),
            "chosen": _reply(policy, edit.text),
            "rejected": _reply(policy, rollout.text),
        }
        for rollout, edit in pairs
    ]


def _reply(policy: LanguageModelPolicy, text: str) -> str | list[dict[str, str]]:
    return [{"role": "assistant", "content": text}] if policy.chat else text


def dpo_trainer(policy: LanguageModelPolicy, **kwargs: Any) -> DPOTrainer:
    """``trl.DPOTrainer`` of the policy against itself as it is now.

    Direct preference optimisation: L = -log sigmoid(beta (log p(c)/p0(c) - log p(r)/p0(r))) for
    chosen c, rejected r and reference p0 (Rafailov et al. 2023, arXiv 2305.18290, equation 7).
    The reference is a copy of the weights; with an adapter it is a copy of the adapter.
    ``kwargs`` are those of ``trl.DPOTrainer``.
    """
    from peft import PeftModel

    # TRL would load the reference from the model's name, which is not where its weights are from.
    reference = None if isinstance(policy.model, PeftModel) else copy.deepcopy(policy.model)
    return DPOTrainer(
        model=policy.model, ref_model=reference, processing_class=policy.tokenizer, **kwargs
    )
