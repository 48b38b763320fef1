"""What a run can be told. Every default is here, and a recipe states only what it changes.

``task``, ``reviewers`` and ``credit`` are mappings that the part they name validates itself.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from apportion.config.agent import AgentConfig
from apportion.config.alarm import AlarmConfig
from apportion.config.claims import Claim, check_arms
from apportion.config.consensus import ConsensusConfig
from apportion.config.edits import EditsConfig
from apportion.config.em import EmConfig
from apportion.config.evaluation import EvalConfig
from apportion.config.evolution import EvolutionConfig
from apportion.config.flow import FlowConfig
from apportion.config.helper import HelperConfig
from apportion.config.imitation import ImitationConfig
from apportion.config.latent import LatentConfig
from apportion.config.metalearning import MetalearningConfig
from apportion.config.policy import PolicyConfig
from apportion.config.probe import ProbeConfig
from apportion.config.reward import RewardConfig
from apportion.config.reward_model import RewardModelConfig
from apportion.config.section import Section
from apportion.config.sft import SftConfig
from apportion.config.token_model import TokenModelConfig
from apportion.config.train import TrainConfig
from apportion.config.trice import TriceConfig
from apportion.config.voices import JudgeConfig, PersonaConfig, ReviewerTokensConfig
from apportion.config.warm_start import WarmStartConfig


class Arm(Section):
    """One line of the comparison: dotted overrides (``credit.method: dca``) of the run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    set: dict[str, Any] = Field(default_factory=dict)


class RunConfig(Section):
    """A run: every arm is trained once with every seed. Without arms there is one, named after
    its credit method. ``seed: 3`` may be written for ``seeds: [3]``. ``cross_examine`` is how many
    rounds reviewers may have in which they see each other's reasons on what they dispute."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    question: str = ""
    objective: Literal[
        "credit",
        "latent",
        "flow",
        "agent",
        "sft",
        "evolution",
        "trice",
        "star",
        "rejection",
        "em",
        "warm_start",
        "sft_on_edits",
        "dpo_on_edits",
        "persona",
        "judge",
        "reviewer_tokens",
        "reward_model",
    ] = "credit"
    task: dict[str, Any] = Field(default_factory=lambda: {"kind": "words"})
    policy: PolicyConfig = PolicyConfig()
    segment: str = "line"
    reviewers: tuple[dict[str, Any] | str, ...] = ("arithmetic",)
    consensus: ConsensusConfig = ConsensusConfig()
    cross_examine: int = Field(default=0, ge=0, le=8)
    metalearning: MetalearningConfig = MetalearningConfig()
    credit: dict[str, Any] = Field(default_factory=lambda: {"method": "outcome"})
    reward: RewardConfig = RewardConfig()
    train: TrainConfig = TrainConfig()
    imitation: ImitationConfig = ImitationConfig()
    edits: EditsConfig = EditsConfig()
    latent: LatentConfig = LatentConfig()
    flow: FlowConfig = FlowConfig()
    em: EmConfig = EmConfig()
    agent: AgentConfig = AgentConfig()
    sft: SftConfig = SftConfig()
    evolution: EvolutionConfig = EvolutionConfig()
    trice: TriceConfig = TriceConfig()
    helper: HelperConfig = HelperConfig()
    reward_model: RewardModelConfig = RewardModelConfig()
    token_model: TokenModelConfig = TokenModelConfig()
    warm_start: WarmStartConfig = WarmStartConfig()
    persona: PersonaConfig = PersonaConfig()
    judge: JudgeConfig = JudgeConfig()
    reviewer_tokens: ReviewerTokensConfig = ReviewerTokensConfig()
    eval: EvalConfig = EvalConfig()
    probe: ProbeConfig = ProbeConfig()
    alarm: AlarmConfig = AlarmConfig()
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    arms: tuple[Arm, ...] | None = Field(default=None, min_length=1)
    claims: tuple[Claim, ...] = ()

    @property
    def arm_names(self) -> tuple[str, ...]:
        given = tuple(arm.name for arm in self.arms or ())
        if not given and self.objective not in ("credit", "warm_start"):
            return (self.objective,)
        return given or (str(self.credit.get("method", "outcome")),)

    @model_validator(mode="after")
    def _edits_fit_objective(self) -> Self:
        if self.objective in ("sft_on_edits", "dpo_on_edits") and self.edits.source is None:
            raise ValueError(
                f"objective {self.objective} needs edits.source: a directory that 'apportion edit' "
                "wrote"
            )
        if self.objective == "dpo_on_edits" and self.edits != EditsConfig(
            source=self.edits.source, batch_size=self.edits.batch_size, beta=self.edits.beta
        ):
            raise ValueError(
                "dpo_on_edits takes usable edits against their originals: edits.chains, "
                "edits.kept and edits.weight are options of sft_on_edits"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _shorthands(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "seed" in data:
            if "seeds" in data:
                raise ValueError("seed and seeds exclude each other")
            data["seeds"] = [data.pop("seed")]
        for section in ("task", "credit", "policy", "reward"):
            selector = "method" if section == "credit" else "kind"
            if isinstance(data.get(section), str):
                data[section] = {selector: data[section]}
        return data

    @model_validator(mode="after")
    def _metalearning_fits(self) -> Self:
        votes = max(self.consensus.min_reviews, self.consensus.min_families)
        self.metalearning.check(len(self.reviewers), self.train.epochs, self.consensus.rule, votes)
        return self

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed occurs twice")
        if min(seeds) < 0:
            raise ValueError("a seed is negative")
        return seeds

    @field_validator("arms")
    @classmethod
    def _named_apart(cls, arms: tuple[Arm, ...] | None) -> tuple[Arm, ...] | None:
        names = [arm.name for arm in arms or ()]
        if len(set(names)) < len(names):
            raise ValueError("two arms have the same name")
        return arms

    @model_validator(mode="after")
    def _claims_are_of_arms(self) -> Self:
        check_arms(self.claims, self.arm_names)
        return self
