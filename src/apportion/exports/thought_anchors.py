"""The directory layout of thought-anchors (Bogdan et al. 2025, arXiv 2506.19143).

Beside the fields of that layout, ``base_solution.json`` has ``apportion`` (id, policy, update and
group of the rollout), and a chunk the figure of every measure by step under ``apportion``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apportion.records import write_json_atomic
from apportion.segment import segment
from apportion.tasks.answers import extract_answer
from apportion.trace import Probe, Review, Rollout

# Measures that are theirs. Their accuracy is that of the reference answer, ours, unless the measure
# was told to count right answers, the share of the chain's own: equal where the chain is right.
_IMPORTANCE = {
    "resampling": "resampling_importance_accuracy",
    "counterfactual": "counterfactual_importance_accuracy",
    "forced_answer": "forced_importance_accuracy",
}


def export_thought_anchors(
    rollouts: Sequence[Rollout], reviews: Sequence[Review], probes: Sequence[Probe], out: Path
) -> list[Path]:
    """Write ``problem_N/`` for each rollout, in order; the folders written.

    A chain is cut as its probes cut it, else as its first review does, else by lines. Its chunks
    carry ``depends_on`` of that review and the importances that were probed. Resampled solutions
    are no part of our records and are not written.
    """
    of_reviews: dict[str, list[Review]] = defaultdict(list)
    of_probes: dict[str, dict[str, Probe]] = defaultdict(dict)
    for review in reviews:
        if review.ok:
            of_reviews[review.rollout_id].append(review)
    for probe in probes:
        if probe.error is None:
            of_probes[probe.rollout_id][probe.measure] = probe
    written = []
    for number, rollout in enumerate(rollouts):
        folder = out / f"problem_{number}"
        folder.mkdir(parents=True)
        _write(folder, rollout, of_reviews[rollout.id], of_probes[rollout.id])
        written.append(folder)
    return written


def _write(
    folder: Path, rollout: Rollout, reviews: Sequence[Review], probes: Mapping[str, Probe]
) -> None:
    problem = rollout.problem
    known = problem.meta.get("problem") or problem.meta
    facts = {k: known[k] for k in ("level", "type", "nickname") if k in known}
    answer = problem.answers[0] if problem.answers else None
    write_json_atomic(
        folder / "problem.json", {"problem": problem.prompt, "gt_answer": answer} | facts
    )
    write_json_atomic(
        folder / "base_solution.json",
        {
            "prompt": problem.prompt,
            "solution": rollout.text,
            "full_cot": problem.prompt + rollout.text,
            "answer": extract_answer(rollout.text[rollout.reasoning_end :]) or "",
            "is_correct": _correct(rollout.outcome),
            "apportion": {
                "id": rollout.id,
                "policy": rollout.policy,
                "update": rollout.update,
                "group": rollout.group,
            },
        },
    )
    cut = _cut(rollout, reviews, probes)
    chunks = [(k, rollout.text[a:b].strip()) for k, (a, b) in enumerate(cut)]
    chunks = [(k, text) for k, text in chunks if text]
    texts = [text for _, text in chunks]
    own = {"source_text": problem.prompt + rollout.text, "solution_text": rollout.text}
    write_json_atomic(folder / "chunks.json", own | {"chunks": texts})
    index = {k: place for place, (k, _) in enumerate(chunks)}
    used = _uses(cut, reviews)
    labelled = [
        {"chunk": text, "chunk_idx": index[k]}
        | {"depends_on": [str(index[u]) for u in used[k] if u in index]}
        | _figures(k, cut, probes)
        for k, text in chunks
    ]
    write_json_atomic(folder / "chunks_labeled.json", labelled)


def _correct(outcome: float | None) -> bool | float | None:
    return bool(outcome) if outcome in (0.0, 1.0) else outcome


def _cut(
    rollout: Rollout, reviews: Sequence[Review], probes: Mapping[str, Probe]
) -> list[tuple[int, int]]:
    cuts = [probe.steps for probe in probes.values() if probe.by_step]
    cuts += [review.steps for review in reviews if review.steps]
    chosen = cuts[0] if cuts else segment(rollout.text, rollout.reasoning_end)
    return [(a, b) for a, b in chosen]


def _uses(cut: list[tuple[int, int]], reviews: Sequence[Review]) -> list[tuple[int, ...]]:
    for review in reviews:
        if [tuple(step) for step in review.steps] == cut:
            return [verdict.depends_on for verdict in review.verdicts]
    return [()] * len(cut)


def _figures(step: int, cut: list[tuple[int, int]], probes: Mapping[str, Probe]) -> dict[str, Any]:
    """What was measured of a step, by their names where they have one."""
    own = {
        name: probe.by_step[step]
        for name, probe in probes.items()
        if probe.by_step and [tuple(s) for s in probe.steps] == cut
    }
    named = {theirs: own[ours] for ours, theirs in _IMPORTANCE.items() if ours in own}
    if "resampling" in own and "kl" in probes["resampling"].meta:
        named["resampling_importance_kl"] = probes["resampling"].meta["kl"][step]
    return named | ({"apportion": own} if own else {})
