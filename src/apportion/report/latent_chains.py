"""Latent chains as the page shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from apportion.records.latents import LatentChain, LatentStep
from apportion.report.data import Part, Run

# Chains of one arm: a page is for looking, the records hold all of them.
_SHOWN = 4


@dataclass(frozen=True)
class StepRow:
    """A latent step; ``norm`` counts in mean norms of a token's embedding. ``p`` is the probability
    of the gold answer if it were given now, and ``change`` its difference to the row before."""

    number: int
    norm: float
    nearest: tuple[tuple[str, float], ...]
    likeliest: tuple[tuple[str, float], ...]
    decoded: str | None
    p: float
    change: float


@dataclass(frozen=True)
class ChainCard:
    """One chain. ``verdict`` is right, wrong or undecided; ``before`` the gold answer's probability
    without a latent step."""

    prompt: str
    gold: str
    text: str
    verdict: str
    before: float
    steps: tuple[StepRow, ...]

    @property
    def decoded(self) -> bool:
        """Whether a step decoder read it."""
        return any(step.decoded is not None for step in self.steps)


@dataclass(frozen=True)
class ArmChains:
    """The chains of an arm, of its first seed that has some; ``index`` picks its colour."""

    label: str
    index: int
    cards: tuple[ChainCard, ...]
    total: int


def latent_chains(run: Run) -> list[ArmChains]:
    """The newest latent chains of each arm, half of them right where there are any; empty for a run
    that thinks in text."""
    found = []
    for index, arm in enumerate(run.arms):
        part = next((part for part in run.parts_of(arm) if part.has("latents")), None)
        chains = _newest(run, part) if part is not None else []
        if part is not None and chains:
            cards = tuple(_card(chain) for chain in _chosen(chains))
            found.append(ArmChains(part.label, index, cards, len(chains)))
    return found


def _newest(run: Run, part: Part) -> list[LatentChain]:
    """By rollout, the last one written."""
    chains: list[LatentChain] = run.read(part, "latents")
    last = max((_moment(chain) for chain in chains), default=0.0)
    return list({c.rollout_id: c for c in chains if _moment(c) == last}.values())


def _moment(chain: LatentChain) -> float:
    return math.inf if chain.update is None else float(chain.update)


def _chosen(chains: Sequence[LatentChain]) -> list[LatentChain]:
    right = [c for c in chains if c.outcome is not None and c.outcome >= 0.5]
    rest = [c for c in chains if c not in right]
    half = max(_SHOWN // 2, _SHOWN - len(rest))
    return [*right[:half], *rest][:_SHOWN]


def _card(chain: LatentChain) -> ChainCard:
    before = math.exp(chain.before)
    rows, earlier = [], before
    for number, step in enumerate(chain.steps, 1):
        rows.append(_row(number, step, chain.embedding_norm, earlier))
        earlier = rows[-1].p
    verdict = "undecided"
    if chain.outcome is not None:
        verdict = "right" if chain.outcome >= 0.5 else "wrong"
    return ChainCard(
        chain.prompt.strip(), chain.gold.strip(), chain.text.strip(), verdict, before, tuple(rows)
    )


def _row(number: int, step: LatentStep, unit: float, earlier: float) -> StepRow:
    p = math.exp(step.logprob)
    norm = step.norm / unit if unit else math.nan
    return StepRow(number, norm, step.nearest, step.likeliest, step.decoded, p, p - earlier)
