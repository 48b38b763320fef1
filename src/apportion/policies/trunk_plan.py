"""Which beginnings of chains share one computation: token ids in, a plan out; no tensors.

A trunk is a sequence of tokens whose keys and values are computed once. A beginning hangs on a
trunk at its cut: up to there its tokens are the trunk's, and the few that follow are its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

# A beginning that leaves a trunk earlier than this many tokens before its end gets its own: what
# is private is kept once per continuation, what stands in a trunk once for all of them.
LONGEST_TAIL = 24


@dataclass
class Trunk:
    """``ids`` (L,) and, for each beginning that hangs on it, its index and its cut in [0, L]."""

    ids: list[int]
    members: list[tuple[int, int]] = field(default_factory=list)


def plan_trunks(beginnings: Sequence[Sequence[int]], keys: Sequence[str]) -> list[Trunk]:
    """Trunks that carry all ``beginnings``; only those with an equal key (problem) may share one.

    The last token of every beginning stays its own, because its logits are wanted. The longest
    beginnings become trunks, and the others hang on the one they share most with.
    """
    order = sorted(range(len(beginnings)), key=lambda i: (-len(beginnings[i]), i))
    of_key: dict[str, list[Trunk]] = {}
    for i in order:
        ids = list(beginnings[i])
        trunks = of_key.setdefault(keys[i], [])
        shared = [min(common_length(trunk.ids, ids), len(ids) - 1) for trunk in trunks]
        best = max(range(len(trunks)), key=shared.__getitem__, default=None)
        if best is not None and len(ids) - shared[best] <= LONGEST_TAIL:
            trunks[best].members.append((i, shared[best]))
        else:
            trunks.append(Trunk(ids[:-1], [(i, len(ids) - 1)]))
    return [trunk for trunks in of_key.values() for trunk in trunks]


def batches_of(trunks: Sequence[Trunk], rows_each: int, batch_size: int) -> list[list[Trunk]]:
    """Trunks that run together: about ``batch_size`` rows, of like number and like length.

    ``rows_each`` is the number of rows per beginning. A trunk with more rows than fit has a batch
    to itself.
    """
    batches: list[list[Trunk]] = []
    for trunk in sorted(trunks, key=lambda t: (len(t.members), len(t.ids))):
        own = len(trunk.members) * rows_each
        # Every trunk of a batch takes as many rows as the fullest one, which is the last.
        if not batches or own * (len(batches[-1]) + 1) > batch_size:
            batches.append([])
        batches[-1].append(trunk)
    return batches


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading items two lists share."""
    longest = min(len(a), len(b))
    if a[:longest] == b[:longest]:
        return longest
    lengths = range(longest + 1)
    # The first length at which they differ, less one.
    return bisect_left(lengths, True, key=lambda n: a[:n] != b[:n]) - 1
