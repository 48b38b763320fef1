"""What objective ``reward_model`` can be told."""

from __future__ import annotations

from pydantic import Field

from apportion.config.section import Section


class RewardModelConfig(Section):
    """Objective reward_model: a scalar head on the policy, trained for ``train.updates`` updates
    with the mean squared error to the task's score, on fresh rollouts of the policy mixed with
    right answers. The rollouts' policy stays as it is.

    ``blind_to_reasoning`` shows the model the question and the final answer alone, so that a
    policy trained against it cannot please it with its reasoning; False shows the reasoning too.
    ``good_answers`` is how often each update's gold solutions count beside the
    ``train.group_size`` rollouts of each problem (0: not at all). ``clip`` bounds the norm of the
    gradient (0: not bounded).
    """

    blind_to_reasoning: bool = True
    good_answers: int = Field(default=1, ge=0)
    clip: float = Field(default=1.0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
