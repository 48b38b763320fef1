"""What the objective ``em`` can be told."""

from __future__ import annotations

from pydantic import Field

from apportion.config.section import Section


class EmConfig(Section):
    """Objective em: the helper proposes ``samples`` chains for each of the
    ``train.prompts_per_update`` problems of an update, they are weighted as the posterior weighs
    them, and policy and helper both learn the weighted chains. Helper: section ``helper``, without
    its stage 1; ``helper_steps`` gradient steps an update, of its learning rate. With ``guided``
    off the policy proposes, and no helper is trained: the control. Training problems, ``clip`` and
    ``weight_decay`` are those of section ``trice``.
    """

    samples: int = Field(default=4, ge=2)
    helper_steps: int = Field(default=1, ge=1)
    guided: bool = True
