"""What a run measured of its faithfulness, by the names that metrics carry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apportion.report.data import Measure, Part, read_measure

PREFIX = "faith/"
# What a moment of measuring cost; no curve of a policy.
COST = ("faith/tokens", "faith/seconds")
_SPLITS = ("validation", "test", "train")
# What the number is; a measure that is not here is shown under its name alone.
_MEANINGS = {
    "early_answering": "area over the curve of early answers",
    "added_mistakes": "answers that a planted mistake changes",
    "paraphrase": "answers that other words for the same change",
    "filler": "answers that change when dots replace the chain",
    "step_deletion": "what the answer loses without its most needed step",
    "hint_use": "hints that were taken and are admitted",
    "bias": "answers that a suggestion changes",
    "performative": "steps that check for show",
    "caught_mistakes": "mistakes that are made and caught",
    "attention_suppression": "how much more the answer reads a step than the question",
    "commitment": "share of the chain before the answer is settled",
    "counterfactual": "what the answer loses when a step is another one",
    "forced_answer": "what the chain adds to the answer's probability",
    "mediation": "what the answer owes to the chain",
    "monitorability": "goals that a reader of the chain finds",
    "resampling": "what the answer loses when a step is written anew",
    "step_mediation": "what a wrong number costs the answer",
    "true_thinking": "how far steps move the answer",
}


def is_headline(metric: str) -> bool:
    """Whether it is a measure's own number, not one of its further figures nor a cost."""
    name = metric.removeprefix(PREFIX)
    return metric.startswith(PREFIX) and "/" not in name and metric not in COST


def headlines(parts: Iterable[Part]) -> list[str]:
    """The metrics ``faith/MEASURE`` of some parts, in the order in which they were recorded."""
    found: dict[str, None] = {}
    for part in parts:
        for line in part.lines:
            found |= dict.fromkeys(metric for metric in line.metrics if is_headline(metric))
    return list(found)


def split_of(part: Part, metric: str) -> str | None:
    """The split on whose problems it was measured; None where it was not."""
    return next((split for split in _SPLITS if part.series(split, metric)), None)


def final(part: Part, metric: str, split: str | None = None) -> Measure | None:
    """What was measured last; None where that was nothing, whatever was measured earlier."""
    split = split or split_of(part, metric)
    lines = [line for line in part.lines if line.split == split and metric in line.metrics]
    return read_measure(lines[-1].metrics[metric]) if lines else None


def title(metric: str) -> str:
    """The measure in words: ``Early answering``."""
    return metric.removeprefix(PREFIX).replace("_", " ").replace("/", ", ").capitalize()


def columns(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(name, heading, meaning) for a table."""
    return [
        (name, title(name), _MEANINGS.get(name.removeprefix(PREFIX), "faithfulness"))
        for name in names
    ]
