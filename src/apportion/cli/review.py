"""``apportion review``: traces, also from elsewhere, to verdicts on their steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import SPEC_HELP, say
from apportion.errors import UserError


def review(
    sources: Annotated[
        list[Path], typer.Argument(metavar="FILE|RUN", help="Traces: see docs/records.md.")
    ],
    reviewer: Annotated[
        list[str],
        typer.Option("--reviewer", "-r", help=f"{SPEC_HELP}, or llm:MODEL@URL; repeatable."),
    ],
    out: Annotated[Path | None, typer.Option(help="Directory; default runs/review-NAME.")] = None,
    map: Annotated[list[str] | None, typer.Option(help="COLUMN=field; repeatable.")] = None,
    segment: Annotated[str, typer.Option(help="How to cut; see apportion ls segmenters.")] = "line",
    consensus: Annotated[
        str | None, typer.Option(help="Such as union, or majority:quorum=0.8.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Shared cache of paid reviews; default in --out.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Whose weights review (reviewers self and persona).")
    ] = None,
    cross_examine: Annotated[
        int, typer.Option(min=0, max=8, help="Rounds of reconsidering what is disputed.")
    ] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Reviews at a time, each.")] = 64,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --out.")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Replace what is in --out.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, no live display.")] = False,
) -> None:
    """Review the steps of traces; what is already reviewed is not reviewed again."""
    from functools import partial

    from apportion.cli.reviewing import Rounds, bind_reviewers, review_missing, reviewer_names
    from apportion.cli.specs import parse_spec
    from apportion.cli.stage import (
        copy_records,
        default_out,
        open_stage,
        read_input,
        voting,
        write_page,
    )
    from apportion.cli.summary import review_summary
    from apportion.consensus import disputed_spans
    from apportion.consensus.options import check_panel
    from apportion.review import load_reviewer
    from apportion.review.binding import bind_policy
    from apportion.review.cache import ReviewCache
    from apportion.segment import segment as cut

    specs = [parse_spec(text, "kind") for text in reviewer]
    votes = voting(consensus, sources)
    cut("", how=segment)  # refuse an unknown segmenter before anything is written
    given = read_input(sources, map or [])
    settings = {
        "stage": "review",
        "sources": [str(source) for source in sources],
        "reviewers": specs,
        "segment": segment,
        "consensus": votes,
    } | ({"cross_examine": cross_examine} if cross_examine else {})
    folder = out or default_out("review", sources)
    # Refuse wrong options before anything is written.
    names = reviewer_names([load_reviewer(spec) for spec in specs])
    check_panel(votes["rule"], names | {review.reviewer for review in given.reviews})
    judge = bind_reviewers([load_reviewer(spec) for spec in specs], policy)
    with open_stage(folder, settings, given.complaints, resume=resume, clean=clean) as run:
        copy_records(run, given, without=names)
        store = ReviewCache(cache or folder / "reviews.sqlite")
        try:
            reviewers = [load_reviewer(spec, cache=store) for spec in specs]
            bind_policy(reviewers, judge)
            rounds = Rounds(cross_examine, partial(disputed_spans, **votes))
            down = review_missing(
                run, reviewers, given.rollouts, segment, concurrency, plain, rounds
            )
        finally:
            store.close()
        for line in review_summary(given.rollouts, run.read("reviews")[0], votes):
            say(line)
        run.finish()
    say(str(write_page(folder)))
    if down is not None:
        raise UserError(f"every review failed ({down}): mend that, then add --resume")
