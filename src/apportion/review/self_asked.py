"""The policy as its own reviewer, by asking it: a chat model is prompted to judge its chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apportion.errors import UserError
from apportion.review.binding import as_language_model, unbound
from apportion.review.budget import Budget
from apportion.review.llm import LlmReviewer
from apportion.review.llm_options import LlmOptions, parameters_of
from apportion.review.local_model import LOCAL, LocalModel
from apportion.review.self_review import SelfOptions
from apportion.trace import Problem, Review, Step


class SelfAskedReviewer:
    """Mode ``ask`` of the reviewer ``self``: the reviewer ``llm`` with the weights of the policy
    that it was bound to. In cross-examination it sees the others' reasons and answers again."""

    critiques = 1

    def __init__(self, options: SelfOptions) -> None:
        """Raises UserError where there is no such prompt."""
        self.name, self._options = options.name, options
        self._asking = LlmOptions(
            base_url=LOCAL,
            model="the policy",
            name=options.name,
            prompt=options.prompt,
            temperature=options.temperature or 0.0,
            max_tokens=options.max_tokens or 1024,
            show_outcome=options.show_outcome,
            seed=options.seed,
            structured=False,
        )
        LlmReviewer(self._asking)  # a prompt that does not exist is found now
        self._llm: LlmReviewer | None = None
        self._policy = ""

    def bind(self, policy: object) -> None:
        """Review with this policy's weights. Raises UserError where it has none or no chat
        template."""
        model = as_language_model(policy, self.name)
        if not model.chat:
            raise UserError(
                f"reviewer {self.name}: policy '{model.name}' is no chat model and cannot be "
                "asked: use mode: consistency"
            )
        asked = LocalModel(
            model=model, parameters=parameters_of(self._asking), budget=Budget(), price=None
        )
        self._llm, self._policy = LlmReviewer(self._asking, endpoint=asked), model.name

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        """Raises UserError where no policy was bound."""
        return self._said(
            await self._bound().review(
                problem, rollout_text, steps, outcome, rollout_id=rollout_id, critique=critique
            )
        )

    async def reconsider(self, *args: Any, **named: Any) -> Review:
        """As :meth:`apportion.review.llm.LlmReviewer.reconsider`."""
        return self._said(await self._bound().reconsider(*args, **named))

    def _bound(self) -> LlmReviewer:
        if self._llm is None:
            raise unbound(self.name)
        return self._llm

    def _said(self, review: Review) -> Review:
        meta = review.meta | {"policy": self._policy, "mode": "ask"}
        return review.model_copy(update={"meta": meta})
