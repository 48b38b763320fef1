"""How a latent policy learns, one method a file; names and options in ``config.latent_methods``."""

from __future__ import annotations

from apportion.config import RunConfig
from apportion.config.latent_methods import (
    CoconutMethod,
    CodiMethod,
    HaltingMethod,
    HrpoMethod,
    OutcomeMethod,
    StopBitMethod,
    TextMethod,
)
from apportion.errors import UserError
from apportion.policies.latent.policy import LatentPolicy
from apportion.tasks import Task
from apportion.train.latent.methods.base import LatentMethod
from apportion.train.latent.methods.coconut import Coconut
from apportion.train.latent.methods.codi import Codi
from apportion.train.latent.methods.halting import Halting
from apportion.train.latent.methods.hrpo import Hrpo
from apportion.train.latent.methods.outcome import Outcome
from apportion.train.latent.methods.reward import CompletionReward, check_reward
from apportion.train.latent.methods.stop_bit import StopBit
from apportion.train.latent.methods.text import Text

__all__ = ["LatentMethod", "load_learning"]


def load_learning(config: RunConfig, policy: LatentPolicy, task: Task) -> LatentMethod:
    """The method that ``latent.learning`` names. Raises UserError where the settings do not fit
    together."""
    learning = config.latent.learning
    if policy.model.sampler is not None and not isinstance(learning, HrpoMethod):
        raise UserError(
            f"latent.learning {learning.kind}: tokens that latent.cell hrpo samples are learned by "
            "hrpo alone: use that, or leave out sampled"
        )
    if isinstance(learning, TextMethod) and config.latent.step_decoder.weight:
        raise UserError(
            "latent.step_decoder: learning text writes its steps and has no latents to decode: "
            "leave it out"
        )
    check_reward(config)
    match learning:
        case TextMethod():
            return Text(policy)
        case CoconutMethod() as options:
            return Coconut(policy, options, config.latent.steps, config.train.updates)
        case CodiMethod() as options:
            return Codi(policy, options)
        case HaltingMethod() as options:
            return Halting(policy, options)
        case StopBitMethod() as options:
            return StopBit(policy, options)
        case OutcomeMethod() as options:
            reward = CompletionReward(config, task, policy.model.device)
            return Outcome(policy, options, reward, config.train)
        case HrpoMethod() as options:
            reward = CompletionReward(config, task, policy.model.device)
            return Hrpo(policy, options, reward, config.train)
    return LatentMethod(policy)
