"""What was measured of a reviewer."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from apportion.errors import UserError
from apportion.stats import wilson
from apportion.trace import Usage


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rate(_Frozen):
    """A share or a difference of shares, its 95 % interval, and the number of cases."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] of {self.n}"


class KindReport(_Frozen):
    """One kind of planted error. ``agreement`` is the share of labelled steps with the right
    label; None where there was nothing to count."""

    chains: int
    steps: int
    tpr: Rate | None
    fpr: Rate | None
    agreement: Rate | None
    abstained: Rate | None


class EdgeReport(_Frozen):
    """Dependencies that a reviewer drew, against those that are known.

    ``precision`` is the share of the drawn ones that are known (None where none was drawn),
    ``recall`` the share of the known ones that were drawn, ``f1`` their harmonic mean. Intervals
    resample problems. ``n`` counts dependencies: drawn ones, known ones, known ones.
    """

    precision: Rate | None
    recall: Rate | None
    f1: Rate | None


class ReviewerReport(_Frozen):
    """Step-level quality of one reviewer; each of its critiques is counted by itself.

    ``tpr`` is the share of truly wrong steps that it calls wrong, ``fpr`` the share of truly right
    ones, both of the steps that it judged; ``abstained`` is the share that it did not judge, of
    the steps in reviews that did not fail; ``failed`` the share of reviews that did. ``youden`` is
    tpr - fpr, None where no wrong or no right step was judged. ``ece`` is the expected calibration
    error over 10 equal bins of stated confidence, None where none was stated. ``edges`` scores
    the dependencies in reviews that did not fail, None where the truth knows none; a reviewer
    with another cut is compared step by step with the one that each of its own overlaps most.
    """

    reviewer: str
    reviews: int
    tpr: Rate | None
    fpr: Rate | None
    youden: Rate | None
    agreement: Rate | None
    abstained: Rate | None
    failed: Rate | None
    ece: float | None
    ece_steps: int
    kinds: dict[str, KindReport]
    errors: dict[str, int]
    usage: Usage
    edges: EdgeReport | None = None

    def lines(self) -> list[str]:
        """The report as plain text, one finding a line."""
        shown = [
            f"reviewer {self.reviewer}: {self.reviews} reviews",
            f"  true positive rate   {_text(self.tpr)}",
            f"  false positive rate  {_text(self.fpr)}",
            f"  Youden J             {_text(self.youden)}",
            f"  same label           {_text(self.agreement)}",
            f"  steps not judged     {_text(self.abstained)}",
            f"  reviews failed       {_text(self.failed)}",
        ]
        if self.edges is not None:
            shown.append(
                f"  dependencies         F1 {_text(self.edges.f1)}, "
                f"precision {_text(self.edges.precision)}, recall {_text(self.edges.recall)}"
            )
        if self.ece is not None:
            shown.append(f"  calibration error    {self.ece:.3f} over {self.ece_steps} steps")
        for kind, of_kind in self.kinds.items():
            shown.append(
                f"  {kind}: TPR {_text(of_kind.tpr)}, FPR {_text(of_kind.fpr)}, "
                f"same label {_text(of_kind.agreement)}"
            )
        shown.extend(f"  failed {count} times: {error}" for error, count in self.errors.items())
        return shown


def _text(rate: Rate | None) -> str:
    return "-" if rate is None else str(rate)


def share(successes: int, n: int) -> Rate | None:
    """A share with its Wilson score interval (Wilson 1927); None of no cases."""
    if n == 0:
        return None
    low, high = wilson(successes, n)
    return Rate(value=successes / n, low=low, high=high, n=n)


_REFUSED = (
    "Youden J on planted errors {found}: training on its verdicts may teach nothing or the "
    "opposite; measure it on more problems, take another reviewer, or set train.trust=force"
)


def require_trust(report: ReviewerReport | float | None, *, force: bool = False) -> None:
    """Refuse a reviewer whose Youden J is not shown to be above zero.

    J = 0 says nothing about the steps, J < 0 teaches the opposite of what is meant. Of a report
    the whole 95 % interval has to be above zero, since every second reviewer that guesses
    measures above it; of a J that is given, the value.

    Raises:
        UserError: J not above 0 or unknown, unless ``force``.
    """
    if force:
        return
    if not isinstance(report, ReviewerReport):
        if report is None or report <= 0:
            found = "cannot be measured" if report is None else f"is {report:.3f}, not above 0"
            raise UserError(f"the reviewer: {_REFUSED.format(found=found)}")
        return
    if report.youden is None:
        reason = next(iter(report.errors), "no wrong step was judged")
        found = f"cannot be measured ({reason})"
    elif report.youden.low > 0:
        return
    else:
        shown = "not above 0" if report.youden.value <= 0 else "which may be 0"
        rates = f"(TPR {_text(report.tpr)}, FPR {_text(report.fpr)})"
        found = f"is {report.youden}, {shown} {rates}"
    raise UserError(f"reviewer '{report.reviewer}': {_REFUSED.format(found=found)}")
