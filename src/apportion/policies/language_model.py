"""A causal language model of the transformers library as a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from apportion.errors import UserError
from apportion.policies.base import rollout_id
from apportion.policies.modes import evaluating
from apportion.policies.reviewer_token import tokens_for
from apportion.segment import decode_with_spans
from apportion.trace import Problem, Rollout

# Which tokens may come next, by the number of the prompt and the ids written so far.
Allowed = Callable[[int, list[int]], list[int]]


class Completion(NamedTuple):
    """Token ids with their log-probabilities, and what ``Rollout.meta`` says of it."""

    ids: list[int]
    logprobs: list[float]
    meta: dict[str, Any]


class LanguageModelPolicy:
    """Wraps ``model`` and ``tokenizer``; ``chat`` sends prompts through the chat template.

    ``reviewer_tokens`` (settable) names the reviewers to whose style the policy leans: their
    tokens stand at the beginning of every prompt, in a chat as the system message.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, *, chat: bool = False) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.chat = chat
        self._reviewer_tokens: tuple[str, ...] = ()
        self._leaning = ""
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"

    @property
    def reviewer_tokens(self) -> tuple[str, ...]:
        return self._reviewer_tokens

    @reviewer_tokens.setter
    def reviewer_tokens(self, names: Sequence[str]) -> None:
        """Raises UserError where the vocabulary lacks the token of one of them."""
        self._leaning = tokens_for(self.tokenizer, names)
        self._reviewer_tokens = tuple(names)

    def prompt_for(self, problem: Problem) -> str | list[dict[str, str]]:
        """The prompt as TRL wants it: text, or messages for a chat model."""
        if not self.chat:
            return self._leaning + problem.prompt
        system = [{"role": "system", "content": self._leaning}] if self._leaning else []
        return [*system, {"role": "user", "content": problem.prompt}]

    def prompt_ids(self, problem: Problem) -> list[int]:
        if self.chat:
            encoded = self.tokenizer.apply_chat_template(
                self.prompt_for(problem), add_generation_prompt=True, return_dict=True
            )
            return list(encoded["input_ids"])
        return list(self.tokenizer(self._leaning + problem.prompt)["input_ids"])

    def decode(self, token_ids: Sequence[int]) -> tuple[str, tuple[tuple[int, int], ...]]:
        """Text and token spans of a completion, special tokens dropped from the text."""
        return decode_with_spans(
            token_ids, lambda ids: self.tokenizer.decode(ids, skip_special_tokens=True)
        )

    def sample(
        self,
        problems: Sequence[Problem],
        *,
        n: int = 1,
        temperature: float = 1.0,
        max_tokens: int = 256,
        seed: int = 0,
        reasoning_end: Callable[[str], int] = len,
        batch_size: int = 128,
    ) -> list[Rollout]:
        """See Policy.sample. Raises UserError where a prompt does not fit into the context."""
        self.check_context(problems, max_tokens)
        jobs = [(problem, index) for problem in problems for index in range(n)]
        rollouts = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for start in range(0, len(jobs), batch_size):
                batch = jobs[start : start + batch_size]
                prompts = [self.prompt_ids(problem) for problem, _ in batch]
                completions = self._generate(prompts, temperature, max_tokens)
                for (problem, index), made in zip(batch, completions, strict=True):
                    ids, logprobs, meta = made
                    text, spans = self.decode(ids)
                    done = bool(ids) and ids[-1] in self._stop_ids()
                    rollouts.append(
                        Rollout(
                            id=rollout_id(problem, seed, index),
                            problem=problem,
                            text=text,
                            token_ids=tuple(ids),
                            token_spans=spans,
                            logprobs=tuple(logprobs),
                            reasoning_end=reasoning_end(text),
                            policy=self.name,
                            group=problem.id,
                            finish="stop" if done else "length",
                            meta=meta,
                        )
                    )
        return rollouts

    def save(self, folder: Path) -> None:
        """Write model and tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def check_context(self, problems: Sequence[Problem], max_tokens: int) -> None:
        context = getattr(self.model.config, "max_position_embeddings", None)
        for problem in problems:
            length = len(self.prompt_ids(problem))
            if context and length + max_tokens > context:
                raise UserError(
                    f"problem {problem.id}: prompt of {length} tokens and {max_tokens} new ones "
                    f"exceed the context of {context}: shorten it or lower max_completion_tokens"
                )

    def generate_ids(
        self,
        prompts: Sequence[Sequence[int]],
        temperature: float,
        max_tokens: int,
        allowed: Allowed | None = None,
    ) -> list[list[int]]:
        """The new token ids after each prompt, up to and with the end of text; where ``allowed``
        is given, only those that it allows."""
        made = self._generate(prompts, temperature, max_tokens, logits=False, allowed=allowed)
        return [completion.ids for completion in made]

    def _generate(
        self,
        prompts: Sequence[Sequence[int]],
        temperature: float,
        max_tokens: int,
        *,
        logits: bool = True,
        allowed: Allowed | None = None,
    ) -> Iterator[Completion]:
        encoded = self.tokenizer.pad(
            {"input_ids": [list(ids) for ids in prompts]}, return_tensors="pt"
        ).to(self.model.device)
        sampling: dict[str, Any] = (
            {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            if temperature > 0
            else {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
        )
        if allowed is not None:
            start = encoded["input_ids"].shape[1]
            sampling["prefix_allowed_tokens_fn"] = lambda row, ids: allowed(
                row, ids[start:].tolist()
            )
        with evaluating(self.model):
            output = self.model.generate(
                **encoded,
                max_new_tokens=max_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                return_dict_in_generate=True,
                output_logits=logits,
                logits_processor=self._processors(prompts),
                **sampling,
            )
        new_BT = output.sequences[:, encoded["input_ids"].shape[1] :]
        for b in range(new_BT.shape[0]):
            ids = self._cut(new_BT[b].tolist())
            steps = enumerate(ids) if logits else ()
            chosen = [
                torch.log_softmax(output.logits[t][b].float(), -1)[token].item()
                for t, token in steps
            ]
            yield Completion(ids, chosen, {})

    def _processors(self, prompts: Sequence[Sequence[int]]) -> list[Any]:
        """What changes the logits of a batch before a token is drawn: nothing."""
        return []

    def _stop_ids(self) -> set[int]:
        stop = self.model.generation_config.eos_token_id
        stop = stop if isinstance(stop, list) else [stop]
        return {token for token in [*stop, self.tokenizer.eos_token_id] if token is not None}

    def _cut(self, ids: list[int]) -> list[int]:
        """Up to and with the first end-of-text token; what follows is padding."""
        stops = self._stop_ids()
        for position, token in enumerate(ids):
            if token in stops:
                return ids[: position + 1]
        return ids
