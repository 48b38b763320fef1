"""What tokens cost. A model that is not listed is unpriced (None), which is not free."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


# List prices without discounts for batches or cached prompts, as published in 2025. Providers
# change them: the option ``price`` of a reviewer overrides what stands here. Keyed by host,
# because a server of one's own may call its model anything.
PRICES: dict[str, dict[str, Price]] = {
    "api.openai.com": {
        "gpt-5": Price(1.25, 10.0),
        "gpt-5-mini": Price(0.25, 2.0),
        "gpt-5-nano": Price(0.05, 0.4),
        "gpt-4.1": Price(2.0, 8.0),
        "gpt-4.1-mini": Price(0.4, 1.6),
        "gpt-4.1-nano": Price(0.1, 0.4),
        "gpt-4o": Price(2.5, 10.0),
        "gpt-4o-mini": Price(0.15, 0.6),
        "o3": Price(2.0, 8.0),
        "o4-mini": Price(1.1, 4.4),
    },
    "api.anthropic.com": {
        "claude-opus-4-1": Price(15.0, 75.0),
        "claude-sonnet-4-5": Price(3.0, 15.0),
        "claude-haiku-4-5": Price(1.0, 5.0),
    },
    "generativelanguage.googleapis.com": {
        "gemini-2.5-pro": Price(1.25, 10.0),
        "gemini-2.5-flash": Price(0.3, 2.5),
        "gemini-2.5-flash-lite": Price(0.1, 0.4),
    },
}
_DATED = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")


def price_of(base_url: str, model: str) -> Price | None:
    """The list price of a model at its provider, also of a dated snapshot of it; else None."""
    listed = PRICES.get(urlsplit(base_url).hostname or "", {})
    return listed.get(model) or listed.get(_DATED.sub("", model))
