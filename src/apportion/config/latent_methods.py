"""How a latent policy learns: the methods by name, and what each can be told. No torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from apportion.config.section import Section


class AnswerMethod(Section):
    """Cross-entropy of the answer after k latent steps."""

    kind: Literal["answer"] = "answer"


class TextMethod(Section):
    """Cross-entropy of the written solution, no latent steps: what thinking in text reaches."""

    kind: Literal["text"] = "text"


class CoconutMethod(Section):
    """Stages: in stage s the first s written steps are replaced by ``per_step`` latents each, and
    cross-entropy is on the rest; the last stage, all of ``latent.steps``, writes none (Coconut,
    arXiv 2412.06769). A stage lasts ``updates_per_stage`` updates, the last one to the end, and
    the optimiser forgets at each. ``uniform``: share of problems taken at a stage at random.

    With two latents a step the second is given what the first one found, so that an answer can
    read it in every layer; with one, a policy of few layers may fail where the last step ends."""

    kind: Literal["coconut"] = "coconut"
    per_step: int = Field(default=1, ge=1)
    updates_per_stage: int = Field(default=50, ge=1)
    first_stage: int = Field(default=0, ge=0)
    uniform: float = Field(default=0.0, ge=0, le=1)


class CodiMethod(Section):
    """Self-distillation: cross-entropy of the answer after k latents, plus cross-entropy of the
    written solution, plus ``weight`` x the distance of the hidden states before the answer (CODI,
    arXiv 2502.21074)."""

    kind: Literal["codi"] = "codi"
    weight: float = Field(default=1.0, ge=0)
    teacher: float = Field(default=1.0, ge=0)


class HaltingMethod(Section):
    """Expected loss over the step at which a head stops, sum_n p_n L_n, plus ``cost`` x the mean
    number of steps, plus ``beta`` x KL(p, geometric with chance ``prior``) (PonderNet,
    arXiv 2107.05407). ``latent.steps`` is the limit. For the first ``hold`` updates every number
    of steps counts the same and the head learns nothing: it would settle on what the policy can
    answer after now, and the rest would never be learned."""

    kind: Literal["halting"] = "halting"
    prior: float = Field(default=0.2, gt=0, lt=1)
    beta: float = Field(default=0.01, ge=0)
    cost: float = Field(default=0.0, ge=0)
    hold: int = Field(default=0, ge=0)


class StopBitMethod(Section):
    """The stop by policy gradient, all else by backpropagation: the loss of ``samples`` drawn
    numbers of steps, each compared with the mean of the others (RLOO, arXiv 2402.14740), with
    ``cost`` for each step. ``latent.steps`` is the limit. ``hold`` as in ``halting``."""

    kind: Literal["stop_bit"] = "stop_bit"
    samples: int = Field(default=4, ge=2)
    cost: float = Field(default=0.0, ge=0)
    hold: int = Field(default=0, ge=0)


class OutcomeMethod(Section):
    """Outcome reinforcement learning: groups of ``train.group_size`` answers sampled after latents
    that ``noise`` keeps apart, their group advantages, and the gradient of the answers through the
    latents. "dropout" is one mask for each rollout (Dropout-GRPO, arXiv 2606.10184), ``strength``
    its rate; "gumbel" moves the logits of cell soft; "gaussian" adds ``strength`` x the latent's
    own root mean square; "none" leaves the latents of a group equal."""

    kind: Literal["outcome"] = "outcome"
    noise: Literal["dropout", "gumbel", "gaussian", "none"] = "dropout"
    strength: float = Field(default=0.1, ge=0, le=1)


class HrpoMethod(Section):
    """Outcome reinforcement learning of hybrid thought: tokens are sampled up to the answer's mark,
    ``latent.steps`` of them at most, and the input of each step is the token's embedding mixed with
    what the model had in mind, by the gate of ``latent.cell: {kind: hrpo, sampled: true}`` (HRPO,
    arXiv 2505.18454). With ``through`` False no gradient goes back through what is mixed in."""

    kind: Literal["hrpo"] = "hrpo"
    through: bool = True


Method = Annotated[
    AnswerMethod
    | TextMethod
    | CoconutMethod
    | CodiMethod
    | HaltingMethod
    | StopBitMethod
    | OutcomeMethod
    | HrpoMethod,
    Field(discriminator="kind"),
]

METHODS: dict[str, type[Section]] = {
    "answer": AnswerMethod,
    "text": TextMethod,
    "coconut": CoconutMethod,
    "codi": CodiMethod,
    "halting": HaltingMethod,
    "stop_bit": StopBitMethod,
    "outcome": OutcomeMethod,
    "hrpo": HrpoMethod,
}


class StepDecoderConfig(Section):
    """Beside any method: a decoder that is used in training only must write step t of the solution
    from the latents of that step, with ``weight`` (SIM-CoT, arXiv 2509.20317). ``per_step`` latents
    belong to a step; 0.0 leaves it out."""

    weight: float = Field(default=0.0, ge=0)
    per_step: int = Field(default=1, ge=1)
