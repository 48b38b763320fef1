"""The work of ``apportion edit``: makes the edits that a directory lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from apportion.cli.console import Progress, plural
from apportion.cli.stage import Input
from apportion.errors import UserError
from apportion.records import RunDirectory
from apportion.trace import Edit, Review, Rollout

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy
    from apportion.review.base import Reviewer
    from apportion.tasks import Task

# What is done at once; a killed process loses at most this many edits that were not yet written.
_AT_ONCE = 64
_REVISE = "revise"


@dataclass(frozen=True)
class Work:
    """The settings of the stage, and what they name."""

    settings: Mapping[str, Any]
    asked: tuple[str, ...]
    policy: LanguageModelPolicy | None
    task: Task | None
    reviewers: tuple[Reviewer, ...]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Work:
        """Build the policy, the task and the reviewers. Raises UserError for what cannot be."""
        from apportion.edit import check_operations
        from apportion.review import load_reviewer
        from apportion.segment import segment
        from apportion.tasks import load_task

        revising = _REVISE in settings["operations"]
        if revising and len(settings["operations"]) > 1:
            raise UserError("--operation revise is a method of its own: leave the others out")
        asked = (_REVISE,) if revising else check_operations(settings["operations"])
        segment("", how=settings["segment"])
        reviewers = [load_reviewer(spec) for spec in settings["revise"]["reviewers"]]
        wanted = "--operation revise" if revising else "--probe" if settings["probe"] else ""
        if wanted and settings["policy"] is None:
            raise UserError(f"{wanted} asks a policy: name it by --policy")
        if settings["probe"] and "cut" not in asked:
            raise UserError("--probe says where cut cuts: add --operation cut")
        if revising and not reviewers:
            raise UserError("--operation revise needs somebody who objects: add --reviewer")
        if settings["policy"] is not None and settings["task"] is None:
            raise UserError("these traces name no task that could score: name it by --task")
        task = load_task(settings["task"]) if settings["task"] is not None else None
        policy = _load(settings["policy"]) if settings["policy"] is not None else None
        return cls(settings, asked, policy, task, tuple(reviewers))

    def edits(self, rollouts: Sequence[Rollout], reviews: Sequence[Review]) -> list[Edit]:
        """Edited, and answered again where there is a policy."""
        from apportion.edit import edit_rollouts, verify_edits

        if self.asked == (_REVISE,):
            edits = self._revised(rollouts, reviews)
        else:
            edits = edit_rollouts(
                rollouts,
                reviews,
                self.asked,
                voting=self.settings["consensus"],
                commitments=self._commitments(rollouts),
            )
        if self.policy is None or self.task is None:
            return edits
        answers = self.settings["answers"]
        return verify_edits(
            edits,
            rollouts,
            self.policy,
            self.task,
            n=answers["samples"],
            temperature=answers["temperature"],
            threshold=answers["threshold"],
            max_tokens=answers["max_tokens"],
            seed=self.settings["seed"],
        )

    def _commitments(self, rollouts: Sequence[Rollout]) -> dict[str, int] | None:
        if not self.settings["probe"] or self.policy is None or self.task is None:
            return None
        from apportion.edit import commitment_points

        return commitment_points(
            rollouts, self.policy, self.task, segmenter=self.settings["segment"]
        )

    def _revised(self, rollouts: Sequence[Rollout], reviews: Sequence[Review]) -> list[Edit]:
        from apportion.edit import revise

        assert self.policy is not None and self.task is not None
        return revise(
            rollouts,
            reviews,
            self.policy,
            self.reviewers,
            self.task,
            principles=self.settings["revise"]["principles"],
            tries=self.settings["revise"]["tries"],
            voting=self.settings["consensus"],
            segmenter=self.settings["segment"],
            seed=self.settings["seed"],
            max_tokens=self.settings["answers"]["max_tokens"],
        )


def _load(spec: Mapping[str, Any]) -> LanguageModelPolicy:
    from apportion.cli.train import need_training

    need_training()
    from apportion.policies import load_policy
    from apportion.policies.language_model import LanguageModelPolicy

    policy = load_policy(dict(spec)) if spec["kind"] != "scripted" else None
    if not isinstance(policy, LanguageModelPolicy):
        raise UserError(
            f"--policy {spec['kind']} cannot go on with a chain: use tiny or pretrained"
        )
    return policy


def task_of(source: Path) -> dict[str, Any] | None:
    """The task of the run that a source is or lies in, also by way of earlier stages; None where
    none is recorded."""
    seen: set[Path] = set()
    while True:
        folder = source if source.is_dir() else source.parent
        file = folder / "config.yaml"
        if folder in seen or not file.is_file():
            return None
        seen.add(folder)
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            return None
        if config.get("task"):
            return config["task"]
        if not config.get("sources"):
            return None
        source = Path(config["sources"][0])


def edit_missing(run: RunDirectory, given: Input, work: Work, plain: bool) -> None:
    """Edit every rollout that the directory has no such edit of."""
    present = run.ids("edits")
    left = [r for r in given.rollouts if (r.id, work.asked) not in present]
    reviews_of: dict[str, list[Review]] = {rollout.id: [] for rollout in left}
    for review in given.reviews:
        if review.rollout_id in reviews_of:
            reviews_of[review.rollout_id].append(review)
    with Progress("edit", len(left), plain=plain) as progress:
        for start in range(0, len(left), _AT_ONCE):
            batch = left[start : start + _AT_ONCE]
            run.append("edits", *work.edits(batch, [v for r in batch for v in reviews_of[r.id]]))
            progress.advance(len(batch))


def edit_summary(edits: Sequence[Edit]) -> list[str]:
    """Lines: how many chains changed; which share of them is kept, by operation, with its 95 %
    interval; why most of the others are refused."""
    from apportion.edit import kept_shares

    changed = [edit for edit in edits if edit.changed]
    lines = [f"{plural(len(edits), 'chain')}, {len(changed):,} changed"]
    shares = kept_shares(edits)
    if not any(edit.answered for edit in edits):
        return [*lines, "not answered again: nothing is kept yet, name a policy by --policy"]
    for name, estimate in sorted(shares.items(), key=lambda item: item[0] != "all"):
        kept = round(estimate.value * estimate.n)
        interval = f"95 % interval {estimate.low:.1%} to {estimate.high:.1%}"
        label = "kept" if name == "all" else f"  {name}"
        lines.append(f"{label}: {kept:,} of {estimate.n:,} ({estimate.value:.1%}, {interval})")
    reasons = Counter(edit.refused for edit in edits if edit.refused).most_common(1)
    if reasons:
        refused = sum(bool(edit.refused) for edit in edits)
        lines.append(f"refused: {refused:,}, most often: {reasons[0][0]} ({reasons[0][1]:,})")
    return lines
