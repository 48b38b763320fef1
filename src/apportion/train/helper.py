"""The helper q(reasoning | question, answer): which reasoning makes an answer likely?

Stage 1 of the two-stage scheme in the post on neuralese: a copy of the policy, or a small network
beside it, learns by maximum likelihood the policy's own reasoning behind the answers that it
reached. At its optimum it is the posterior p(reasoning | question, answer).
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
from apportion.policies.side_helper import SideModel, beside, side_prompt
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
    """What reads the answer first, beside the policy or a copy of it, and its optimiser.

    Raises UserError where ``settings.checkpoint`` holds no helper.
    """

    def __init__(self, policy: LanguageModelPolicy, settings: HelperConfig, seed: int) -> None:
        self._policy, self._settings = policy, settings
        model = self._model(policy, seed)
        self.reader = LanguageModelPolicy(model, policy.tokenizer, "helper", chat=policy.chat)
        self.reader.reviewer_tokens = policy.reviewer_tokens
        self._learner = RowLearner(
            model,
            policy.tokenizer,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup=20,
            seed=seed,
        )
        self.trained = False
        if settings.checkpoint is not None:
            self._read(Path(settings.checkpoint))

    def _model(self, policy: LanguageModelPolicy, seed: int) -> Any:
        settings = self._settings
        if settings.kind == "side":
            end = policy.tokenizer.eos_token_id
            return beside(
                policy.model, end, width=settings.width, share=settings.dropout, seed=seed
            )
        model = copy.deepcopy(policy.model)
        return model if settings.lora is None else _with_adapter(model, settings.lora)

    def prompt_ids(self, problem: Problem, answer: str) -> list[int]:
        """The problem with the answer as the helper reads them."""
        if self._settings.kind == "copy":
            return self.reader.prompt_ids(answer_first(problem, answer, self._settings.prompt))
        tokenizer = self._policy.tokenizer
        # A token may hold the blank before a word, as in the completions.
        said = tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]
        return side_prompt(said, tokenizer.eos_token_id, self._policy.prompt_ids(problem))

    def row(self, rollout: Rollout) -> Row:
        """What stage 1 learns of a completion: its reasoning, behind the answer that it reached."""
        prompt, ids = self._asked(rollout, stated(rollout) or NO_ANSWER)
        return Row(prompt, ids)

    def _asked(self, rollout: Rollout, answer: str) -> tuple[list[int], tuple[int, ...]]:
        """Prompt and reasoning. Raises UserError where a copy has no room for both."""
        prompt, ids = self.prompt_ids(rollout.problem, answer), cut(rollout).ids
        context = getattr(self.reader.model.config, "max_position_embeddings", None)
        if context and self._settings.kind == "copy" and len(prompt) + len(ids) > context:
            raise UserError(
                f"problem {rollout.problem.id}: with the answer in front it takes {len(prompt)} "
                f"tokens, and a reasoning of {len(ids)} more exceeds the helper's context of "
                f"{context}: shorten the answer, or use helper.kind side"
            )
        return prompt, ids

    def fit(
        self, rows: Sequence[Row], updates: int, share: tuple[float, float] = (1.0, 0.0)
    ) -> float:
        """Maximum likelihood; the loss at the end, nats a token. The learning rate goes from the
        first ``share`` of it to the second: at a constant one the noise of the last batches would
        outweigh what the answer tells.

        Raises UserError where there is nothing to learn from.
        """
        if not any(row.completion for row in rows):
            raise UserError("helper: no completion to learn from: is helper.problems too low?")
        self.reader.model.to(self._policy.model.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._learner.done)  # dropout, so that a resumed run draws the same
            loss = self._learner.fit(rows, updates, self._settings.batch_size, share=share)
        self.trained = True
        return loss

    def learn(self, rows: Sequence[Row], steps: int) -> float:
        """So many steps on all rows together, each by its weight; the loss of the last."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._learner.done)
            losses = [self._learner.step(rows)["loss"] for _ in range(steps)]
        self.trained = True
        return losses[-1]

    def fit_and_stop(self, rows: Sequence[Row], kept: Sequence[Rollout], updates: int) -> float:
        """``fit`` in ``checks`` parts, and back to the weights, those of the start among them, at
        which ``gain`` on ``kept`` was highest: on few chains a helper soon learns them by heart.
        The loss of the last part."""
        checks = max(1, min(self._settings.checks, updates))
        weights = self.reader.model.state_dict
        best, found = self.gain(kept), copy.deepcopy(weights())
        loss = 0.0
        for i in range(checks):
            part = updates * (i + 1) // checks - updates * i // checks
            loss = self.fit(rows, part, (1 - i / checks, 1 - (i + 1) / checks))
            gain = self.gain(kept)
            if gain > best:
                best, found = gain, copy.deepcopy(weights())
        self.reader.model.load_state_dict(found)
        return loss

    def gain(self, rollouts: Sequence[Rollout]) -> float:
        """Mean log q - log p a token of reasoning under the answers that were reached."""
        found = self.velocities(rollouts, [stated(r) or NO_ANSWER for r in rollouts])
        tokens = max(1, sum(len(v.h_T) for v in found))
        return sum(float(v.h_T.sum()) for v in found) / tokens

    def velocities(
        self,
        rollouts: Sequence[Rollout],
        answers: Sequence[str],
        policy: LanguageModelPolicy | None = None,
    ) -> list[Velocity]:
        """h of the reasoning of each rollout under an answer, against ``policy`` (default: the
        one that is trained). Raises UserError where an answer is too long for a copy."""
        self.reader.model.to(self._policy.model.device)
        chains = [
            Chain(self._policy.prompt_ids(rollout.problem), *self._asked(rollout, answer))
            for rollout, answer in zip(rollouts, answers, strict=True)
        ]
        policy = policy or self._policy
        return velocities(policy, self.beside(policy), chains)

    def beside(self, policy: LanguageModelPolicy) -> LanguageModelPolicy:
        """What says log q where ``policy`` says log p: a copy is the same whatever that is."""
        model = self.reader.model
        if not isinstance(model, SideModel) or policy is self._policy:
            return self.reader
        return LanguageModelPolicy(model.on(policy.model), policy.tokenizer, "helper")

    def save(self, folder: Path) -> None:
        """Write the model into ``folder/helper``, where ``helper.checkpoint`` reads it, with
        the state of its optimiser."""
        folder = folder / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        if self._settings.kind == "copy":
            self.reader.model.save_pretrained(folder)
            self.reader.tokenizer.save_pretrained(folder)
        settings = {"prompt": self._settings.prompt, "kind": self._settings.kind}
        (folder / _SETTINGS).write_text(json.dumps(settings) + "\n", encoding="utf-8")
        torch.save(self.state(), folder / _STATE)

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` wrote."""
        self.set_state(_read_state(folder / FOLDER))

    def state(self) -> dict[str, Any]:
        """Weights and the state of the optimiser."""
        return {"learner": self._learner.state(), "weights": self.reader.model.state_dict()}

    def set_state(self, state: dict[str, Any]) -> None:
        self.reader.model.load_state_dict(state["weights"])
        self._learner.set_state(state["learner"])
        self.trained = True

    def _read(self, folder: Path) -> None:
        """Weights alone, of the folder or of its ``helper``."""
        inside = folder / FOLDER
        folder = inside if inside.is_dir() else folder
        for name, value in read_settings(folder).items():
            if value != getattr(self._settings, name):
                raise UserError(
                    f"helper.checkpoint '{folder}' was trained with helper.{name} {value!r}: ask "
                    "for the same"
                )
        try:
            self.reader.model.load_state_dict(_read_state(folder)["weights"])
        except RuntimeError:
            raise UserError(
                f"helper.checkpoint '{folder}' is not a copy of this policy: train one from it"
            ) from None
        self.trained = True


def read_settings(folder: Path) -> dict[str, str]:
    """``prompt`` and ``kind`` of a helper's folder. Raises UserError where it holds no helper."""
    file = folder / _SETTINGS
    if not file.is_file():
        raise UserError(f"no helper in '{folder}' (no {_SETTINGS}): train one with credit.method")
    return {"kind": "copy"} | json.loads(file.read_text(encoding="utf-8"))


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
