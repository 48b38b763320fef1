"""What the other reviewers said, as one of them is shown it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apportion.trace import Review, Step, StepVerdict


def overlaps(step: Step, spans: Sequence[Step]) -> bool:
    return any(step.start < span.end and span.start < step.end for span in spans)


def on_spans(review: Review, spans: Sequence[Step]) -> Review:
    """The review with its verdicts on these spans alone; elsewhere it abstains."""
    verdicts = tuple(
        verdict if overlaps(step, spans) else StepVerdict()
        for step, verdict in zip(review.steps, review.verdicts, strict=True)
    )
    return review.model_copy(update={"verdicts": verdicts})


def verdicts_on(step: Step, others: Sequence[Review]) -> Iterator[tuple[int, StepVerdict]]:
    """(which of the others, verdict) for each verdict on a part of the step; no abstentions."""
    for index, review in enumerate(others):
        for span, verdict in zip(review.steps, review.verdicts, strict=True):
            if overlaps(span, [step]) and not verdict.abstains:
                yield index, verdict
