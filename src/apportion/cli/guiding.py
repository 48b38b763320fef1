"""``apportion sample --guide flow``: chains that a trained helper leads to the reference answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apportion.errors import UserError, nearest

if TYPE_CHECKING:
    from apportion.config import RunConfig
    from apportion.policies import Policy

GUIDES = ("flow",)


def guided(policy: Policy, guide: str, strength: float, config: RunConfig) -> Policy:
    """The policy under the guide. Raises UserError for an unknown guide, a policy without weights
    or written thoughts, and where no helper is given."""
    from apportion.policies.guided import GuidedPolicy
    from apportion.policies.language_model import LanguageModelPolicy
    from apportion.policies.latent.policy import LatentPolicy
    from apportion.train.helper import Helper, reference

    if guide not in GUIDES:
        raise UserError(f"--guide '{guide}': use flow{nearest(guide, list(GUIDES))}")
    if not isinstance(policy, LanguageModelPolicy) or isinstance(policy, LatentPolicy):
        raise UserError(f"--guide flow: policy '{policy.name}' writes no reasoning to lead")
    if config.helper.checkpoint is None:
        raise UserError(
            "--guide flow needs a trained helper: helper.checkpoint=RUN/ARM/checkpoints/final of a "
            "run with credit.method hindsight or flow, and the policy of the same folder"
        )
    helper = Helper(policy, config.helper, config.seeds[0])
    return GuidedPolicy(
        policy,
        helper.reader.model,
        lambda problem: helper.prompt_ids(problem, reference(problem)),
        strength,
    )
