"""Rollouts, reviews and credit put together into traces that the page can show."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any

import numpy as np

from apportion.records import parse_lines
from apportion.report.data import Part, Run, outcome_class
from apportion.report.edited import edited, edits_by_rollout
from apportion.report.graph import known_graph
from apportion.report.probed import probed, probes_by_rollout
from apportion.report.voting import vote_all
from apportion.segment import segment, steps_of_tokens
from apportion.trace import Consensus, Credit, Review, Rollout, Step, StepConsensus, refine

# A policy gone astray writes megabytes; a page of hundreds of traces must still open.
LONGEST_TEXT = 40_000
LONGEST_REASON = 4_000
MOST_REPAIRS = 40
LONGEST_DIALOGUE = 200  # lines


@dataclass
class Tally:
    """What one reviewer did in one part."""

    reviews: int = 0
    failed: int = 0
    steps: int = 0
    wrong: int = 0
    abstained: int = 0
    cached: int = 0
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    unpriced: bool = False

    def add(self, review: Review) -> None:
        usage = review.usage
        self.reviews += 1
        self.failed += not review.ok
        self.steps += sum(not verdict.abstains for verdict in review.verdicts)
        self.wrong += sum(verdict.wrong for verdict in review.verdicts)
        self.abstained += sum(verdict.abstains for verdict in review.verdicts)
        self.cached += usage.cached
        self.calls += usage.calls
        self.tokens += usage.prompt_tokens + usage.completion_tokens
        self.seconds += usage.seconds
        self.usd += usage.usd or 0.0
        self.unpriced |= usage.usd is None and usage.calls > 0

    def __add__(self, other: Tally) -> Tally:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Tally(**(sums | {"unpriced": self.unpriced or other.unpriced}))


@dataclass
class Collected:
    """Traces chosen for the page, and what was counted on the way.

    ``tallies`` goes by (label of the part, reviewer) and counts every review of the run, not
    only those of the chosen traces. ``timed`` says that the traces come from training.
    """

    traces: list[dict[str, Any]] = field(default_factory=list)
    total: int = 0
    timed: bool = False
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def reviewers(self) -> dict[str, Tally]:
        """Tallies by reviewer, over all parts."""
        found: dict[str, Tally] = defaultdict(Tally)
        for (_, reviewer), tally in self.tallies.items():
            found[reviewer] = found[reviewer] + tally
        return dict(sorted(found.items()))

    def of_parts(self, labels: Iterable[str]) -> Tally:
        wanted = set(labels)
        return sum((t for (part, _), t in self.tallies.items() if part in wanted), Tally())


@dataclass(frozen=True)
class _Candidate:
    part: Part
    rollout: Rollout
    arm: str
    phase: int


def collect(run: Run, max_traces: int) -> Collected:
    """Choose at most ``max_traces`` traces, spread over arms, right and wrong, and training.

    Traces with the credit of several methods count as a time of training of their own, so that
    few of them are found among many with the credit of one; so do those that were probed or edited.
    """
    out = Collected(timed=run.measured)
    strata: dict[tuple[str, str, int], list[_Candidate]] = defaultdict(list)
    for part in run.parts:
        rollouts = {rollout.id: rollout for rollout in run.read(part, "rollouts")}
        out.total += len(rollouts)
        last = max((r.update or 0 for r in rollouts.values()), default=0)
        methods = _methods_by_rollout(part)
        looked = _looked_at(part)
        for rollout in rollouts.values():
            arm = arm_of(run, part, rollout)
            several = len(methods[rollout.id]) > 1
            phase = 3 if several else 3 * (rollout.update or 0) // (last + 1)
            phase = 4 if rollout.id in looked else phase
            candidate = _Candidate(part, rollout, arm, phase)
            strata[arm, outcome_class(rollout.outcome), phase].append(candidate)
        for stratum in strata.values():
            stratum[:] = _spread(stratum)[:max_traces]
    chosen = _take(list(strata.values()), max_traces)
    for part in run.parts:
        out.traces += _of_part(run, part, [c for c in chosen if c.part is part], out)
    return out


def _methods_by_rollout(part: Part) -> dict[str, set[str]]:
    """Which methods' credit each rollout has; lines that cannot be read are named elsewhere."""
    found: dict[str, set[str]] = defaultdict(set)
    if part.has("credit"):
        path = part.path / "credit.jsonl"
        pairs, _ = parse_lines(path, lambda _, v: (str(v.get("rollout_id")), str(v.get("method"))))
        for rollout_id, method in pairs:
            found[rollout_id].add(method)
    return found


def _looked_at(part: Part) -> set[str]:
    """The rollouts that were probed or edited; unreadable lines are named elsewhere."""
    found: set[str] = set()
    for kind in ("probes", "edits"):
        if part.has(kind):
            path = part.path / f"{kind}.jsonl"
            found.update(parse_lines(path, lambda _, v: str(v.get("rollout_id")))[0])
    return found


def arm_of(run: Run, part: Part, rollout: Rollout) -> str:
    """The arm in a training run; in a stage the policy that wrote the trace, if it is named."""
    return part.arm if run.measured else rollout.policy or part.arm


