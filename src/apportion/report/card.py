"""``card.md``: what a run asked, how it was made, what came out, what it cost, what it leaves open.

The front matter is YAML, so that the card can be read by programs and pushed to a model hub.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from apportion.records import write_text_atomic
from apportion.report import verdict_words, wording
from apportion.report.arms import Figure, Row, Table, table_of
from apportion.report.claims import Verdict, verdicts_of
from apportion.report.data import BASELINE, Run, load_run
from apportion.report.page import facts
from apportion.report.traces import Collected, collect
from apportion.report.worth import worth_of
from apportion.review.report import ReviewerReport


def write_card(run_dir: Path | str, *, changed: Mapping[str, Any] | None = None) -> Path:
    """Write ``card.md`` into a run directory and return its path.

    ``changed`` maps the dotted keys at which the configuration differs from the default to their
    values; without it they are worked out from ``config.yaml``. Raises UserError where the
    directory holds no records or the card cannot be written.
    """
    run = load_run(run_dir)
    # Reads every record for what the reviews cost; no trace is kept.
    collected = collect(run, 0)
    path = run.path / "card.md"
    write_text_atomic(path, card_text(run, collected, changed))
    return path


def card_text(run: Run, collected: Collected, changed: Mapping[str, Any] | None = None) -> str:
    """The card as Markdown."""
    table = table_of(run, collected)
    name = str(run.config.get("name") or run.name)
    verdicts = verdicts_of(run)
    matter = _front_matter(run, table, name) | _claims_matter(verdicts)
    front = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)
    sections = [f"---\n{front}---", f"# {name}"]
    if run.config.get("question"):
        sections.append(str(run.config["question"]))
    sections += ["## Result", *_result(run, table)]
    if verdicts:
        sections += ["## Claims", _claims(verdicts)]
    sections += ["## How it was made", _made(run, changed)]
    sections += ["## Cost", _cost(table, collected)]
    rates = _rates(run)
    sections += ["## How good the reviewers are", _bullets(rates)] if rates else []
    worths = [worth.sentence for worth in worth_of(run)]
    sections += ["## What the reviewers were worth", _bullets(worths)] if worths else []
    sections += ["## Known limits", _bullets(limits(run, table))]
    return "\n\n".join(sections) + "\n"


def _front_matter(run: Run, table: Table, name: str) -> dict[str, Any]:
    manifest = run.manifest
    results = []
    for row in table.rows:
        entry: dict[str, Any] = {"name": row.name}
        for column, _, _ in table.columns:
            estimate = row.figures.get(column, Figure()).estimate
            if estimate is not None:
                entry[column] = {
                    "value": _finite(estimate.value),
                    "low": _finite(estimate.low),
                    "high": _finite(estimate.high),
                    "of": row.figures[column].of,
                }
        results.append(entry)
    versions = manifest.get("versions")
    front = {
        "library_name": "apportion",
        "name": name,
        "question": run.config.get("question") or None,
        "command": manifest.get("command"),
        "seeds": manifest.get("seeds"),
        "started": manifest.get("started"),
        "finished": manifest.get("finished"),
        "versions": versions if isinstance(versions, dict) else None,
        "split": table.split or None,
        "results": results,
    }
    return {key: value for key, value in front.items() if value is not None}


def _claims_matter(verdicts: list[Verdict]) -> dict[str, Any]:
    found = [
        {
            "name": verdict.claim.name,
            "verdict": verdict.verdict,
            "value": None if verdict.effect is None else _finite(verdict.effect),
            "seeds": verdict.seeds,
        }
        for verdict in verdicts
    ]
    return {"claims": found} if found else {}


def _claims(verdicts: list[Verdict]) -> str:
    headings = ["Claim", "Verdict", "Measured", "Expected", "Rests on"]
    lines = [_line(headings), _line(["---"] * len(headings))]
    for verdict in verdicts:
        what = ", ".join(filter(None, (verdict.compared, verdict.unit)))
        cells = [
            f"{_plain(verdict.claim.text)}<br>{_plain(verdict.claim.source)}".removesuffix("<br>"),
            f"**{verdict_words.signed_word(verdict)}**<br>{_plain(verdict.reason)}",
            f"{_plain(verdict_words.figure(verdict))}<br>{_plain(what)}",
            _plain(verdict_words.expectation(verdict)),
            verdict_words.rests_on(verdict) or "–",
        ]
        lines.append(_line(cells))
    return "\n".join(lines)


def _finite(value: float | None) -> float | str | None:
    if value is None:
        return None
    return round(value, 5) if math.isfinite(value) else "never"


def _result(run: Run, table: Table) -> list[str]:
    if not table.rows:
        return ["No rollouts and no measurements were recorded."]
    headings = ["", *(heading for _, heading, _ in table.columns)]
    lines = [_line(headings), _line(["---"] * len(headings))]
    for row in table.rows:
        cells = [_figure(row, column) for column, _, _ in table.columns]
        lines.append(_line([f"**{_plain(row.name)}**<br>{row.about}", *cells]))
    meanings = [f"{heading}: {meaning}." for _, heading, meaning in table.columns]
    where = f"Last evaluation, {table.split} problems. " if run.measured else ""
    return ["\n".join(lines), where + " ".join(meanings) + " Brackets: 95 % interval."]


def _figure(row: Row, column: str) -> str:
    figure = row.figures.get(column, Figure())
    if figure.estimate is None:
        return "–"
    places = wording.places_for(column)
    value = wording.fixed(figure.estimate.value, places)
    return f"{value} {wording.interval(figure.estimate, places)}<br>{figure.of}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Names come from directories and policies: keep them from being markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in text.replace("\n", " "))


def _made(run: Run, changed: Mapping[str, Any] | None) -> str:
    lines = []
    for name, value, is_code in facts(run):
        lines.append(f"- {name}: " + (f"`{value}`" if is_code else _plain(value)))
    settings = _changed(run) if changed is None else dict(changed)
    settings.pop("claims", None)  # they have a table of their own
    if settings:
        text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)
        lines.append(f"- Settings that are not the default:\n\n```yaml\n{text}```")
    return "\n".join(lines)


def _changed(run: Run) -> dict[str, Any]:
    """Where ``config.yaml`` differs from the default; the whole of it if it is not one of ours."""
    from pydantic import ValidationError

    from apportion.config.load import diff_from_default
    from apportion.config.schema import RunConfig

    if not run.config:
        return {}
    try:
        return diff_from_default(RunConfig.model_validate(run.config))
    except ValidationError:
        return run.config


def _cost(table: Table, collected: Collected) -> str:
    lines = [f"- {_plain(row.name)}: {wording.cost(row.cost)}{_failed(row)}" for row in table.rows]
    for name, tally in collected.reviewers().items():
        recorded = f"{tally.reviews:,} recorded reviews, {wording.cost(tally)}"
        lines.append(f"- reviewer {_plain(name)}: {recorded}")
    return "\n".join(lines) or "Nothing was reviewed."


def _rates(run: Run) -> list[str]:
    """What was measured on planted errors before training, from ``reviewers.json``."""
    path = run.path / "reviewers.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        reports = {name: ReviewerReport.model_validate(report) for name, report in found.items()}
    except ValueError:
        return [f"{path.name} cannot be read."]
    return [
        f"{name}: Youden J {report.youden or 'unknown'}, true positive rate "
        f"{report.tpr or 'unknown'}, false positive rate {report.fpr or 'unknown'}, "
        f"{report.reviews:,} reviews of chains with planted errors."
        for name, report in reports.items()
    ]


def _failed(row: Row) -> str:
    estimate = row.failed.estimate
    if estimate is None:
        return ""
    share = f"{wording.fixed(estimate.value)} {wording.interval(estimate)}"
    return f"; share of failed reviews {share}, {row.failed.of}"


def limits(run: Run, table: Table) -> list[str]:
    """What a reader should not conclude from the run, from what can be seen in its records."""
    found = []
    if run.measured:
        seeds = {p.seed for p in run.parts if p.seed is not None}
        if len(seeds) < 6:  # 2 ** (1 - 5) is above 0.05
            found.append(
                f"{len(seeds) or 1} seed{'s' if len(seeds) > 1 else ''}: intervals over so few "
                "are narrow, and a sign-flip test over them cannot reach 0.05."
            )
        found.append("Intervals over seeds say nothing of other problems, models or tasks.")
        if BASELINE not in {row.name for row in table.rows}:
            found.append(f"No arm named {BASELINE}: nothing says what step credit added.")
    else:
        found.append("Step errors are what the reviewers call wrong, not what is wrong.")
    found += [f"{row.name}: {alarm}." for row in table.rows for alarm in row.alarms]
    found += run.notes
    if run.complaints:
        found.append(f"{len(run.complaints):,} unreadable lines of the records were left out.")
    return found


def _bullets(sentences: list[str]) -> str:
    return "\n".join(f"- {_plain(sentence)}" for sentence in sentences)
