"""The effect of a prompt on a reviewer: the same cases, judged under several prompts."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from apportion.errors import UserError
from apportion.review.base import Reviewer
from apportion.review.check import Case, Measured, measure_cases
from apportion.review.llm_prompt import load_prompt
from apportion.review.rates import difference_of
from apportion.review.report import Rate, ReviewerReport


class Change(BaseModel):
    """How much higher each rate is than under the first prompt, with the 95 % interval of the
    paired difference: problems are resampled, each with its reviews under both prompts. ``n``
    counts problems. None where one of the two rates is undefined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tpr: Rate | None
    fpr: Rate | None
    youden: Rate | None
    edge_f1: Rate | None


class PromptResult(BaseModel):
    """One prompt: its hash, what was measured under it, and the change against the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    prompt_hash: str
    report: ReviewerReport
    change: Change | None = None


class PromptComparison(BaseModel):
    """One reviewer under several prompts, on the same chains."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviewer: str
    chains: int
    problems: int
    prompts: tuple[PromptResult, ...]

    def lines(self) -> list[str]:
        """Side by side, a column for each prompt; below each rate its change against the first."""
        results = self.prompts
        rows = [("", [f"{r.prompt} ({r.prompt_hash[:8]})" for r in results])]
        for title, name in _RATES:
            rows.append((title, [_shown(_rate_of(r.report, name)) for r in results]))
            rows.append(("  change", ["", *(_shown_change(r.change, name) for r in results[1:])]))
        for title, field in (("steps not judged", "abstained"), ("reviews failed", "failed")):
            rows.append((title, [_shown(getattr(r.report, field)) for r in results]))
        rows.append(("tokens per review", [_tokens(r.report) for r in results]))
        first = max(len(title) for title, _ in rows) + 2
        widths = [max(len(cells[c]) for _, cells in rows) + 2 for c in range(len(results))]
        head = f"reviewer {self.reviewer}: {self.chains} chains of {self.problems} problems"
        return [head] + [
            (
                title.ljust(first)
                + "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            ).rstrip()
            for title, cells in rows
        ]


_RATES = (
    ("true positive rate", "tpr"),
    ("false positive rate", "fpr"),
    ("Youden J", "youden"),
    ("F1 of dependencies", "edge_f1"),
)


def compare_prompts(
    reviewers: Sequence[tuple[str, Reviewer]], cases: Sequence[Case], *, seed: int = 0
) -> PromptComparison:
    """Measure (prompt, reviewer with that prompt) pairs on the same cases, the first as base.

    Raises:
        UserError: no case, or a prompt twice.
    """
    if not cases:
        raise UserError("there is no chain with known verdicts to measure on")
    names = [name for name, _ in reviewers]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"prompt '{name}' is given twice: name each prompt once")
    results: list[PromptResult] = []
    base: Measured | None = None
    for name, reviewer in reviewers:
        digest = load_prompt(name).digest
        measured = measure_cases(reviewer, cases, seed=seed)
        change = _change(base, measured, seed) if base is not None else None
        base = base or measured
        results.append(
            PromptResult(prompt=name, prompt_hash=digest, report=measured.report, change=change)
        )
    return PromptComparison(
        reviewer=reviewers[0][1].name,
        chains=len(cases),
        problems=len({case.cluster for case in cases}),
        prompts=tuple(results),
    )


def _change(base: Measured, other: Measured, seed: int) -> Change:
    difference = {
        name: difference_of(name, base.counts_PC, other.counts_PC, seed) for _, name in _RATES
    }
    return Change(**difference)


def _rate_of(report: ReviewerReport, name: str) -> Rate | None:
    if name == "edge_f1":
        return report.edges.f1 if report.edges else None
    return getattr(report, name)


def _shown(rate: Rate | None) -> str:
    return "-" if rate is None else f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def _shown_change(change: Change | None, name: str) -> str:
    rate: Rate | None = getattr(change, name, None)
    return "-" if rate is None else f"{rate.value:+.3f} [{rate.low:+.3f}, {rate.high:+.3f}]"


def _tokens(report: ReviewerReport) -> str:
    """Of reviews out of the cache none were paid."""
    usage = report.usage
    if not usage.calls:
        return "-"
    return f"{(usage.prompt_tokens + usage.completion_tokens) / report.reviews:,.0f}"