def _spread(stratum: list[_Candidate]) -> list[_Candidate]:
    """One completion of each problem first, problems in an order that is the same for all arms,
    so that arms show their answers to the same problems."""
    nth: dict[tuple[str, str], int] = defaultdict(int)
    keyed = []
    for candidate in stratum:
        problem = candidate.rollout.problem.id
        digest = hashlib.blake2b(problem.encode("utf-8", "replace"), digest_size=8).digest()
        place = (candidate.part.label, problem)
        keyed.append((nth[place], digest, len(keyed), candidate))
        nth[place] += 1
    return [entry[-1] for entry in sorted(keyed, key=lambda entry: entry[:-1])]


def _take(strata: list[list[_Candidate]], limit: int) -> list[_Candidate]:
    """The same number of each stratum, as far as it has so many."""
    chosen: list[_Candidate] = []
    for rank in range(max((len(s) for s in strata), default=0)):
        for stratum in strata:
            if rank < len(stratum) and len(chosen) < limit:
                chosen.append(stratum[rank])
    return chosen


def _of_part(
    run: Run, part: Part, chosen: list[_Candidate], out: Collected
) -> list[dict[str, Any]]:
    ids = {candidate.rollout.id for candidate in chosen}
    reviews: dict[str, dict[tuple[str, int], Review]] = defaultdict(dict)
    for review in run.read(part, "reviews"):
        out.tallies.setdefault((part.label, review.reviewer), Tally()).add(review)
        if review.rollout_id in ids:
            reviews[review.rollout_id][review.reviewer, review.critique] = review
    credit: dict[str, dict[str, Credit]] = defaultdict(dict)
    for record in run.read(part, "credit"):
        if record.rollout_id in ids:
            credit[record.rollout_id][record.method] = record
    shown = [_shortened(c.rollout, credit[c.rollout.id]) for c in chosen]
    said = [list(reviews[c.rollout.id].values()) for c in chosen]
    pairs = [(rollout, own) for (rollout, _), own in zip(shown, said, strict=True)]
    voted = vote_all(run, part, pairs)
    traces = [
        _trace(candidate, rollout, own, agreed, credit_of)
        for candidate, (rollout, credit_of), own, agreed in zip(
            chosen, shown, said, voted, strict=True
        )
    ]
    probes, edits = probes_by_rollout(run, part), edits_by_rollout(run, part)
    for candidate, trace in zip(chosen, traces, strict=True):
        rollout = candidate.rollout
        trace["probed"] = probed(probes.get(rollout.id, {}), trace["steps"])
        trace["edits"] = edited(rollout, edits.get(rollout.id, []))
    return traces


def _trace(
    candidate: _Candidate,
    rollout: Rollout,
    reviews: list[Review],
    voted: Consensus,
    credit: dict[str, Credit],
) -> dict[str, Any]:
    """One trace as JSON. Offsets count code points; ``steps`` partition the text that is shown,
    and ``cut`` is the length of the whole where that is longer."""
    part, length = candidate.part, len(candidate.rollout.text)
    steps = _steps(rollout, voted, credit)
    spans = [Step(step["a"], step["b"]) for step in steps]
    graph = known_graph(rollout, spans)
    if graph is not None:
        steps = [step | {"known": uses} for step, uses in zip(steps, graph.uses, strict=True)]
    weights = [(s.end - s.start, s.agreement) for s in voted.steps if s.votes]
    judged = sum(weight for weight, _ in weights)
    agreement = sum(w * a for w, a in weights) / judged if judged else None
    return {
        "id": rollout.id if part.seed is None else f"{part.label}/{rollout.id}",
        "arm": candidate.arm,
        "seed": part.seed,
        "update": rollout.update,
        "problem": rollout.problem.id,
        "prompt": rollout.problem.prompt,
        "answers": list(rollout.problem.answers),
        "text": rollout.text,
        "cut": length if length > len(rollout.text) else None,
        "class": outcome_class(rollout.outcome),
        "outcome": rollout.outcome,
        "finish": rollout.finish,
        "tokens": [edge for span in rollout.token_spans for edge in span],
        "disagreement": None if agreement is None else round(1 - agreement, 4),
        "steps": steps,
        "known": None if graph is None else {"drawn": graph.drawn, "of": graph.known},
        "reviews": [_review(review, spans) for review in reviews],
        "credit": {m: _credit(c, rollout, spans) for m, c in sorted(credit.items())},
    }


def _shortened(rollout: Rollout, credit: dict[str, Credit]) -> tuple[Rollout, dict[str, Credit]]:
    """The beginning of a very long rollout, with the credit of the tokens in it."""
    if len(rollout.text) <= LONGEST_TEXT:
        return rollout, credit
    tokens = sum(end <= LONGEST_TEXT for _, end in rollout.token_spans)
    whole = len(rollout.token_spans)
    kept = {
        method: record.model_copy(
            update={"advantages": record.advantages[:tokens], "values": record.values[:tokens]}
        )
        if len(record.advantages) == whole
        else record
        for method, record in credit.items()
    }
    changes = {
        "text": rollout.text[:LONGEST_TEXT],
        "reasoning_end": min(rollout.reasoning_end, LONGEST_TEXT),
        "token_spans": rollout.token_spans[:tokens],
        "token_ids": rollout.token_ids[:tokens],
    }
    return rollout.model_copy(update=changes), kept


