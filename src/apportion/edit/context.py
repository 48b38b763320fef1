"""Whether a chain leaves a policy the room to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apportion.policies.continuation import Prefix
    from apportion.policies.language_model import LanguageModelPolicy


def fits(policy: LanguageModelPolicy, prefix: Prefix, max_tokens: int) -> bool:
    """Whether prompt, prefix and ``max_tokens`` more tokens fit into the policy's context."""
    context = getattr(policy.model.config, "max_position_embeddings", None)
    if not context:
        return True
    text = policy.tokenizer(prefix.text, add_special_tokens=False)["input_ids"]
    return len(policy.prompt_ids(prefix.problem)) + len(text) + max_tokens <= context
