"""What to imitate of a batch: right chains, edited chains, revised chains."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.config import RunConfig
from apportion.credit import load_method
from apportion.edit import edit_chain, verify_edits
from apportion.edit.revision import revise
from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.review import load_reviewer
from apportion.tasks import Task
from apportion.trace import Consensus, Edit, Rollout
from apportion.train.grpo.batch import CreditedBatch
from apportion.train.grpo.imitation import Chain, Imitator


def load_imitator(
    config: RunConfig, policy: LanguageModelPolicy, task: Task, seed: int
) -> Imitator | None:
    """The imitator that ``config.imitation`` describes; None where nothing is to be imitated.

    Raises UserError where chains are to be edited and no reviews are made.
    """
    chains = config.imitation.chains
    if chains == "none":
        return None
    if chains == "right":
        return right_chains
    if not load_method(config.credit).reads_reviews:
        raise UserError(
            f"imitation.chains {chains} needs reviews, and credit method "
            f"'{config.credit['method']}' makes none: choose dca, say"
        )
    kind = EditedChains if chains == "edited" else RevisedChains
    return kind(config, policy, task, seed)


def right_chains(batch: CreditedBatch) -> list[Chain | None]:
    """Online rejection sampling: every rollout with the full outcome, as it was sampled."""
    return [_as_sampled(rollout) for rollout in batch.rollouts]


class EditedChains:
    """Approach 2 within training: edit by consensus, answer again, imitate what is kept.

    A rollout whose edit changed nothing, or was refused, is imitated as sampled if it was right
    (``right_too``), else not at all. Adds to the batch's metrics the share of rollouts that were
    edited, and of those that were kept.
    """

    def __init__(
        self, config: RunConfig, policy: LanguageModelPolicy, task: Task, seed: int
    ) -> None:
        self._run, self._config = config, config.imitation
        self._policy, self._task, self._seed = policy, task, seed
        self._max_tokens = config.train.max_completion_tokens

    def __call__(self, batch: CreditedBatch) -> list[Chain | None]:
        edits = verify_edits(
            self._edits(batch),
            batch.rollouts,
            self._policy,
            self._task,
            max_tokens=self._max_tokens,
        )
        changed = sum(edit.changed for edit in edits)
        kept = sum(edit.usable for edit in edits)
        batch.metrics["imitation/edited"] = changed / len(edits)
        batch.metrics["imitation/kept"] = kept / max(1, changed)
        return [
            self._chain(edit, rollout) for edit, rollout in zip(edits, batch.rollouts, strict=True)
        ]

    def _edits(self, batch: CreditedBatch) -> list[Edit]:
        return [
            edit_chain(rollout, _consensus(sample.consensus, rollout), self._config.operations)
            for rollout, sample in zip(batch.rollouts, batch.samples, strict=True)
        ]

    def _chain(self, edit: Edit, rollout: Rollout) -> Chain | None:
        if not edit.usable:
            return _as_sampled(rollout) if self._config.right_too else None
        encoded = self._policy.tokenizer(
            edit.text, add_special_tokens=False, return_offsets_mapping=True
        )
        weights = self._weights(edit, encoded["offset_mapping"])
        end = self._policy.tokenizer.eos_token_id
        return Chain([*encoded["input_ids"], end], [*weights, 1.0])

    def _weights(self, edit: Edit, offsets: Sequence[tuple[int, int]]) -> list[float]:
        """1 for every token, or with ``only_edits`` for those that touch what is not *kept*."""
        if not self._config.only_edits:
            return [1.0] * len(offsets)
        new = [(span.start, span.end) for span in edit.spans if span.kind != "kept"]
        return [
            float(any(start < high and low < end for low, high in new)) for start, end in offsets
        ]


class RevisedChains(EditedChains):
    """The baseline of Constitutional AI: the policy writes a criticised chain again, ``tries``
    times, and what the reviewers object to least is imitated. These are further rollouts."""

    def _edits(self, batch: CreditedBatch) -> list[Edit]:
        return revise(
            batch.rollouts,
            [review for reviews in batch.reviews for review in reviews],
            self._policy,
            [load_reviewer(spec) for spec in self._run.reviewers],
            self._task,
            tries=self._config.tries,
            voting=self._run.consensus.model_dump(),
            segmenter=self._run.segment,
            seed=self._seed + (batch.rollouts[0].update or 0),
            max_tokens=self._max_tokens,
        )


def _as_sampled(rollout: Rollout) -> Chain | None:
    if rollout.outcome is None or rollout.outcome < 1.0:
        return None
    return Chain(rollout.token_ids, [1.0] * len(rollout.token_ids))


def _consensus(found: Consensus | None, rollout: Rollout) -> Consensus:
    return found or Consensus(rollout_id=rollout.id, rule="none")
