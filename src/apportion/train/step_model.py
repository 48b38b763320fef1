"""Trains the step model from recorded reviews, or from outcomes alone.

Labels are taken as far as they go: a teacher who only says that a step is right leaves open
whether it was of use, and the loss is then on "not harmful".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from apportion.errors import UserError
from apportion.review.learned import StepModel, StepModelFacts
from apportion.review.step_features import NUMBERS, WORDS, features_of
from apportion.stats import Estimate, share
from apportion.trace import LABELS, Review, Rollout, Step, StepVerdict

_HARMFUL = LABELS.index("harmful")
MIN_STEPS = 50
# Steps of every fifth problem are held out: what stops the training must be new to the model.
_HELD_OUT = 5


@dataclass(frozen=True)
class Examples:
    """Steps with what may be said of them: ``numbers`` (N, F), ``buckets`` of words, ``allowed``
    (N, 3) bool over the labels, ``problems`` their problem's id."""

    numbers: np.ndarray
    buckets: tuple[np.ndarray, ...]
    allowed: np.ndarray
    problems: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.problems)

    def pick(self, wanted: np.ndarray) -> Examples:
        places = np.flatnonzero(wanted)
        return Examples(
            self.numbers[places],
            tuple(self.buckets[i] for i in places),
            self.allowed[places],
            tuple(self.problems[i] for i in places),
        )

    @property
    def held_out(self) -> np.ndarray:
        """(N,) bool, by problem."""
        digests = {p: hashlib.blake2b(p.encode("utf-8", "replace")).digest()[0] for p in
                   set(self.problems)}  # fmt: skip
        return np.array([digests[p] % _HELD_OUT == 0 for p in self.problems], dtype=bool)


@dataclass(frozen=True)
class Fit:
    """A trained model and what it does on steps of problems that it was not trained on.

    ``loss`` is the mean negative log-likelihood of what the teacher allows, ``base_loss`` that of
    always saying the labels' frequencies. ``brier`` is the mean squared error of P(harmful), and
    ``base_brier`` that of the frequency (of a model trained on outcomes: the error of its value).
    """

    model: StepModel
    agreement: Estimate | None
    loss: float
    base_loss: float
    brier: float
    base_brier: float
    epochs: int
    held_out: int


def from_reviews(rollouts: Iterable[Rollout], reviews: Iterable[Review]) -> Examples:
    """One example for each step that a review judges. Failed reviews and abstentions give none."""
    by_id = {rollout.id: rollout for rollout in rollouts}
    rows = []
    for review in reviews:
        rollout = by_id.get(review.rollout_id)
        if rollout is not None and review.ok and review.steps:
            rows.append((rollout, review.steps, [_allowed(v) for v in review.verdicts]))
    return _examples(rows)


def from_outcomes(rollouts: Iterable[Rollout], cuts: Mapping[str, Sequence[Step]]) -> Examples:
    """Every step of a wrong answer is harmful, every one of a right answer is not: what a learned
    token reward or a value function gets to see (OREAL, arXiv 2502.06781; Lightman et al. 2023,
    arXiv 2305.20050, outcome supervision). Undecided outcomes give none."""
    rows = []
    for rollout in rollouts:
        steps = cuts.get(rollout.id, ())
        if rollout.outcome is not None and steps:
            allowed = [True, True, False] if rollout.outcome >= 0.5 else [False, False, True]
            rows.append((rollout, steps, [allowed] * len(steps)))
    return _examples(rows)


def _allowed(verdict: StepVerdict) -> list[bool]:
    if verdict.abstains:
        return [False] * len(LABELS)
    if verdict.wrong:
        return [label == "harmful" for label in LABELS]
    if verdict.label is None:
        return [label != "harmful" for label in LABELS]
    return [label == verdict.label for label in LABELS]


