"""``apportion review``: traces, also from elsewhere, to verdicts on their steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apportion.cli.console import SPEC_HELP, say
from apportion.cli.options import Clean, Columns, Consensus, Plain, Resume, Segmenter
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
    map: Columns = None,
    segment: Segmenter = "line",
    consensus: Consensus = None,
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
    resume: Resume = False,
    clean: Clean = False,
    plain: Plain = False,
) -> None:
    """Review the steps of traces; what is already reviewed is not reviewed again."""
    from functools import partial

    from apportion.cli import stage
    from apportion.cli.reviewing import Rounds, bind_reviewers, review_missing, reviewer_names
    from apportion.cli.specs import parse_spec
    from apportion.cli.summary import review_summary
    from apportion.consensus import disputed_spans
    from apportion.consensus.options import check_panel
    from apportion.review import load_reviewer
    from apportion.review.binding import bind_policy
    from apportion.review.cache import ReviewCache
    from apportion.segment import segment as cut

    specs = [parse_spec(text, "kind") for text in reviewer]
    votes = stage.voting(consensus, sources)
    cut("", how=segment)  # refuse an unknown segmenter before anything is written
    given = stage.read_input(sources, map or [])
    settings = {
        "stage": "review",
        "sources": [str(source) for source in sources],
        "reviewers": specs,
        "segment": segment,
        "consensus": votes,
    } | ({"cross_examine": cross_examine} if cross_examine else {})
    folder = out or stage.default_out("review", sources)
    # Refuse wrong options before anything is written.
    names = reviewer_names([load_reviewer(spec) for spec in specs])
    check_panel(votes["rule"], names | {review.reviewer for review in given.reviews})
    judge = bind_reviewers([load_reviewer(spec) for spec in specs], policy)
    with stage.open_stage(folder, settings, given.complaints, resume=resume, clean=clean) as run:
        stage.copy_records(run, given, without=names)
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
    say(str(stage.write_page(folder)))
    if down is not None:
        raise UserError(f"every review failed ({down}): mend that, then add --resume")
