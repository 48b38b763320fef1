"""The reviewer for problems that know their own solution.

``Problem.meta["steps"]`` holds the gold steps, each with ``text``, ``expression``, ``result`` and
``uses`` (indices of the gold steps whose results it takes).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apportion.review.arithmetic import with_correction
from apportion.review.gold_graph import (
    GoldStep,
    Match,
    compile_graph,
    find_match,
    label_of,
    operand_key,
)
from apportion.review.reading import Equation, Value, read_equations, show, stated_answer
from apportion.trace import Problem, Review, Step, StepVerdict


@dataclass(slots=True)
class _Claim:
    """A gold step that a step of the chain computed; ``stated`` None where it stands inside
    a merged step and no result is written."""

    step: int
    stated: Value | None


@dataclass(slots=True)
class _Finding:
    """What one equation is. ``stray`` equations compute no gold step."""

    step: int
    equation: Equation
    label: str
    match: Match | None = None
    sources: set[int] = field(default_factory=set)
    repeats: bool = False
    used: bool = False

    @property
    def stray(self) -> bool:
        return self.match is None and not self.repeats


class GoldReviewer:
    """Exact where the gold steps are known (task ``words``). The rule, equation by equation:

    1. The equation must hold arithmetically, else it is harmful.
    2. It *computes* gold step g where its operands are those of g, in any order, and its
       expression has the value of g's. In place of the result of an earlier gold step may stand
       what the chain stated for it: a right computation from a wrong number is right, only the
       first fault is to blame. Several gold steps may be merged into one expression. Each gold
       step is claimed once; computing it again is irrelevant.
    3. A true equation that computes no gold step is harmful (its operands are wrong) where
       something rests on it: a later step takes its result where the solution has another
       number, or it is the final answer; also where it is worded as a gold step that no other
       step computes. Else it is irrelevant.

    A step is harmful if any of its equations is, else useful if any is, else irrelevant. A step
    with ``=`` but no readable equation is harmful; one without ``=`` arrives at nothing and is
    irrelevant. Another valid way through the problem than the gold one is not recognised.

    A problem without gold steps gives a failed review.
    """

    critiques = 1
    max_concurrency = 1  # it never waits, so a second review at once would only wait for the first

    def __init__(self, name: str = "gold") -> None:
        self.name = name

    async def review(
        self,
        problem: Problem,
        rollout_text: str,
        steps: Sequence[Step],
        outcome: float | None,
        *,
        rollout_id: str = "",
        critique: int = 0,
    ) -> Review:
        try:
            graph = gold_steps(problem)
        except ValueError as error:
            return Review(
                rollout_id=rollout_id, reviewer=self.name, critique=critique, error=str(error)
            )
        return Review(
            rollout_id=rollout_id,
            reviewer=self.name,
            critique=critique,
            steps=tuple(steps),
            verdicts=judge(graph, rollout_text, steps),
        )


def gold_steps(problem: Problem) -> tuple[GoldStep, ...]:
    """Raises ValueError where the problem does not know its steps."""
    steps: Any = problem.meta.get("steps")
    if not steps:
        raise ValueError(f"problem {problem.id} has no gold steps in meta['steps']")
    try:
        rows = tuple(
            (str(s["text"]), str(s["expression"]), s["result"], tuple(s["uses"])) for s in steps
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"problem {problem.id}: gold steps are malformed: {error!r}") from None
    return compile_graph(rows)


def judge(graph: Sequence[GoldStep], text: str, steps: Sequence[Step]) -> tuple[StepVerdict, ...]:
    """The verdicts of :class:`GoldReviewer`, one per step."""
    chain = _read_chain(graph, text, steps)
    answer = stated_answer(text[steps[-1].end :]) if steps else None
    chain.settle(answer[0] if answer else None)
    return tuple(
        _step_verdict(chain, index, step, step.text(text)) for index, step in enumerate(steps)
    )


def gold_places(graph: Sequence[GoldStep], text: str, steps: Sequence[Step]) -> dict[int, Step]:
    """The span of the equation that computes each gold step; those that none computes are left
    out. Gold steps that are merged into one equation have the same span."""
    places: dict[int, Step] = {}
    for finding in _read_chain(graph, text, steps).findings:
        if finding.match is not None:
            offset = steps[finding.step].start
            span = Step(offset + finding.equation.start, offset + finding.equation.end)
            places[finding.match.step] = span
            for merged in finding.match.inside:
                places.setdefault(merged, span)
    return places


def _read_chain(graph: Sequence[GoldStep], text: str, steps: Sequence[Step]) -> _Chain:
    findings = []
    for index, step in enumerate(steps):
        step_text = step.text(text)
        findings.extend(
            _Finding(index, equation, label_of(step_text, equation.start))
            for equation in read_equations(step_text)
            if equation.computes
        )
    chain = _Chain(graph)
    later = Counter(finding.label for finding in findings)
    for finding in findings:
        later[finding.label] -= 1
        chain.add(finding, later)
    return chain


class _Chain:
    """The equations so far, the gold steps they claimed, and the strays."""

    def __init__(self, graph: Sequence[GoldStep]) -> None:
        self.graph = graph
        self.of_step: dict[int, list[_Finding]] = defaultdict(list)
        self.last_stating: dict[Value, _Finding] = {}
        self.first_stray: dict[Value, _Finding] = {}
        self.claims: dict[int, _Claim] = {}
        self.stand_ins: dict[int, _Finding] = {}

    @property
    def findings(self) -> Iterator[_Finding]:
        return (finding for findings in self.of_step.values() for finding in findings)

    def add(self, finding: _Finding, later_labels: Mapping[str, int]) -> None:
        """The next equation; ``later_labels`` counts the labels of those that follow."""
        unclaimed = [g for g in range(len(self.graph)) if g not in self.claims]
        if finding.label and any(self.graph[g].label == finding.label for g in unclaimed):
            # Worded as one gold step it is not another one that a later step is worded as.
            unclaimed = [
                g
                for g in unclaimed
                if self.graph[g].label == finding.label or not later_labels[self.graph[g].label]
            ]
        finding.match = self._match(finding, unclaimed)
        if finding.match is not None:
            self._claim(finding, finding.match)
        else:
            finding.repeats = self._repeats(finding)
            for number in finding.equation.operands:
                if number.value in self.last_stating:
                    finding.sources.add(self.last_stating[number.value].step)
        self.of_step[finding.step].append(finding)
        stated = finding.equation.stated
        if stated is not None:
            self.last_stating[stated] = finding
            if finding.stray:
                self.first_stray.setdefault(stated, finding)

    def _repeats(self, finding: _Finding) -> bool:
        """Computed before, and not worded as a gold step that is still to be computed: then it is
        a failed attempt at that one."""
        open_labels = {g.label for i, g in enumerate(self.graph) if i not in self.claims} - {""}
        return finding.label not in open_labels and (
            self._match(finding, list(self.claims)) is not None
        )

    def _match(self, finding: _Finding, among: list[int]) -> Match | None:
        """The gold step that the finding computes: the one with the same words, else one that it
        copies, else any."""
        same = [g for g in among if self.graph[g].label == finding.label]
        return (
            self._copied(finding, same)
            or self._computed(finding, same)
            or self._copied(finding, among)
            or self._computed(finding, among)
        )

    def _copied(self, finding: _Finding, among: list[int]) -> Match | None:
        """Operands and value as in the solution."""
        key = operand_key(finding.equation)
        for g in among:
            if self.graph[g].key == key:
                uses = self.graph[g].uses
                return Match(g, {u: self.graph[u].result for u in uses}, frozenset())
        return None

    def _computed(self, finding: _Finding, among: list[int]) -> Match | None:
        operands = {number.value for number in finding.equation.operands}

        def values_of(g: int) -> list[Value]:
            return [value for value in operands if self._may_stand(value, g)]

        for g in among:
            match = find_match(g, self.graph[g], finding.equation, values_of)
            if match is not None:
                return match
        return None

    def _may_stand(self, value: Value, g: int) -> bool:
        """For the result of gold step g: its true value, what the chain stated for it, or, where
        nothing computed it, what a stray arrived at."""
        if value == self.graph[g].result:
            return True
        if g in self.claims:
            return value == self.claims[g].stated
        if g in self.stand_ins:
            return value == self.stand_ins[g].equation.stated
        return value in self.first_stray

    def _claim(self, finding: _Finding, match: Match) -> None:
        self.claims[match.step] = _Claim(finding.step, finding.equation.stated)
        for g in match.inside:
            self.claims.setdefault(g, _Claim(finding.step, None))
        for g, value in match.taken.items():
            claim = self.claims.get(g)
            if claim is not None:
                if claim.stated == value and claim.step < finding.step:
                    finding.sources.add(claim.step)
            elif value != self.graph[g].result:
                stray = self.first_stray[value]
                stray.used = True
                self.stand_ins[g] = stray
                finding.sources.add(stray.step)

    def settle(self, final: Value | None) -> None:
        """Mark the strays that something rests on."""
        last = self.claims.get(len(self.graph) - 1)
        if (
            final is not None
            and final in self.last_stating
            and (last is None or last.stated != final)
        ):
            finding = self.last_stating[final]
            finding.used = finding.used or finding.stray
        missing = {
            gold.label for g, gold in enumerate(self.graph) if g not in self.claims and gold.label
        }
        for finding in self.findings:
            finding.used = finding.used or (finding.stray and finding.label in missing)
        for finding in reversed(list(self.findings)):
            if finding.stray and finding.used:
                for source in finding.sources:
                    for earlier in self.of_step[source]:
                        earlier.used = earlier.used or earlier.stray

    def focus_of(self, finding: _Finding) -> tuple[int, int] | None:
        """The one operand that differs from a gold step that nothing computed."""
        open_steps = [g for g in range(len(self.graph)) if g not in self.claims]
        open_steps.sort(key=lambda g: (self.graph[g].label != finding.label, g))
        for g in open_steps:
            gold = self.graph[g]
            odd = [
                number
                for number in finding.equation.operands
                if number.value not in gold.key[0]
                and not any(self._may_stand(number.value, use) for use in gold.uses)
            ]
            if len(odd) == 1:
                return odd[0].start, odd[0].end
        return None


def _step_verdict(chain: _Chain, index: int, step: Step, text: str) -> StepVerdict:
    findings = chain.of_step.get(index)
    if not findings:
        if "=" in text:
            reason = "there is an equals sign but no equation"
            return StepVerdict(label="harmful", correct=False, reason=reason, confidence=1.0)
        return StepVerdict(label="irrelevant", reason="it arrives at no number", confidence=1.0)
    sources = {source for finding in findings for source in finding.sources if source < index}
    depends_on = tuple(sorted(sources))
    for finding in findings:
        harm = _harm(chain, finding)
        if harm is not None:
            reason, focus = harm
            shifted = (focus[0] + step.start, focus[1] + step.start) if focus else None
            verdict = StepVerdict(
                label="harmful",
                correct=False,
                depends_on=depends_on,
                reason=reason,
                focus=shifted,
                confidence=1.0,
            )
            return with_correction(verdict, text, [finding.equation])
    matched = next((f.match for f in findings if f.match is not None), None)
    if matched is not None:
        reason = f"computes {chain.graph[matched.step].label or 'a step of the solution'}"
    elif findings[0].repeats:
        reason = "computes again what an earlier step computed"
    else:
        reason = "true, and nothing rests on it"
    return StepVerdict(
        label="useful" if matched is not None else "irrelevant",
        correct=True,
        depends_on=depends_on,
        reason=reason,
        confidence=1.0,
    )


def _harm(chain: _Chain, finding: _Finding) -> tuple[str, tuple[int, int] | None] | None:
    """Why the equation is wrong, and where; None where it is not."""
    equation = finding.equation
    if equation.right is False:
        return equation.why, equation.focus
    if equation.right is None:
        return f"{equation.text} cannot be checked", None
    if finding.stray and finding.used:
        operands = ", ".join(show(number.value) for number in equation.operands)
        return f"no step of the solution takes {operands}", chain.focus_of(finding)
    return None
