"""Cross-examination by a language model: what it is shown, and its prompt."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.errors import UserError
from apportion.review.llm_prompt import Prompt, load_prompt
from apportion.review.others import overlaps, verdicts_on
from apportion.trace import Review, StepVerdict

LONGEST_REASON = 600


def load_cross_prompt(name: str) -> Prompt:
    """Raises UserError where there is no such prompt, or one that shows no others."""
    prompt = load_prompt(name)
    if prompt.answer != "steps" or "{others}" not in prompt.user:
        raise UserError(
            f"prompt '{name}' is not for cross-examination: it needs 'answer: steps' and the "
            "placeholder {others}"
        )
    return prompt


def shown_verdicts(own: Review, others: Sequence[Review]) -> dict[str, str]:
    """Texts for the placeholders ``own`` and ``others``: verdicts on the disputed steps, in the
    reviewer's own numbers. The others are called A, B, ...: a name might be taken for authority.
    """
    mine: list[str] = []
    theirs: list[str] = []
    spans = [
        step
        for review in others
        for step, verdict in zip(review.steps, review.verdicts, strict=True)
        if not verdict.abstains
    ]
    for index, (step, verdict) in enumerate(zip(own.steps, own.verdicts, strict=True)):
        if not overlaps(step, spans):
            continue
        mine.append(_line(f"step {index}", verdict))
        for which, said in verdicts_on(step, others):
            theirs.append(_line(f"step {index}, reviewer {_letter(which)}", said))
    return {"own": "\n".join(mine), "others": "\n".join(theirs)}


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"Z{index}"


def _line(where: str, verdict: StepVerdict) -> str:
    stance = verdict.label or "no label"
    if verdict.correct is not None:
        stance += ", correct" if verdict.correct else ", not correct"
    reason = " ".join(verdict.reason.split())
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]} [...]"
    return f"{where}: {stance}. {reason}".rstrip()
