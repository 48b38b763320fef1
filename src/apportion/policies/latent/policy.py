"""A model that thinks in vectors, as a policy: problems in, answers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from apportion.errors import UserError
from apportion.policies.language_model import Allowed, Completion, LanguageModelPolicy
from apportion.policies.latent.batch import pad_questions
from apportion.policies.latent.folder import read_latent
from apportion.policies.latent.generate import answer_tokens, halted
from apportion.policies.latent.model import LatentModel, Thought
from apportion.policies.latent.sampled import ANSWER_MARK
from apportion.policies.latent.step_decoder import StepDecoder, read_step_decoder
from apportion.policies.modes import evaluating
from apportion.trace import Problem


class LatentPolicy(LanguageModelPolicy):
    """``model`` takes its latent steps after the prompt; only the answer is text.

    The log-probabilities are those of the answer's tokens. ``Rollout.meta["latent_steps"]`` says
    how many steps came before it: all of ``model.steps``, or as many as its head that halts lets
    through. ``step_decoder`` (settable) reads the steps, where one was trained with the policy.
    Where the cell samples tokens, the thought is text too and belongs to the completion.
    """

    model: LatentModel

    def __init__(
        self, model: LatentModel, tokenizer: Any, name: str, *, chat: bool = False
    ) -> None:
        super().__init__(model, tokenizer, name, chat=chat)
        self.step_decoder: StepDecoder | None = None
        if model.sampler is not None:
            ending = tokenizer(ANSWER_MARK, add_special_tokens=False)["input_ids"]
            model.sampler.ending, model.sampler.stop_ids = (
                tuple(ending),
                frozenset(self._stop_ids()),
            )

    def check_context(self, problems: Sequence[Problem], max_tokens: int) -> None:
        """Latent steps take positions of the context too."""
        super().check_context(problems, max_tokens + self.model.steps)

    def generate_ids(
        self,
        prompts: Sequence[Sequence[int]],
        temperature: float,
        max_tokens: int,
        allowed: Allowed | None = None,
    ) -> list[list[int]]:
        """Raises UserError: there is no middle of a latent chain that text could continue."""
        raise UserError(
            f"policy {self.name} reasons in vectors: its chains have no text to continue from"
        )

    def _generate(
        self,
        prompts: Sequence[Sequence[int]],
        temperature: float,
        max_tokens: int,
        *,
        logits: bool = True,
        allowed: Allowed | None = None,
    ) -> Iterator[Completion]:
        questions = pad_questions(prompts, self.model.steps, self.tokenizer.pad_token_id)
        questions = questions.to(self.model.device)
        tokens, logprobs = [], []
        if self.model.sampler is not None:
            self.model.sampler.temperature = temperature
        with evaluating(self.model):
            thought, steps_B = halted(self.model, questions)
            written = self._written(thought)
            for token_B, logits_BV in answer_tokens(
                self.model,
                questions,
                max_tokens=max_tokens,
                temperature=temperature,
                stop_ids=self._stop_ids(),
                thought=thought,
            ):
                scores_BV = logits_BV.float().log_softmax(-1)
                tokens.append(token_B)
                logprobs.append(scores_BV.gather(-1, token_B[:, None])[:, 0])
        ids_BA, logprobs_BA = torch.stack(tokens, 1).tolist(), torch.stack(logprobs, 1).tolist()
        for row, (ids, chosen) in enumerate(zip(ids_BA, logprobs_BA, strict=True)):
            before, kept = written[row] if written else ([], []), self._cut(ids)
            meta = {"latent_steps": int(steps_B[row])}
            yield Completion([*before[0], *kept], [*before[1], *chosen[: len(kept)]], meta)

    def _written(self, thought: Thought) -> list[tuple[list[int], list[float]]]:
        """The tokens that each row sampled while it thought, and their log-probabilities; nothing
        where no tokens are sampled."""
        if self.model.sampler is None or not thought.states_BKD.shape[1]:
            return []
        before_BKD = torch.cat([thought.question_BD[:, None], thought.states_BKD[:, :-1]], dim=1)
        scores_BKV = self.model.decoder.logits(before_BKD).float().log_softmax(-1)
        return [
            (ids, scores_BKV[row, range(len(ids)), ids].tolist())
            for row, ids in enumerate(self.model.sampler.drawn())
        ]


def load_latent(
    model: str, *, steps: int | None = None, chat: bool | None = None, name: str | None = None
) -> LatentPolicy:
    """Read a folder that training with ``objective: latent`` wrote.

    ``steps`` overrides the number of latent steps. Raises UserError where the folder holds no
    latent model.
    """
    from transformers import AutoTokenizer

    latent = read_latent(model)
    if steps is not None:
        latent.steps = steps
    tokenizer = AutoTokenizer.from_pretrained(model)
    use_chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat
    policy = LatentPolicy(latent, tokenizer, name or "latent", chat=use_chat)
    policy.step_decoder = read_step_decoder(model, latent)
    return policy