def _steps(
    rollout: Rollout, voted: Consensus, credit: Mapping[str, Credit]
) -> list[dict[str, Any]]:
    """The cut shown: the reviewers', else that of the credit, else lines; then the answer."""
    end = rollout.reasoning_end
    cut: Sequence[Step | StepConsensus] = voted.steps
    if not cut:
        cuts = [[Step(s.start, s.end) for s in c.steps] for c in credit.values() if c.steps]
        cut = refine(cuts, end) if cuts else segment(rollout.text, end)
    steps = [_step(step) for step in cut]
    if not steps and end:
        steps.append({"a": 0, "b": end, "status": "unreviewed"})
    if end < len(rollout.text):
        steps.append({"a": end, "b": len(rollout.text), "status": "answer"})
    return steps


def _step(step: Step | StepConsensus) -> dict[str, Any]:
    if isinstance(step, Step):
        return {"a": step.start, "b": step.end, "status": "unreviewed"}
    shown = {
        "a": step.start,
        "b": step.end,
        "status": step.status,
        "label": step.label,
        "agreement": round(step.agreement, 3),
        "wrong": (step.status == "agreed" and step.wrong >= 0.5) or None,
        "uses": list(step.depends_on) or None,
        "focus": step.focus,
    }
    return {key: value for key, value in shown.items() if value is not None}


def _review(review: Review, spans: Sequence[Step]) -> dict[str, Any]:
    """A review with, for each shown step, the index of the verdict that covers it (or -1)."""
    starts = [step.start for step in review.steps]
    at = []
    for span in spans:
        k = bisect_right(starts, span.start) - 1
        at.append(k if k >= 0 and span.start < review.steps[k].end else -1)
    name = f"{review.reviewer} #{review.critique + 1}" if review.critique else review.reviewer
    verdicts = []
    for verdict in review.verdicts:
        shown = verdict.model_dump(exclude={"schema_version"}, exclude_defaults=True)
        shown["uses"] = list(shown.pop("depends_on", ()))
        for field_ in ("reason", "instead"):
            if field_ in shown:
                shown[field_] = _brief(shown[field_])
        verdicts.append(shown)
    error = None if review.error is None else _brief(review.error)
    said = {"reviewer": name, "error": error, "at": at, "verdicts": verdicts}
    return said | _deliberation(review)


def _deliberation(review: Review) -> dict[str, Any]:
    """What the reviewer argued, what was mended in its answer, and what it and the assistant said
    to each other, where the record has it."""
    argument, repairs = review.meta.get("argument"), review.meta.get("repairs")
    shown: dict[str, Any] = {}
    if isinstance(argument, str) and argument.strip():
        shown["argument"] = _brief(argument)
    if isinstance(repairs, list) and repairs:
        shown["repairs"] = [_brief(str(repair)) for repair in repairs[:MOST_REPAIRS]]
    transcript = _transcript(review.meta.get("transcript"))
    if transcript:
        shown["transcript"] = transcript
    return shown


def _transcript(said: Any) -> list[list[str]]:
    """(role, text) of each line of a dialogue; what has not this form is left out."""
    lines = said[:LONGEST_DIALOGUE] if isinstance(said, list) else []
    return [
        [str(line.get("role", "")), _brief(str(line.get("text", "")))]
        for line in lines
        if isinstance(line, Mapping)
    ]


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + " …"


def _credit(record: Credit, rollout: Rollout, spans: Sequence[Step]) -> dict[str, Any]:
    """Step credits are means over the step's tokens; without a token map the record's own."""
    whys = {step.start: step.why for step in record.steps}
    by_start = {step.start: step.value for step in record.steps}
    advantages = np.asarray(record.advantages, dtype=float)
    steps: list[float | None] = [by_start.get(span.start) for span in spans]
    mapped = len(advantages) == len(rollout.token_spans) and len(advantages) > 0
    if mapped:
        index_T = steps_of_tokens(rollout.token_spans, spans)
        steps = [
            round(float(advantages[index_T == s].mean()), 4) if (index_T == s).any() else None
            for s in range(len(spans))
        ]
    known = [abs(value) for value in steps if value is not None]
    return {
        "steps": steps,
        "why": [whys.get(span.start, "") for span in spans],
        "peak": max(known, default=None),
        "advantages": _runs(record.advantages) if mapped else [],
        "values": _runs(record.values) if mapped else [],
    }


def _runs(values: Sequence[float]) -> list[list[float]]:
    """Run lengths: credit is constant over most steps, and pages hold many tokens."""
    return [[value, len(list(same))] for value, same in groupby(round(v, 4) for v in values)]
