"""What a run can be told. Every default is here, and a recipe states only what it changes.

``task``, ``reviewers`` and ``credit`` are mappings that the part they name validates itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from apportion.config.agent import AgentConfig
from apportion.config.claims import Claim, check_arms
from apportion.config.em import EmConfig
from apportion.config.evolution import EvolutionConfig
from apportion.config.flow import FlowConfig
from apportion.config.helper import HelperConfig
from apportion.config.latent import LatentConfig
from apportion.config.metalearning import MetalearningConfig
from apportion.config.probe import ProbeConfig
from apportion.config.reward import RewardConfig
from apportion.config.reward_model import RewardModelConfig
from apportion.config.section import Section
from apportion.config.sft import SftConfig
from apportion.config.token_model import TokenModelConfig
from apportion.config.trice import TriceConfig
from apportion.config.voices import JudgeConfig, PersonaConfig, ReviewerTokensConfig

Split = Literal["train", "validation", "test"]
Rate = Annotated[float, Field(ge=0, le=1)]
LossType = Literal["dr_grpo", "dapo", "grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"]

_OPTIONS_OF_KIND = {
    "tiny": {"checkpoint"},
    "pretrained": {"model", "gguf_file", "revision", "lora", "chat", "dtype"},
    "latent": {"model", "steps", "chat"},
    "flow": {"model", "steps", "chat"},
    "scripted": {"completions"},
}


class PolicyConfig(Section):
    """The model that is trained. Options belong to a kind, and another kind refuses them.

    ``checkpoint`` (tiny) is ``shipped`` or a folder. ``model`` (pretrained) is a hub id, a local
    folder, the path of a GGUF file, or ``package:NAME``; (latent) a folder that objective
    ``latent`` wrote, with ``steps`` for another number of latent steps. ``lora`` holds options of
    peft.LoraConfig, such as ``r`` and ``lora_alpha``. ``reviewer_token`` names the reviewer to
    whose style a policy leans that was trained with objective ``reviewer_tokens``.
    """

    kind: Literal["tiny", "pretrained", "latent", "flow", "scripted"] = "tiny"
    checkpoint: str | None = None
    model: str | None = None
    gguf_file: str | None = None
    revision: str | None = None
    lora: dict[str, Any] | None = None
    chat: bool | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    steps: int | None = Field(default=None, ge=0)
    completions: Any = None
    reviewer_token: str | None = None

    @model_validator(mode="after")
    def _options_fit_kind(self) -> Self:
        own = _OPTIONS_OF_KIND[self.kind]
        for kind, options in _OPTIONS_OF_KIND.items():
            given = sorted(name for name in options - own if getattr(self, name) is not None)
            if given:
                raise ValueError(f"{given[0]} is an option of kind {kind}, not of {self.kind}")
        if self.kind == "pretrained" and self.model is None:
            raise ValueError("kind pretrained needs a model: a hub id, a path, or package:NAME")
        if self.kind in ("latent", "flow") and self.model is None:
            raise ValueError(
                f"kind {self.kind} needs a model: a folder that objective {self.kind} wrote"
            )
        return self


class ConsensusConfig(Section):
    """How reviews become one verdict per step; see ``apportion.consensus.Voting``.

    ``rates`` "measured" fills in each reviewer's rates on planted errors when training starts.
    """

    rule: Literal["majority", "union", "intersection", "average", "greedy", "dawid_skene"] = (
        "majority"
    )
    quorum: float = Field(default=0.66, ge=0.5, le=1.0)
    min_reviews: int = Field(default=1, ge=1)
    partial: bool = True
    min_families: int = Field(default=1, ge=1)
    weights: dict[str, float] = Field(default_factory=dict)
    rates: dict[str, tuple[Rate, Rate]] | Literal["measured"] = Field(default_factory=dict)
    families: dict[str, str] = Field(default_factory=dict)

    @field_validator("weights")
    @classmethod
    def _not_negative(cls, weights: dict[str, float]) -> dict[str, float]:
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f"the weight of {name} is negative: {weight}")
        return weights


class TrainConfig(Section):
    """The update. One update trains on prompts_per_update x group_size rollouts, ``epochs`` times.

    The learning rate rises over ``warmup_updates`` and then stays: Adam's first steps are as large
    as its later ones and know least.

    ``record_every`` updates the rollouts, reviews and credit are written (0: never), and
    ``checkpoint_every`` updates the whole state for --resume (0: never). ``trust`` "require"
    refuses reviewers that are not shown to be better than chance (the interval of Youden's J is
    not above 0) on the errors planted in ``trust_problems`` problems, at least six: an interval
    over fewer says nothing. A review that takes longer than ``review_timeout`` seconds has failed;
    where the policy reviews itself that includes waiting for its turn. With
    ``gradient_signal`` successive gradients are compared; that takes one copy of them.
    """

    updates: int = Field(default=50, ge=1)
    prompts_per_update: int = Field(default=16, ge=1)
    group_size: int = Field(default=8, ge=2)
    micro_batch: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    warmup_updates: int = Field(default=0, ge=0)
    beta: float = Field(default=0.0, ge=0)
    loss_type: LossType = "dr_grpo"
    scale_rewards: Literal["group", "none"] = "group"
    temperature: float = Field(default=1.0, gt=0)
    max_completion_tokens: int = Field(default=256, ge=1)
    epochs: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=0, ge=0)
    record_every: int = Field(default=10, ge=0)
    trust: Literal["require", "force"] = "require"
    trust_problems: int = Field(default=50, ge=6)
    review_timeout: float = Field(default=120.0, gt=0)
    threads: int | None = Field(default=None, ge=1)
    gradient_signal: bool = False

    @property
    def rollouts_per_update(self) -> int:
        return self.prompts_per_update * self.group_size

    @model_validator(mode="after")
    def _micro_batch_divides(self) -> Self:
        if self.micro_batch is not None and self.rollouts_per_update % self.micro_batch:
            raise ValueError(
                f"micro_batch {self.micro_batch} does not divide the {self.rollouts_per_update} "
                "rollouts of an update (prompts_per_update x group_size)"
            )
        return self


class EvalConfig(Section):
    """Held-out measurement every ``every`` updates (0: only at the end), greedy, and at the end
    also ``samples`` completions a problem for pass@k. ``showcase`` problems are sampled, reviewed
    and given every method's credit at the end, for the report. ``transfer`` is another task (say,
    longer problems), which the final policy is also measured on, as ``transfer/...``.
    ``answer_logprob`` also measures how likely the references are after a greedy chain. ``reach``
    is the accuracy whose price ``apportion compare`` states. ``trained_problems`` measures the gap
    between so many problems that were trained on and new ones."""

    every: int = Field(default=10, ge=0)
    problems: int = Field(default=200, ge=1)
    split: Split = "validation"
    samples: int = Field(default=0, ge=0)
    k: tuple[int, ...] = (1, 4, 8)
    final_split: Split = "test"
    final_problems: int = Field(default=500, ge=1)
    showcase: int = Field(default=4, ge=0)
    transfer: dict[str, Any] | None = None
    answer_logprob: bool = False
    trained_problems: int = Field(default=0, ge=0)
    reach: float = Field(default=0.5, gt=0, le=1)
    seed: int = 0

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        if any(k < 1 for k in self.k):
            raise ValueError(f"k must be 1 or more, not {min(self.k)}")
        if self.samples and max(self.k, default=1) > self.samples:
            raise ValueError(
                f"pass@{max(self.k)} needs at least {max(self.k)} samples, not {self.samples}"
            )
        return self


class AlarmConfig(Section):
    """When to stop a collapsing run; see ``apportion.train.alarm.CollapseAlarm``.

    ``gaming`` says what to do when completions begin to look like reasoning for its own sake: a
    detector's rate is ``gaming_rise`` above its start, or length ``gaming_growth`` times it; see
    ``apportion.train.gaming_alarm.GamingAlarm``.
    """

    enabled: bool = True
    accuracy_drop: float = Field(default=0.15, ge=0, le=1)
    length_ratio: float = Field(default=0.5, ge=0, le=1)
    steps_ratio: float = Field(default=0.5, ge=0, le=1)
    patience: int = Field(default=2, ge=1)
    gaming: Literal["warn", "stop", "off"] = "warn"
    gaming_rise: float = Field(default=0.1, ge=0, le=1)
    gaming_growth: float = Field(default=2.0, ge=1)


class ImitationConfig(Section):
    """Chains that are imitated beside the policy gradient, from the same rollouts.

    ``chains`` "right" imitates every rollout with the full outcome (online rejection sampling),
    "edited" also edits each by its reviews with ``operations`` (Approach 2 of Deliberative Credit
    Assignment) and keeps what the policy can still answer from; with ``right_too`` unchanged right
    chains are imitated as well, with ``only_edits`` only what an edit changed. "revised" lets the
    policy write criticised chains again, ``tries`` times, which are further rollouts. The loss is
    ``policy_weight`` x GRPO + ``weight`` x mean negative log-likelihood.
    """

    chains: Literal["none", "right", "edited", "revised"] = "none"
    operations: tuple[str, ...] = ("delete", "replace")
    only_edits: bool = False
    tries: int = Field(default=2, ge=1)
    right_too: bool = True
    weight: float = Field(default=1.0, ge=0)
    policy_weight: float = Field(default=0.0, ge=0)


class EditsConfig(Section):
    """Objectives sft_on_edits and dpo_on_edits: ``train.updates`` updates of ``batch_size`` chains
    each on what ``apportion edit`` wrote into the directory ``source``.

    ``chains`` "edited" learns from the usable edits, "edited_or_right" also from rollouts that
    were right as sampled and have no usable edit, "right" from all right rollouts as sampled
    (rejection sampling). ``kept`` is the weight of text that an edit left alone: at 0 the loss is
    on the edit only. ``weight`` of a chain: "verified" is the share of right re-answers,
    "advantage" the share of its problem's rollouts that were wrong. DPO prefers an edit to its
    original with strength ``beta`` and takes usable edits alone.
    """

    source: str | None = None
    chains: Literal["edited", "edited_or_right", "right"] = "edited"
    kept: float = Field(default=1.0, ge=0, le=1)
    weight: Literal["none", "verified", "advantage"] = "none"
    batch_size: int = Field(default=32, ge=1)
    beta: float = Field(default=0.1, gt=0)


class WarmStartConfig(Section):
    """Objective warm_start: a tiny policy from nothing, by supervised training on gold solutions
    until its held-out greedy accuracy reaches ``target_accuracy``. With ``decay`` the learning rate
    falls to 0 over all epochs."""

    problems: int = Field(default=40_000, ge=1)
    target_accuracy: float = Field(default=0.45, gt=0, le=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    batch_size: int = Field(default=64, ge=1)
    epochs: int = Field(default=3, ge=1)
    check_every: int = Field(default=100, ge=1)
    check_problems: int = Field(default=200, ge=1)
    hidden_size: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    vocab_size: int = Field(default=768, ge=64)
    numbers: Literal["digits", "whole"] = "digits"
    decay: bool = False


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
