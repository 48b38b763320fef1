"""What ``apportion edit`` wrote, as chains to learn from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from apportion.config import EditsConfig
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.records import read_kind
from apportion.trace import Edit, Rollout
from apportion.train.offline.chain_rows import ChainRow, edit_row, sampled_row, weighted


class EditSource(NamedTuple):
    """All rollouts that were sampled for the edits, and the edits that may be used."""

    rollouts: list[Rollout]
    usable: dict[str, Edit]

    @property
    def pairs(self) -> list[tuple[Rollout, Edit]]:
        return [(r, self.usable[r.id]) for r in self.rollouts if r.id in self.usable]


def read_edits(source: str) -> EditSource:
    """Read the directory that ``apportion edit`` wrote, or the edits.jsonl in it.

    Of several edits of one rollout the first usable one counts. Raises UserError where there are
    no edits or no rollouts, where an edit's rollout is missing, or where lines cannot be read.
    """
    path = Path(source)
    folder = path.parent if path.name == "edits.jsonl" else path
    edits, complaints = read_kind(folder, "edits")
    rollouts, unreadable = read_kind(folder, "rollouts")
    if complaints or unreadable:
        raise UserError(f"edits.source {source}: {[*complaints, *unreadable][0]}")
    if not edits or not rollouts:
        raise UserError(
            f"edits.source {source}: there is no edits.jsonl with its rollouts.jsonl: first run "
            f"'apportion edit FILE --operation delete --out {folder}'"
        )
    ids = {rollout.id for rollout in rollouts}
    lost = [edit.rollout_id for edit in edits if edit.rollout_id not in ids]
    if lost:
        raise UserError(f"edits.source {source}: rollout {lost[0]} of an edit is not there")
    usable: dict[str, Edit] = {}
    for edit in edits:
        if edit.usable and edit.answered:
            usable.setdefault(edit.rollout_id, edit)
    found = EditSource(rollouts, usable)
    if not usable:
        raise UserError(f"edits.source {source}: no usable edit: {_why_none(edits)}")
    return found


def _why_none(edits: Sequence[Edit]) -> str:
    unchanged = sum(not edit.changed and not edit.refused for edit in edits)
    unverified = sum(edit.usable and not edit.answered for edit in edits)
    reasons = Counter(edit.refused for edit in edits if edit.refused).most_common(1)
    most = f", most often: {reasons[0][0]}" if reasons else ""
    refused = sum(bool(edit.refused) for edit in edits)
    return f"{unchanged} unchanged, {unverified} not verified, {refused} refused{most}"


def supervised_rows(
    source: EditSource, policy: LanguageModelPolicy, config: EditsConfig
) -> list[ChainRow]:
    """The chains that the configuration wants, weighted. Raises UserError where none is left."""
    advantage = _wrong_shares(source.rollouts)
    rows: list[ChainRow] = []
    factors: list[float] = []
    for rollout in source.rollouts:
        edit = source.usable.get(rollout.id) if config.chains != "right" else None
        right = (rollout.outcome or 0.0) > 0.5
        if edit is not None:
            rows.append(edit_row(policy, rollout.problem, edit, kept=config.kept))
        elif config.chains != "edited" and right:
            rows.append(sampled_row(policy, rollout))
        else:
            continue
        verified = edit.right / edit.answered if edit is not None else 1.0
        factors.append(
            {"none": 1.0, "verified": verified, "advantage": advantage[_group(rollout)]}[
                config.weight
            ]
        )
    left = weighted(rows, factors)
    if not left:
        raise UserError(
            f"edits: of {len(source.rollouts)} rollouts none is left to learn from with chains "
            f"'{config.chains}' and weight '{config.weight}'"
        )
    return left


def _group(rollout: Rollout) -> str:
    return rollout.group or rollout.problem.id


def _wrong_shares(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """For each group the share of its decided rollouts that are wrong: the advantage 1 - mean of
    a right chain of that group. 0 where nothing was decided."""
    outcomes: dict[str, list[float]] = defaultdict(list)
    for rollout in rollouts:
        known = [] if rollout.outcome is None else [float(rollout.outcome > 0.5)]
        outcomes[_group(rollout)] += known
    return {group: 1 - sum(o) / len(o) if o else 0.0 for group, o in outcomes.items()}
