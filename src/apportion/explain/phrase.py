"""A language model's wording of an explanation; the evidence stays what it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

from apportion.errors import UserError
from apportion.explain.evidence import Explanation
from apportion.review.budget import BudgetSpent
from apportion.review.dialogue_prompt import fence_of
from apportion.review.llm_client import EndpointError, Tally
from apportion.review.llm_options import LlmOptions, model_of
from apportion.review.llm_prompt import defuse

PROMPT_FILE = Path(__file__).parent / "prompts" / "phrase.md"


def phrase(explanation: Explanation, options: LlmOptions) -> str:
    """The answer in the words of the model at an endpoint, from the sentences of the explanation.

    Raises UserError where the endpoint gives no answer.
    """
    try:
        text = asyncio.run(_ask(explanation, options)).strip()
    except (EndpointError, BudgetSpent) as error:
        raise UserError(f"{options.model} at {options.base_url} gave no answer: {error}") from None
    if not text:
        raise UserError(f"{options.model} at {options.base_url} gave an empty answer")
    return text


def messages_for(explanation: Explanation) -> list[dict[str, str]]:
    """Question and findings, fenced as data."""
    findings = [
        f"{number}. {sentence.text} [{'; '.join(sentence.evidence)}]"
        for number, sentence in enumerate(explanation.sentences, 1)
    ]
    missing = [f"Not known: {text}" for text in explanation.missing]
    question = defuse(explanation.question)
    shown = defuse("\n".join([explanation.about, *findings, *missing]))
    content = "\n\n".join(
        (fence_of("QUESTION", question), fence_of("FINDINGS", shown), "Answer the question.")
    )
    return [
        {"role": "system", "content": PROMPT_FILE.read_text(encoding="utf-8").strip()},
        {"role": "user", "content": content},
    ]


async def _ask(explanation: Explanation, options: LlmOptions) -> str:
    endpoint = model_of(options)
    try:
        reply = await endpoint.ask(
            messages_for(explanation), schema=None, seed=options.seed, tally=Tally()
        )
    finally:
        await endpoint.aclose()
    return reply.content
