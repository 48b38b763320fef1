"""Continues and scores from shared trunks: what many chains have in common is computed once.

Each token's random number depends on the seed, the beginning's index, the continuation's index and
the token's position alone, so neither the batch nor the number of continuations changes a chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from apportion.policies.modes import evaluating
from apportion.policies.trunk_attention import Rows, compute_trunks
from apportion.policies.trunk_plan import Trunk, batches_of, plan_trunks
from apportion.policies.trunk_run import forward, start

_LOGITS = 1 << 26  # numbers in the largest block of logits
_CLOSE_UP = 0.75  # rows are closed up when so many of the places are enough


class Sampling(NamedTuple):
    """How chains are drawn: ``n`` of each beginning, until a token of ``stop``."""

    n: int
    temperature: float
    max_tokens: int
    seed: int
    stop: frozenset[int]
    pad: int


def sample_from_trunks(
    model: Any,
    beginnings: Sequence[Sequence[int]],
    keys: Sequence[str],
    how: Sampling,
    batch_size: int,
) -> list[list[list[int]]]:
    """``n`` continuations of each beginning, up to and with the first token of ``stop``.

    Beginnings of one key share what they have in common. Raises Unserved.
    """
    # Greedy continuations of one beginning are all the same.
    each = how._replace(n=how.n if how.temperature > 0 else 1)
    found: list[list[list[int]]] = [[] for _ in beginnings]
    with evaluating(model):
        for batch in batches_of(plan_trunks(beginnings, keys), each.n, batch_size):
            computed = compute_trunks(model, batch, how.pad)
            for part in _parts(batch, max(1, batch_size // each.n)):
                rows, logits_BKV = start(
                    model, part, beginnings, how.pad, computed=computed, room=how.max_tokens
                )
                rows.fan_out(each.n)
                logits_BV = logits_BKV[:, -1].repeat_interleave(each.n, 0)
                for slot, tokens in _Run(model, rows, slots_of(part, each.n), each).all(logits_BV):
                    found[slot // each.n].append(tokens)
    return [chains * (how.n // each.n) for chains in found]


class _Run:
    """Rows that are continued together; ``slots_NM`` numbers their chains, -1 is none."""

    def __init__(self, model: Any, rows: Rows, slots_NM: np.ndarray, how: Sampling) -> None:
        self.model, self.rows, self.slots_NM, self.how = model, rows, slots_NM, how
        self.tokens: dict[int, list[int]] = {int(s): [] for s in np.sort(slots_NM[slots_NM >= 0])}
        self.stops = np.array(sorted(how.stop))

    def all(self, logits_BV: Tensor) -> Iterator[tuple[int, list[int]]]:
        """Every slot with its tokens, in order. ``logits_BV`` are those of the first token."""
        for t in range(self.how.max_tokens):
            chosen_NM = self._choose(logits_BV, t).reshape(self.slots_NM.shape)
            for n, m in np.argwhere(self.slots_NM >= 0):
                self.tokens[int(self.slots_NM[n, m])].append(int(chosen_NM[n, m]))
            self.slots_NM[np.isin(chosen_NM, self.stops)] = -1
            if t + 1 == self.how.max_tokens or (self.slots_NM < 0).all():
                break
            chosen_NM = self._close_up(chosen_NM)
            ids_B1 = torch.from_numpy(chosen_NM.reshape(-1, 1)).to(self.model.device)
            logits_BV = forward(self.model, self.rows, ids_B1)[:, -1]
        yield from self.tokens.items()

    def _choose(self, logits_BV: Tensor, t: int) -> np.ndarray:
        if self.how.temperature <= 0:
            return logits_BV.argmax(-1).cpu().numpy()
        cumulated_BV = (logits_BV.float() / self.how.temperature).softmax(-1).cumsum(-1)
        u_B = uniforms(self.how.seed, self.slots_NM.ravel() // self.how.n,
                       self.slots_NM.ravel() % self.how.n, t)  # fmt: skip
        drawn_B1 = torch.from_numpy(u_B).to(cumulated_BV)[:, None] * cumulated_BV[:, -1:]
        found_B1 = torch.searchsorted(cumulated_BV, drawn_B1, right=True)
        return found_B1.clamp(max=logits_BV.shape[-1] - 1)[:, 0].cpu().numpy()

    def _close_up(self, chosen_NM: np.ndarray) -> np.ndarray:
        """Drop places whose chains have ended, when enough of them have."""
        alive_NM = self.slots_NM >= 0
        most = int(alive_NM.sum(1).max())
        trunks = np.flatnonzero(alive_NM.any(1))
        n, m = self.slots_NM.shape
        if len(trunks) > _CLOSE_UP * n:
            trunks = np.arange(n)
        if most * len(trunks) > _CLOSE_UP * n * m:
            return chosen_NM
        # The living first, each in its order.
        places = np.argsort(~alive_NM[trunks], axis=1, kind="stable")[:, :most]
        device = self.model.device
        self.rows.keep(torch.from_numpy(trunks).to(device), torch.from_numpy(places).to(device))
        self.slots_NM = self.slots_NM[trunks[:, None], places]
        return chosen_NM[trunks[:, None], places]


def uniforms(seed: int, beginnings: np.ndarray, continuations: np.ndarray, t: int) -> np.ndarray:
    """Numbers in [0, 1) that depend on the four arguments alone, (B,) float32.

    Counter-based: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over a mix of the counters.
    """
    with np.errstate(over="ignore"):
        x_B = np.full(len(beginnings), seed % (1 << 64), dtype=np.uint64)
        for counter in (beginnings, continuations, np.full(len(beginnings), t)):
            x_B = _mixed(x_B + np.uint64(0x9E3779B97F4A7C15)) ^ counter.astype(np.uint64)
        x_B = _mixed(x_B + np.uint64(0x9E3779B97F4A7C15))
    # 23 bits: a float32 below 1 also after it was multiplied by a total near 1.
    return ((x_B >> np.uint64(41)).astype(np.float32) + np.float32(0.25)) / np.float32(1 << 23)


def _mixed(x_B: np.ndarray) -> np.ndarray:
    x_B = (x_B ^ (x_B >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_B = (x_B ^ (x_B >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_B ^ (x_B >> np.uint64(31))


def score_on_trunks(
    model: Any,
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    keys: Sequence[str],
    *,
    pad: int,
    batch_size: int,
) -> list[torch.Tensor]:
    """Log-probability of each token of ``after`` (not empty) behind its ``before``, (K,) float32.

    Raises Unserved.
    """
    longest = max(map(len, after), default=1)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    rows = max(1, min(batch_size, _LOGITS // (longest * vocabulary)))
    chains = [[*head, *tail[:-1]] for head, tail in zip(before, after, strict=True)]
    scores = [torch.empty(0)] * len(before)
    with evaluating(model):
        for batch in batches_of(plan_trunks(before, keys), 1, rows):
            computed = compute_trunks(model, batch, pad)
            for part in _parts(batch, rows):
                members = [i for trunk in part for i, _ in trunk.members]
                keep = max(len(after[i]) for i in members)
                _, logits_BKV = start(model, part, chains, pad, computed=computed, keep=keep)
                for i, logits_KV in zip(slots_of(part, 1).ravel(), logits_BKV, strict=True):
                    if i >= 0:
                        logps_KV = logits_KV[-len(after[i]) :].float().log_softmax(-1)
                        chosen_K = torch.tensor(after[i], device=model.device)
                        scores[i] = logps_KV.gather(1, chosen_K[:, None]).squeeze(1)
    return scores


def _parts(batch: list[Trunk], most: int) -> Iterator[list[Trunk]]:
    """The batch with at most ``most`` beginnings on each trunk at a time, if it is one trunk."""
    if len(batch) > 1:
        yield batch
        return
    members = iter(batch[0].members)
    while some := list(islice(members, most)):
        yield [Trunk(batch[0].ids, some)]


def slots_of(trunks: Sequence[Trunk], each: int) -> np.ndarray:
    """Row to beginning * each + continuation, (N, M); -1 where a trunk has fewer rows."""
    most = max(len(trunk.members) for trunk in trunks)
    slots_NM = np.full((len(trunks), most * each), -1)
    for n, trunk in enumerate(trunks):
        for m, (i, _) in enumerate(trunk.members):
            slots_NM[n, m * each : (m + 1) * each] = i * each + np.arange(each)
    return slots_NM
