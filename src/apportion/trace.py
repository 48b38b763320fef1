"""The vocabulary: what flows from a problem to a number for each token.

Every record is a frozen pydantic model. Character offsets count Python characters of
``Rollout.text``; spans are half open. Dimension suffixes used throughout the package:

    _B  completions in the batch        _S  steps of one rollout
    _G  completions of one prompt       _R  reviewers
    _T  tokens of one completion        _K  critiques per reviewer
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Label = Literal["useful", "irrelevant", "harmful"]
LABELS: tuple[Label, ...] = ("useful", "irrelevant", "harmful")
Status = Literal["agreed", "disputed", "unreviewed"]
Scoring = Literal["probability", "sampling"]


class Step(NamedTuple):
    """Half-open character span of the reasoning."""

    start: int
    end: int

    def text(self, whole: str) -> str:
        return whole[self.start : self.end]


class Record(BaseModel):
    """Base of everything that is written to a run directory, one JSON object a line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION

    @model_validator(mode="after")
    def _readable_version(self) -> Record:
        if self.schema_version > SCHEMA_VERSION:
            raise ValueError(
                f"schema_version {self.schema_version} is newer than this package's "
                f"{SCHEMA_VERSION}: upgrade apportion"
            )
        return self


class Problem(Record):
    """A prompt and its reference answers.

    ``answers`` is empty where no gold answer could be read; such a problem has no outcome.
    ``meta`` holds what the task knows: for ``words`` the gold steps, their edges and distractors.
    """

    id: str
    prompt: str
    answers: tuple[str, ...] = ()
    meta: dict[str, Any] = Field(default_factory=dict)


class Rollout(Record):
    """One sampled completion of one problem.

    ``token_spans[t]`` is the character span of ``text`` that token t produced (possibly empty:
    special tokens, and all but the last token of a character that several tokens spell).
    ``reasoning_end`` is the offset where the reasoning stops and the final answer starts.
    ``outcome`` is frozen before any review; None means that it could not be decided.
    ``signals`` holds numbers per token that something measured with the policy for the credit
    methods that need them, by name.
    """

    id: str
    problem: Problem
    text: str
    token_ids: tuple[int, ...] = ()
    token_spans: tuple[tuple[int, int], ...] = ()
    logprobs: tuple[float, ...] | None = None
    outcome: float | None = None
    reasoning_end: int
    policy: str = ""
    group: str = ""
    update: int | None = None
    finish: Literal["stop", "length", "unknown"] = "unknown"
    signals: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    meta: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Rollout:
        if len(self.token_ids) != len(self.token_spans):
            raise ValueError(
                f"rollout {self.id}: {len(self.token_ids)} token_ids but "
                f"{len(self.token_spans)} token_spans"
            )
        if self.logprobs is not None and len(self.logprobs) != len(self.token_ids):
            raise ValueError(
                f"rollout {self.id}: {len(self.logprobs)} logprobs for {len(self.token_ids)} tokens"
            )
        for name, values in self.signals.items():
            if len(values) != len(self.token_ids):
                raise ValueError(
                    f"rollout {self.id}: {len(values)} values of signal {name} for "
                    f"{len(self.token_ids)} tokens"
                )
        if not 0 <= self.reasoning_end <= len(self.text):
            raise ValueError(
                f"rollout {self.id}: reasoning_end {self.reasoning_end} is outside the text "
                f"of {len(self.text)} characters"
            )
        return self


class StepVerdict(Record):
    """What one reviewer says of one step. ``label`` None means that the reviewer abstains.

    ``focus`` is the part of the step that the verdict is about (the wrong number, say), in
    characters of the whole text like the step itself, where the reviewer can tell;
    ``confidence`` is its stated probability of being right; ``instead`` is what it says should
    have been thought in place of the step.
    """

    label: Label | None = None
    correct: bool | None = None
    depends_on: tuple[int, ...] = ()
    reason: str = ""
    focus: tuple[int, int] | None = None
    confidence: float | None = Field(default=None, ge=0.0, le=1.0)
    instead: str = ""

    @property
    def abstains(self) -> bool:
        return self.label is None and self.correct is None

    @property
    def wrong(self) -> bool:
        """A vote against the step: harmful, or known to be incorrect."""
        return self.label == "harmful" or self.correct is False