def _examples(rows: Sequence[tuple[Rollout, Sequence[Step], list[list[bool]]]]) -> Examples:
    numbers, buckets, allowed, problems = [np.zeros((0, NUMBERS), np.float32)], [], [], []
    for rollout, steps, of_steps in rows:
        features = features_of(rollout.problem.prompt, rollout.text, steps)
        numbers.append(features.numbers)
        buckets += features.buckets
        allowed += of_steps
        problems += [rollout.problem.id] * len(steps)
    found = Examples(
        np.concatenate(numbers),
        tuple(buckets),
        np.array(allowed, dtype=bool).reshape(-1, len(LABELS)),
        tuple(problems),
    )
    return found.pick(np.asarray(found.allowed.any(axis=1)))


def together(parts: Sequence[Examples]) -> Examples:
    """The examples of several runs, in order."""
    none = _examples(())
    return Examples(
        np.concatenate([part.numbers for part in (none, *parts)]),
        tuple(bucket for part in parts for bucket in part.buckets),
        np.concatenate([part.allowed for part in (none, *parts)]),
        tuple(problem for part in parts for problem in part.problems),
    )


def fit(
    examples: Examples,
    *,
    teacher: str,
    target: Literal["reviews", "outcome"] = "reviews",
    hidden: int = 32,
    epochs: int = 60,
    patience: int = 8,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-4,
    dropout: float = 0.1,
    batch_size: int = 256,
    seed: int = 0,
) -> Fit:
    """Train until ``patience`` epochs in a row are no better on held-out problems; the best epoch
    is kept. One core, seconds to a few minutes. The same seed gives the same model.

    Raises UserError for fewer than ``MIN_STEPS`` steps, for a single problem, and where no step or
    every step is harmful: nothing could be learned of them.
    """
    with _one_thread():
        return _fit(
            examples,
            StepModelFacts(
                teacher=teacher,
                target=target,
                steps=len(examples),
                problems=len(set(examples.problems)),
                seed=seed,
            ),
            _Plan(hidden, epochs, patience, learning_rate, weight_decay, dropout, batch_size),
        )


