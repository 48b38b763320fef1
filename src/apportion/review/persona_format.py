"""What a persona is asked and what it answers: one line a step, and one on the whole chain.

1 ok
2 wrong
shortcut no
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy
    from apportion.trace import Problem

TRIGGER = "\nreview\n"
_STEP = re.compile(r"(\d+) (ok|wrong)")
_LAST = re.compile(r"shortcut (yes|no)")


class Judgement(NamedTuple):
    """``wrong`` per step; ``shortcut``: the answer does not come from the chain."""

    wrong: tuple[bool, ...]
    shortcut: bool


def write_judgement(judgement: Judgement) -> str:
    lines = [f"{i} {'wrong' if w else 'ok'}" for i, w in enumerate(judgement.wrong, start=1)]
    return "\n".join([*lines, f"shortcut {'yes' if judgement.shortcut else 'no'}"])


def read_judgement(text: str, steps: int) -> Judgement:
    """Raises ValueError where the text is no judgement on that many steps."""
    lines = text.strip().split("\n")
    if len(lines) != steps + 1:
        raise ValueError(f"{len(lines)} lines where {steps} steps and the shortcut want one each")
    wrong = []
    for number, line in enumerate(lines[:-1], start=1):
        match = _STEP.fullmatch(line.strip())
        if match is None or int(match[1]) != number:
            raise ValueError(f"line {number} is {line!r}, not '{number} ok' or '{number} wrong'")
        wrong.append(match[2] == "wrong")
    last = _LAST.fullmatch(lines[-1].strip())
    if last is None:
        raise ValueError(f"the last line is {lines[-1]!r}, not 'shortcut yes' or 'shortcut no'")
    return Judgement(tuple(wrong), last[1] == "yes")


def question_ids(
    policy: LanguageModelPolicy, problem: Problem, text: str, trigger: str
) -> list[int]:
    """Problem, chain and trigger as the persona sees them: to a chat model the chain is its own
    turn and the trigger the user's next one."""
    if policy.chat:
        messages = [
            *policy.prompt_for(problem),
            {"role": "assistant", "content": text},
            {"role": "user", "content": trigger.strip()},
        ]
        encoded = policy.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True
        )
        return list(encoded["input_ids"])
    plain = policy.tokenizer([text, trigger], add_special_tokens=False)["input_ids"]
    return [*policy.prompt_ids(problem), *plain[0], *plain[1]]


def answer_ids(policy: LanguageModelPolicy, judgement: Judgement) -> list[int]:
    """The judgement as the persona writes it, with the end of text."""
    ids = policy.tokenizer(write_judgement(judgement), add_special_tokens=False)["input_ids"]
    return [*ids, policy.tokenizer.eos_token_id]


def next_ids(policy: LanguageModelPolicy, written: Sequence[int], steps: int) -> list[int]:
    """The tokens that may follow what was written of a judgement on so many steps."""
    said = policy.decode(written)[0].split("\n")[:-1]
    decided = tuple(line.endswith("wrong") for line in said[:steps])
    place = len(written)
    allowed = set()
    for answer in (False, True):
        wrong = (*decided, *[answer] * (steps - len(decided)))
        ids = answer_ids(policy, Judgement(wrong, answer))
        if place < len(ids) and ids[:place] == list(written):
            allowed.add(ids[place])
    return sorted(allowed) or [policy.tokenizer.eos_token_id]


def words_of(policy: LanguageModelPolicy, trigger: str, steps: int) -> list[int]:
    """Every token that a trigger or a judgement on up to ``steps`` steps may hold."""
    both: Sequence[Judgement] = [
        Judgement((wrong,) * steps, shortcut)
        for wrong in (True, False)
        for shortcut in (True, False)
    ]
    ids = {token for judgement in both for token in answer_ids(policy, judgement)}
    return sorted(ids | set(policy.tokenizer(trigger, add_special_tokens=False)["input_ids"]))
