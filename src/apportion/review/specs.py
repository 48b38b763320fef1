"""Reviewers by name and options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from apportion.errors import UserError, nearest
from apportion.options import parse_options
from apportion.review.admission import AdmissionReviewer
from apportion.review.arithmetic import ArithmeticReviewer
from apportion.review.assistants import EndpointAssistant, load_assistant
from apportion.review.base import Reviewer, of_family
from apportion.review.cache import ReviewCache
from apportion.review.counterfactual import CounterfactualOptions, CounterfactualReviewer
from apportion.review.dialogue import DialogueOptions, DialogueReviewer
from apportion.review.dialogue_prompt import load_framing
from apportion.review.gold import GoldReviewer
from apportion.review.human import HumanReviewer, TerminalReviewer
from apportion.review.labels import read_labels
from apportion.review.learned import StepModel, StepModelOptions, StepModelReviewer
from apportion.review.llm import LlmReviewer
from apportion.review.llm_options import LlmOptions
from apportion.review.monitor import MonitorOptions, MonitorReviewer
from apportion.review.naive import NaiveOptions, NaiveReviewer
from apportion.review.noisy import NoisyReviewer
from apportion.review.outcome_judge import OutcomeJudge
from apportion.review.persona import PersonaOptions, PersonaReviewer
from apportion.review.questioning import QuestioningReviewer
from apportion.review.scripted import ScriptedReviewer
from apportion.review.self_asked import SelfAskedReviewer
from apportion.review.self_review import SelfOptions, SelfReviewer
from apportion.review.style import StyleOptions, StyleReviewer

REVIEWERS: dict[str, str] = {
    "arithmetic": "reads and checks the equations of a chain; offline, exact, abstains on the rest",
    "gold": "compares with the known steps of the problem (task words); offline, exact",
    "llm": "asks a language model at an OpenAI-compatible endpoint, or one in this process",
    "noisy": "another reviewer with errors added at chosen rates",
    "naive": "pays for looks and checks nothing: the instrument of gaming experiments",
    "monitor": "flags what looks suspicious in a chain: hints, wrong sums; reads nothing else",
    "admission": "another reviewer, to whom admitting the hint that the problem holds is useful",
    "outcome_judge": "another reviewer's verdict on the whole answer, the same for every step",
    "step_model": "a small network distilled from recorded reviews; offline, microseconds a step",
    "human": "labels from a file, or asked for at the terminal",
    "scripted": "replays recorded reviews",
    "dialogue": "questions the assistant first: a language model, or an offline reviewer in doubt",
    "self": "the policy's own weights: resamples each step, or (mode: ask) is prompted to review",
    "counterfactual": "what the answer loses without a step, by asking the policy again",
    "persona": "the policy's own weights and a LoRA adapter that learned to review",
    "style": "likes chains that check themselves, or chains that do not; says nothing of truth",
}


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArithmeticOptions(_Options):
    name: str = "arithmetic"


class GoldOptions(_Options):
    name: str = "gold"


class NoisyOptions(_Options):
    """``inner`` is the spec of the wrapped reviewer; rates are per step."""

    inner: str | dict[str, Any]
    tpr: float = Field(ge=0, le=1)
    fpr: float = Field(ge=0, le=1)
    seed: int = 0
    critiques: int | None = Field(default=None, ge=1, le=64)
    yields: float = Field(default=0.0, ge=0, le=1)
    name: str = "noisy"


class AdmissionOptions(_Options):
    """``inner`` is the spec of the wrapped reviewer."""

    inner: str | dict[str, Any] = "gold"
    blame_silence: bool = False
    name: str = "admission"


class OutcomeJudgeOptions(_Options):
    """``inner`` is the spec of the wrapped reviewer, asked without the outcome by default."""

    inner: str | dict[str, Any]
    show_outcome: bool = False
    name: str = "outcome_judge"


class HumanOptions(_Options):
    """``labels`` is a JSONL or CSV file; without it the terminal is asked."""

    labels: Path | None = None
    name: str = "human"


class ScriptedOptions(_Options):
    """``reviews`` is a reviews.jsonl; ``recorded`` picks the reviewer where it holds several."""

    reviews: Path
    recorded: str | None = None
    delay: float = Field(default=0.0, ge=0)
    name: str = "scripted"


_OPTIONS: dict[str, type[BaseModel]] = {
    "arithmetic": ArithmeticOptions,
    "gold": GoldOptions,
    "llm": LlmOptions,
    "noisy": NoisyOptions,
    "naive": NaiveOptions,
    "monitor": MonitorOptions,
    "admission": AdmissionOptions,
    "outcome_judge": OutcomeJudgeOptions,
    "step_model": StepModelOptions,
    "human": HumanOptions,
    "scripted": ScriptedOptions,
    "dialogue": DialogueOptions,
    "self": SelfOptions,
    "counterfactual": CounterfactualOptions,
    "persona": PersonaOptions,
    "style": StyleOptions,
}
_Model = TypeVar("_Model", bound=BaseModel)


def load_reviewer(spec: Mapping[str, Any] | str, *, cache: ReviewCache | None = None) -> Reviewer:
    """The reviewer that ``{"kind": name, option: value, ...}``, or a bare name, describes.

    ``cache`` keeps the answers of reviewers that cost something. Every kind takes ``family``: what
    the reviewer is made of, for a vote that wants different ones (``consensus.min_families``).

    Raises:
        UserError: unknown kind or option (with the nearest known one), or a bad value.
    """
    if isinstance(spec, str):
        spec = {"kind": spec}
    if not isinstance(spec, Mapping):
        raise UserError(f"a reviewer is a name or a mapping with 'kind', not {spec!r}")
    options = dict(spec)
    kind = options.pop("kind", None)
    if kind not in REVIEWERS:
        known = list(REVIEWERS)
        what = "a reviewer without 'kind'" if kind is None else f"unknown reviewer '{kind}'"
        raise UserError(f"{what}{nearest(str(kind), known)}; reviewers: {', '.join(known)}")
    family = options.pop("family", None)
    if family is not None and not (isinstance(family, str) and family):
        raise UserError(f"reviewer {kind}: option family: a name is needed, not {family!r}")
    made = _make(str(kind), _parse(str(kind), options), cache)
    return made if family is None else of_family(made, family)


def _make(kind: str, options: BaseModel, cache: ReviewCache | None) -> Reviewer:
    if isinstance(options, LlmOptions):
        return LlmReviewer(options, cache)
    if isinstance(options, NoisyOptions):
        return NoisyReviewer(
            load_reviewer(options.inner, cache=cache),
            tpr=options.tpr,
            fpr=options.fpr,
            seed=options.seed,
            critiques=options.critiques,
            yields=options.yields,
            name=options.name,
        )
    if isinstance(options, DialogueOptions):
        return _dialogue(options, cache)
    if isinstance(options, NaiveOptions):
        return NaiveReviewer(options)
    if isinstance(options, MonitorOptions):
        return MonitorReviewer(options)
    if isinstance(options, StepModelOptions):
        model = StepModel.load(options.path)
        return StepModelReviewer(model, threshold=options.threshold, name=options.name)
    if isinstance(options, AdmissionOptions):
        inner = load_reviewer(options.inner, cache=cache)
        return AdmissionReviewer(inner, blame_silence=options.blame_silence, name=options.name)
    if isinstance(options, OutcomeJudgeOptions):
        inner = load_reviewer(options.inner, cache=cache)
        return OutcomeJudge(inner, show_outcome=options.show_outcome, name=options.name)
    if isinstance(options, HumanOptions):
        if options.labels is None:
            return TerminalReviewer(options.name)
        return HumanReviewer(read_labels(options.labels), options.name)
    if isinstance(options, ScriptedOptions):
        return ScriptedReviewer.from_file(
            options.reviews, recorded=options.recorded, delay=options.delay, name=options.name
        )
    if isinstance(options, SelfOptions):
        return SelfAskedReviewer(options) if options.mode == "ask" else SelfReviewer(options)
    if isinstance(options, CounterfactualOptions):
        return CounterfactualReviewer(options)
    if isinstance(options, PersonaOptions):
        return PersonaReviewer(options)
    if isinstance(options, StyleOptions):
        return StyleReviewer(options)
    if isinstance(options, GoldOptions):
        return GoldReviewer(options.name)
    assert isinstance(options, ArithmeticOptions), kind
    return ArithmeticReviewer(options.name)


def _dialogue(options: DialogueOptions, cache: ReviewCache | None) -> Reviewer:
    inner = {"kind": options.inner} if isinstance(options.inner, str) else dict(options.inner)
    framing = load_framing(options.framing)
    assistant = load_assistant(options.assistant, framing.assistant, cache)
    if inner.get("kind") == "llm":
        asking = _parse("llm", {k: v for k, v in inner.items() if k != "kind"})
        assert isinstance(asking, LlmOptions)
        return DialogueReviewer(options, asking, assistant, cache)
    told = isinstance(assistant, EndpointAssistant)
    for option in ("prompt",) if told else ("prompt", "framing"):
        if option in options.model_fields_set:
            raise UserError(
                f"reviewer {options.name}: '{option}' is for a language model, and inner is "
                f"'{inner.get('kind')}': leave it out, or set inner: {{kind: llm, ...}}"
            )
    return QuestioningReviewer(
        load_reviewer(inner, cache=cache),
        assistant,
        max_turns=options.max_turns,
        max_tokens=options.max_dialogue_tokens,
        framing=framing.name if told else None,
        name=options.name,
    )


def _parse(kind: str, options: dict[str, Any]) -> BaseModel:
    return parse_options(_OPTIONS[kind], f"reviewer {kind}", options, besides=["family"])
