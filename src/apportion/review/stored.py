"""Reviews that were paid for once are not paid for again."""

from __future__ import annotations

from typing import Any, Protocol

from apportion.errors import UserError
from apportion.review.cache import ReviewCache, cache_key
from apportion.review.llm_client import Endpoint
from apportion.review.local_model import LocalModel
from apportion.trace import Review


class Conversation(Protocol):
    """What is to be asked of a model, and what comes of it; ``content`` is what to remember."""

    content: str

    def identity(self) -> dict[str, Any]:
        """Everything that determines the review."""
        ...

    def replay(self, who: dict[str, Any], stored: dict[str, Any]) -> Review | None:
        """The review of a stored answer; None where this version cannot read it."""
        ...

    async def hold(self, who: dict[str, Any]) -> Review:
        """The review, by asking; a failure is one too."""
        ...


async def review_once(
    conversation: Conversation,
    who: dict[str, Any],
    cache: ReviewCache | None,
    endpoint: Endpoint | LocalModel,
) -> Review:
    """The review from the cache, else from the model; ``who`` are its first fields.

    Only reviews that did not fail are stored, and two that ask the same at the same time ask once.
    """
    if cache is None:
        return await conversation.hold(who)
    key = cache_key(conversation.identity())
    async with endpoint.only_one(key):
        stored = cache.get(key)
        review = conversation.replay(who, stored) if stored is not None else None
        if review is not None:
            return review
        review = await conversation.hold(who)
        return _stored(cache, key, conversation.content, review) if review.ok else review


def _stored(cache: ReviewCache, key: str, content: str, review: Review) -> Review:
    try:
        cache.put(key, {"content": content, "meta": review.meta})
    except UserError as error:
        # The answer is paid for and good; only the next run has to pay again.
        return review.model_copy(update={"meta": review.meta | {"cache_error": str(error)}})
    return review