class _Plan(NamedTuple):
    hidden: int
    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    dropout: float
    batch_size: int


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices this small lose more by waiting for other threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(examples: Examples, facts: StepModelFacts, plan: _Plan) -> Fit:
    held = examples.held_out
    train, test = examples.pick(~held), examples.pick(held)
    _check(examples, train, test)
    generator = torch.Generator().manual_seed(facts.seed)
    network = _Network(train, plan.hidden, plan.dropout, generator)
    optimiser = torch.optim.AdamW(
        network.parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    rows, tests = _Rows(train), _Rows(test)
    best, best_loss, waited, done = network.state(), float("inf"), 0, 0
    while done < plan.epochs and waited < plan.patience:
        done += 1
        for places in torch.randperm(len(train), generator=generator).split(plan.batch_size):
            optimiser.zero_grad()
            network.loss(rows, places, generator).backward()
            optimiser.step()
        with torch.no_grad():
            loss = float(network.loss(tests, torch.arange(len(test)), None))
        waited += 1
        if loss < best_loss - 1e-4:
            best, best_loss, waited = network.state(), loss, 0
    return _measured(StepModel(**best, facts=facts), network, best, train, tests, done)


def _check(examples: Examples, train: Examples, test: Examples) -> None:
    if len(examples) < MIN_STEPS:
        raise UserError(
            f"{len(examples)} judged steps are too few to learn from, {MIN_STEPS} are needed: "
            "review more traces"
        )
    if not len(train) or not len(test):
        raise UserError(
            f"the steps are of {len(set(examples.problems))} problems, too few to hold some out"
        )
    wrong = train.allowed[:, _HARMFUL]
    if wrong.all() or not wrong.any():
        which = "every" if wrong.all() else "no"
        raise UserError(
            f"{which} step to learn from is wrong by its labels: a step model needs both kinds"
        )


class _Rows:
    """Examples as tensors: words as one long list with offsets, as ``embedding_bag`` wants it."""

    def __init__(self, examples: Examples) -> None:
        self.numbers = torch.from_numpy(examples.numbers)
        self.allowed = torch.from_numpy(examples.allowed)
        self.words = [torch.from_numpy(bucket) for bucket in examples.buckets]

    def bags(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [self.words[i] for i in places.tolist()]
        lengths = torch.tensor([0, *map(len, chosen)][:-1] or [0])
        return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.long), lengths.cumsum(0)


class _Network:
    """The torch twin of :class:`StepModel`."""

    def __init__(
        self, train: Examples, hidden: int, dropout: float, generator: torch.Generator
    ) -> None:
        def drawn(*shape: int, scale: float) -> torch.Tensor:
            values = torch.randn(*shape, generator=generator) * scale
            return values.requires_grad_()

        self.dropout = dropout
        self.mean = torch.from_numpy(train.numbers.mean(axis=0))
        spread = train.numbers.std(axis=0)
        self.scale = torch.from_numpy(np.where(spread > 1e-3, spread, 1.0).astype(np.float32))
        self.numbers = drawn(NUMBERS, hidden, scale=NUMBERS**-0.5)
        self.words = drawn(WORDS, hidden, scale=0.0)  # a word that was never seen says nothing
        self.hidden = drawn(hidden, scale=0.0)
        self.out = drawn(hidden, len(LABELS), scale=hidden**-0.5)
        self.bias = drawn(len(LABELS), scale=0.0)
        self.parameters = [self.numbers, self.words, self.hidden, self.out, self.bias]

    def log_p(
        self, rows: _Rows, places: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Log-probabilities of the labels, (B, 3); with a generator hidden units drop out."""
        words, offsets = rows.bags(places)
        bags_BH = torch.nn.functional.embedding_bag(words, self.words, offsets, mode="sum")
        numbers_BF = (rows.numbers[places] - self.mean) / self.scale
        active_BH = torch.relu(numbers_BF @ self.numbers + bags_BH + self.hidden)
        if generator is not None and self.dropout > 0:
            kept_BH = torch.rand(active_BH.shape, generator=generator) >= self.dropout
            active_BH = active_BH * kept_BH / (1 - self.dropout)
        return torch.log_softmax(active_BH @ self.out + self.bias, dim=1)

    def loss(
        self, rows: _Rows, places: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Mean of -log P(what the teacher allows)."""
        log_p_B3 = self.log_p(rows, places, generator)
        return -log_p_B3.masked_fill(~rows.allowed[places], -torch.inf).logsumexp(dim=1).mean()

    def state(self) -> dict[str, np.ndarray]:
        names = ("mean", "scale", "numbers", "words", "hidden", "out", "bias")
        return {name: getattr(self, name).detach().numpy().copy() for name in names}


def _measured(
    model: StepModel,
    network: _Network,
    best: Mapping[str, np.ndarray],
    train: Examples,
    tests: _Rows,
    epochs: int,
) -> Fit:
    for name, values in best.items():
        setattr(network, name, torch.from_numpy(values))
    places = torch.arange(len(tests.words))
    with torch.no_grad():
        log_p_N3 = network.log_p(tests, places, None).numpy()
    allowed = tests.allowed.numpy()
    frequencies = _frequencies(train.allowed)
    said = log_p_N3.argmax(axis=1)
    wrong = allowed[:, _HARMFUL].astype(float)
    rate = float(train.allowed[:, _HARMFUL].mean())
    return Fit(
        model=model,
        agreement=share(int(allowed[np.arange(len(said)), said].sum()), len(said)),
        loss=_log_loss(np.exp(log_p_N3), allowed),
        base_loss=_log_loss(np.tile(frequencies, (len(said), 1)), allowed),
        brier=float(((np.exp(log_p_N3[:, _HARMFUL]) - wrong) ** 2).mean()),
        base_brier=float(((rate - wrong) ** 2).mean()),
        epochs=epochs,
        held_out=len(said),
    )


def _frequencies(allowed: np.ndarray) -> np.ndarray:
    """Of the labels, an open one shared out among those it allows; (3,)."""
    return (allowed / allowed.sum(axis=1, keepdims=True)).mean(axis=0)


def _log_loss(p_N3: np.ndarray, allowed: np.ndarray) -> float:
    return float(-np.log(np.maximum((p_N3 * allowed).sum(axis=1), 1e-12)).mean())
