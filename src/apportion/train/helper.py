"""The helper q(reasoning | question, answer): which reasoning makes an answer likely?

Stage 1 of the two-stage scheme in the post on neuralese: a copy of the policy learns, by maximum
likelihood, the policy's own completions behind the answers that they reached. At its optimum it is
the posterior p(reasoning | question, answer).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from apportion.config.helper import HelperConfig
from apportion.edit.answer import cue, stated
from apportion.errors import UserError
from apportion.policies.hindsight import Chain, Velocity, answer_first, velocities
from apportion.policies.language_model import LanguageModelPolicy
from apportion.trace import Problem, Rollout
from apportion.train.row_learner import RowLearner
from apportion.train.supervised import Row

# What the helper is told of a completion that states no answer: an answer like any other.
NO_ANSWER = "?"
FOLDER = "helper"
_STATE = "helper_state.pt"
_SETTINGS = "helper.json"


class Parts(NamedTuple):
    """A completion cut where its answer begins: ``ids`` of the reasoning with the mark that asks
    for the answer, ``answer`` as stated (None where there is none), and the text ``after`` the
    mark."""

    ids: tuple[int, ...]
    answer: str | None
    after: str


def cut(rollout: Rollout) -> Parts:
    """Where no answer is stated the whole completion is reasoning."""
    answer = stated(rollout)
    if answer is None:
        return Parts(rollout.token_ids, None, "")
    end = rollout.reasoning_end + len(cue(rollout))
    starts = [start for start, _ in rollout.token_spans]
    count = next((t for t, start in enumerate(starts) if start >= end), len(starts))
    return Parts(rollout.token_ids[:count], answer, rollout.text[end:])


def reference(problem: Problem) -> str:
    """The reference answer that is put before the question, the first where there are several.

    Raises UserError where there is none, or an empty one.
    """
    answer = problem.answers[0].strip() if problem.answers else ""
    if not answer:
        raise UserError(
            f"problem {problem.id}: no reference answer for the helper to start from: give it one, "
            "or use a credit method that needs none"
        )
    return answer


class Helper:
    """A copy of the policy that reads the answer first, and its optimiser.

    Raises UserError where ``settings.checkpoint`` holds no helper.
    """

    def __init__(self, policy: LanguageModelPolicy, settings: HelperConfig, seed: int) -> None:
        self._policy, self._settings = policy, settings
        model = copy.deepcopy(policy.model)
        if settings.lora is not None:
            model = _with_adapter(model, settings.lora)
        self.reader = LanguageModelPolicy(model, policy.tokenizer, "helper", chat=policy.chat)
        self.reader.reviewer_tokens = policy.reviewer_tokens
        self._learner = RowLearner(
            model, policy.tokenizer, learning_rate=settings.learning_rate, warmup=20, seed=seed
        )
        self.trained = False
        if settings.checkpoint is not None:
            self._read(Path(settings.checkpoint))

    def asked(self, problem: Problem, answer: str) -> Problem:
        """The problem as the helper reads it."""
        return answer_first(problem, answer, self._settings.prompt)

    def row(self, rollout: Rollout) -> Row:
        """What stage 1 learns of a completion: all of it, behind the answer that it reached."""
        asked = self.asked(rollout.problem, stated(rollout) or NO_ANSWER)
        return Row(self.reader.prompt_ids(asked), rollout.token_ids)

    def fit(self, rows: Sequence[Row], updates: int) -> float:
        """Maximum likelihood; the loss at the end, nats a token.

        Raises UserError where there is nothing to learn from.
        """
        if not any(row.completion for row in rows):
            raise UserError("helper: no completion to learn from: is helper.problems too low?")
        self.reader.model.to(self._policy.model.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._learner.done)  # dropout, so that a resumed run draws the same
            loss = self._learner.fit(rows, updates, self._settings.batch_size)
        self.trained = True
        return loss

    def velocities(
        self,
        rollouts: Sequence[Rollout],
        answers: Sequence[str],
        policy: LanguageModelPolicy | None = None,
    ) -> list[Velocity]:
        """h of the reasoning of each rollout under an answer, against ``policy`` (default: the
        one that is trained)."""
        self.reader.model.to(self._policy.model.device)
        chains = [
            Chain(
                self._policy.prompt_ids(rollout.problem),
                self.reader.prompt_ids(self.asked(rollout.problem, answer)),
                cut(rollout).ids,
            )
            for rollout, answer in zip(rollouts, answers, strict=True)
        ]
        return velocities(policy or self._policy, self.reader, chains)

    def save(self, folder: Path) -> None:
        """Write the model into ``folder/helper``, where ``helper.checkpoint`` reads it, with
        the state of its optimiser."""
        folder = folder / FOLDER
        self.reader.model.save_pretrained(folder)
        self.reader.tokenizer.save_pretrained(folder)
        settings = {"prompt": self._settings.prompt}
        (folder / _SETTINGS).write_text(json.dumps(settings) + "\n", encoding="utf-8")
        state = {"learner": self._learner.state(), "weights": self.reader.model.state_dict()}
        torch.save(state, folder / _STATE)

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote."""
        state = _read_state(folder / FOLDER)
        self.reader.model.load_state_dict(state["weights"])
        self._learner.set_state(state["learner"])
        self.trained = True

    def _read(self, folder: Path) -> None:
        """Weights alone, of the folder or of its ``helper``."""
        inside = folder / FOLDER
        folder = inside if inside.is_dir() else folder
        prompt = read_prompt(folder)
        if prompt != self._settings.prompt:
            raise UserError(
                f"helper.checkpoint '{folder}' was trained with helper.prompt {prompt!r}: ask for "
                "the same"
            )
        try:
            self.reader.model.load_state_dict(_read_state(folder)["weights"])
        except RuntimeError:
            raise UserError(
                f"helper.checkpoint '{folder}' is not a copy of this policy: train one from it"
            ) from None
        self.trained = True


def read_prompt(folder: Path) -> str:
    """The ``prompt`` of a helper's folder. Raises UserError where it holds no helper."""
    file = folder / _SETTINGS
    if not file.is_file():
        raise UserError(f"no helper in '{folder}' (no {_SETTINGS}): train one with credit.method")
    return json.loads(file.read_text(encoding="utf-8"))["prompt"]


def _read_state(folder: Path) -> dict[str, Any]:
    if not (folder / _STATE).is_file():
        raise UserError(f"no helper's state in '{folder}' (no {_STATE})")
    return torch.load(folder / _STATE, weights_only=True, map_location="cpu")


def _with_adapter(model: Any, options: dict[str, object]) -> Any:
    from peft import LoraConfig, get_peft_model

    if hasattr(model, "peft_config"):
        raise UserError("helper.lora: the policy has an adapter already: leave it out")
    try:
        return get_peft_model(model, LoraConfig(**options))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UserError(f"helper.lora: {error}") from None
