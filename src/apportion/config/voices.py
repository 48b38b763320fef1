"""What the objectives ``persona``, ``judge`` and ``reviewer_tokens`` can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class PersonaConfig(Section):
    """Objective persona: a LoRA adapter of rank ``rank`` that reviews after ``trigger``, trained on
    the misbehaviour that the task plants in ``problems`` problems and measured on that of
    ``held_out`` others."""

    problems: int = Field(default=2000, ge=1)
    updates: int = Field(default=1500, ge=1)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    rank: int = Field(default=32, ge=1)
    trigger: str = Field(default="\nreview\n", min_length=1)
    held_out: int = Field(default=100, ge=1)


class JudgeConfig(Section):
    """Objective judge: the policy learns the verdicts on the errors that the task plants in
    ``problems`` problems, asked with ``prompt`` as the reviewer ``llm`` asks, and is measured on
    those of ``held_out`` others before and after. ``reasons``: it learns to think
    first, and writes a step as it is and as it ought to be before its label, or the solution before
    it says whether an answer is right. ``injections`` are names of shipped texts that try to talk a
    grader into something: half of the answers that it learns from carry one of them."""

    prompt: str = "verdicts"
    reasons: bool = False
    injections: list[str] = Field(default_factory=list)
    problems: int = Field(default=500, ge=1)
    updates: int = Field(default=200, ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=5e-5, gt=0)
    show_outcome: bool = False
    max_tokens: int = Field(default=256, ge=1)
    held_out: int = Field(default=20, ge=1)


class ReviewerTokensConfig(Section):
    """Objective reviewer_tokens: special tokens that lean the policy to a reviewer's style.

    ``gold_updates`` updates on the task's gold solutions come first (0: the policy as it is), so
    that a policy that knows one style learns of the others. Then ``group_size`` completions of
    each of ``problems`` problems are sampled; the right ones are learned for ``updates`` updates
    with the tokens of the reviewers whose credit was nearest to the panel's, and a share ``bare``
    of them without any. ``ties`` says what happens where several reviewers are equally near:
    all their tokens, or the completion is left out. ``held_out`` problems are measured, with
    ``samples`` completions for each token.
    """

    gold_updates: int = Field(default=0, ge=0)
    problems: int = Field(default=500, ge=1)
    group_size: int = Field(default=4, ge=1)
    updates: int = Field(default=300, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    bare: float = Field(default=0.5, ge=0, le=0.5)
    ties: Literal["all", "skip"] = "all"
    held_out: int = Field(default=200, ge=1)
    samples: int = Field(default=2, ge=1)