class Usage(Record):
    """What a review cost. ``usd`` None means unpriced, which is not the same as free."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    usd: float | None = None
    cached: bool = False


class Review(Record):
    """What one reviewer says of one rollout, in its own cut of the reasoning.

    A failed review carries ``error`` and no verdicts: it is dropped, never scored as zero.
    ``critique`` counts the K independent critiques of one reviewer.
    """

    rollout_id: str
    reviewer: str
    critique: int = 0
    steps: tuple[Step, ...] = ()
    verdicts: tuple[StepVerdict, ...] = ()
    error: str | None = None
    usage: Usage = Usage()
    meta: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Review:
        where = f"review of {self.rollout_id} by {self.reviewer}"
        if self.error is not None and self.verdicts:
            raise ValueError(f"{where}: has both an error and verdicts")
        if len(self.steps) != len(self.verdicts):
            raise ValueError(f"{where}: {len(self.steps)} steps but {len(self.verdicts)} verdicts")
        for index, verdict in enumerate(self.verdicts):
            late = [d for d in verdict.depends_on if not 0 <= d < index]
            if late:
                raise ValueError(f"{where}: step {index} depends on {late}, not on earlier steps")
        return self

    @property
    def ok(self) -> bool:
        return self.error is None


class StepConsensus(Record):
    """What the reviewers say together of one span of the common refinement of their cuts.

    ``wrong`` is the voted share against the step in [0, 1]; 0 or 1 under every rule but average.
    ``agreement`` is the weight of the most common label over the weight of all votes cast.
    ``instead`` is what the first of the reviewers that agreed proposed in place of the step.
    """

    start: int
    end: int
    status: Status
    label: Label | None = None
    wrong: float = 0.0
    agreement: float = 0.0
    focus: tuple[int, int] | None = None
    depends_on: tuple[int, ...] = ()
    votes: dict[str, Label | None] = Field(default_factory=dict)
    instead: str = ""


class Consensus(Record):
    """The steps of one rollout as agreed; partition of the reviewed reasoning."""

    rollout_id: str
    rule: str
    steps: tuple[StepConsensus, ...] = ()
    valid_reviews: int = 0
    failed_reviews: int = 0
    weights: dict[str, float] = Field(default_factory=dict)


class StepCredit(Record):
    """The value that a method gave a step, and why."""

    start: int
    end: int
    value: float
    why: str = ""


class Credit(Record):
    """A number per completion token. ``values`` is the method's own unit (DCA: the multiplier
    c_t, CAPO: the token reward r_t); ``advantages`` is what the update uses."""

    rollout_id: str
    method: str
    values: tuple[float, ...]
    advantages: tuple[float, ...]
    steps: tuple[StepCredit, ...] = ()


class EditSpan(NamedTuple):
    """A half-open span of an edited text and where it comes from.

    *kept* text stands where it stood, after what it followed before; *moved* text is literally
    from the original but follows something else now (what was between is gone or elsewhere);
    *inserted* text is new and has no ``source``. ``source`` is the span of the original text.
    """

    start: int
    end: int
    kind: Literal["kept", "moved", "inserted"]
    source: tuple[int, int] | None = None


class Edit(Record):
    """A rewritten chain of one rollout.

    ``asked`` are the operations wanted and ``operations`` those that changed something: an edit
    without operations is the original. ``spans`` partition ``text``. An ``open`` edit stops where
    the policy has to go on. ``refused`` says why the edit must not be used. ``right`` of
    ``answered`` attempts to answer from the edited reasoning were right (0 of 0: not verified).
    """

    rollout_id: str
    asked: tuple[str, ...]
    operations: tuple[str, ...] = ()
    text: str
    reasoning_end: int
    spans: tuple[EditSpan, ...] = ()
    why: tuple[str, ...] = ()
    open: bool = False
    refused: str = ""
    answered: int = 0
    right: float = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Edit:
        if not 0 <= self.reasoning_end <= len(self.text):
            raise ValueError(
                f"edit of {self.rollout_id}: reasoning_end {self.reasoning_end} is outside the "
                f"text of {len(self.text)} characters"
            )
        check_partition([Step(span.start, span.end) for span in self.spans], len(self.text))
        return self

    @property
    def changed(self) -> bool:
        return bool(self.operations)

    @property
    def usable(self) -> bool:
        """Changed, whole, and not refused: fit to learn from."""
        return self.changed and not self.open and not self.refused


class Probe(Record):
    """What one measure found in one rollout.

    ``value`` is the measure's own unit, None where it says nothing of this rollout; ``error`` says
    why it could not be measured at all (no answer to compare with, too long for the context), and
    such a probe counts in no average. ``by_step`` is parallel to ``steps``, half-open character
    spans of the rollout's text. ``curve`` holds (share of the chain, figure) points, ``parts`` the
    figures behind the value, ``answers`` what the policy answered, None where nothing was stated.
    ``tokens`` is what the probe cost: tokens read and written by the policy.
    """

    rollout_id: str
    problem_id: str
    measure: str
    value: float | None = None
    steps: tuple[tuple[int, int], ...] = ()
    by_step: tuple[float | None, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()
    parts: dict[str, float | None] = Field(default_factory=dict)
    answers: tuple[str | None, ...] = ()
    scoring: Scoring = "sampling"
    tokens: int = Field(default=0, ge=0)
    error: str | None = None
    policy: str = ""
    update: int | None = None
    meta: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Probe:
        where = f"probe of {self.rollout_id} by {self.measure}"
        if self.error is not None and self.value is not None:
            raise ValueError(f"{where}: has both an error and a value")
        if self.by_step and len(self.by_step) != len(self.steps):
            raise ValueError(f"{where}: {len(self.by_step)} step values, {len(self.steps)} steps")
        return self


def check_partition(steps: Sequence[Step], end: int) -> None:
    """Raise ValueError unless the steps are non-empty, touch, and cover [0, end)."""
    position = 0
    for index, step in enumerate(steps):
        if step.start != position or step.end <= step.start:
            raise ValueError(
                f"step {index} spans [{step.start}, {step.end}) where [{position}, ...) must follow"
            )
        position = step.end
    if position != end:
        raise ValueError(f"steps end at {position}, the reasoning at {end}")


def refine(cuts: Iterable[Sequence[Step]], end: int) -> tuple[Step, ...]:
    """Common refinement: the coarsest partition of [0, end) that respects every cut."""
    edges = {0, end}
    for steps in cuts:
        edges.update(edge for step in steps for edge in step if 0 <= edge <= end)
    ordered = sorted(edges)
    return tuple(Step(a, b) for a, b in pairwise(ordered))
