"""The configuration of a run: one YAML file, dotted overrides, no unknown keys."""

from apportion.config.alarm import AlarmConfig
from apportion.config.claims import Claim, Sweep
from apportion.config.consensus import ConsensusConfig
from apportion.config.edits import EditsConfig
from apportion.config.evaluation import EvalConfig
from apportion.config.imitation import ImitationConfig
from apportion.config.load import choose_arms, diff_from_default, expand_arms, load_yaml, resolve
from apportion.config.overrides import apply_overrides, parse_overrides, parse_seeds
from apportion.config.parts import check_parts
from apportion.config.policy import PolicyConfig
from apportion.config.recipes import find_recipe, shipped_recipes
from apportion.config.schema import Arm, RunConfig
from apportion.config.train import TrainConfig
from apportion.config.warm_start import WarmStartConfig

__all__ = [
    "AlarmConfig",
    "Arm",
    "Claim",
    "ConsensusConfig",
    "EditsConfig",
    "EvalConfig",
    "ImitationConfig",
    "PolicyConfig",
    "RunConfig",
    "Sweep",
    "TrainConfig",
    "WarmStartConfig",
    "apply_overrides",
    "check_parts",
    "choose_arms",
    "diff_from_default",
    "expand_arms",
    "find_recipe",
    "load_yaml",
    "parse_overrides",
    "parse_seeds",
    "resolve",
    "shipped_recipes",
]
