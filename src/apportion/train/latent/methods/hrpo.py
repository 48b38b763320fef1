"""Hybrid reasoning: sampled tokens mixed with what the model had in mind, learned from outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from apportion.config import TrainConfig
from apportion.config.latent_methods import HrpoMethod, OutcomeMethod
from apportion.errors import UserError
from apportion.policies.latent.batch import pad_batch, pad_questions
from apportion.policies.latent.generate import answer_tokens, halted
from apportion.policies.latent.gradient import Bptt, StepGradients
from apportion.policies.latent.model import LatentOutput, Thought, output_of
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.latent.sampled import TokenSampler, labels_of
from apportion.policies.latent.stopping import row_losses
from apportion.policies.modes import eval_mode
from apportion.train.latent.methods.example import Target
from apportion.train.latent.methods.outcome import Outcome, group_advantages
from apportion.train.latent.methods.reward import CompletionReward


class Hrpo(Outcome):
    """See ``config.latent_methods.HrpoMethod``.

    loss = -sum_b A_b (sum_t log p(y_t | ...) + log p(answer_b | ...)) / tokens: all sampled tokens
    are decisions. Given them the inputs are functions, so the gradient also goes back through what
    was mixed in at every step.
    """

    def __init__(
        self,
        policy: LatentPolicy,
        options: HrpoMethod,
        reward: CompletionReward,
        train: TrainConfig,
    ) -> None:
        sampler = policy.model.sampler
        if sampler is None:
            raise UserError(
                "latent.learning hrpo: it samples tokens while it thinks: use latent.cell: "
                "{kind: hrpo, sampled: true}"
            )
        if not policy.model.steps:
            raise UserError("latent.steps: hrpo thinks for at most so many tokens: use 1 or more")
        super().__init__(policy, OutcomeMethod(noise="none"), reward, train)
        self._sampler: TokenSampler = sampler
        self._sampler.through = options.through

    def learn(self, targets: Sequence[Target], bptt: Bptt) -> LatentOutput:
        rows = [target for target in targets for _ in range(self._train.group_size)]
        # What is sampled stays given: recomputed steps read it in the backward pass.
        with eval_mode(self.model):
            thoughts, answers = self._draw(rows)
            completions = [[*t, *a] for t, a in zip(thoughts, answers, strict=True)]
            outcomes, worth = self._rewarded(rows, completions)
            output = self._hybrid_loss(rows, thoughts, answers, outcomes, bptt)
            output.figures |= worth
            return output

    def _draw(self, rows: Sequence[Target]) -> tuple[list[list[int]], list[list[int]]]:
        """Thoughts and answers."""
        pad_id, device = self.policy.tokenizer.pad_token_id, self.model.device
        questions = pad_questions([r.question for r in rows], [r.latents for r in rows], pad_id)
        self._sampler.temperature = self._train.temperature
        with torch.no_grad():
            questions = questions.to(device)
            thought, _ = halted(self.model, questions)
            written = self._sampler.drawn()
            drawn = answer_tokens(
                self.model,
                questions,
                max_tokens=self._train.max_completion_tokens,
                temperature=self._train.temperature,
                stop_ids=self.policy._stop_ids(),
                thought=thought,
            )
            ids_BA = torch.stack([token_B for token_B, _ in drawn], 1).tolist()
        return written, [self.policy._cut(ids) for ids in ids_BA]

    def _hybrid_loss(
        self,
        rows: Sequence[Target],
        thoughts: list[list[int]],
        answers: list[list[int]],
        outcomes: Sequence[float | None],
        bptt: Bptt,
    ) -> LatentOutput:
        pad_id, device = self.policy.tokenizer.pad_token_id, self.model.device
        lengths = [len(ids) for ids in thoughts]
        batch = pad_batch([r.question for r in rows], answers, lengths, pad_id).to(device)
        labels_BK = labels_of(thoughts).to(device)
        self._sampler.begin(labels_BK)
        gradients = StepGradients(batch.questions.steps_B, bptt.cure)
        thought = self.model.think(batch.questions, bptt, gradients)
        logits = self.model.decoder.logits(self.model.answer_states(thought, batch))
        losses_B = row_losses(logits / self._train.temperature, batch.labels_BA)
        losses_B = losses_B + self._thought_losses(thought, labels_BK)
        advantages_B = group_advantages(
            outcomes, self._train.group_size, scale=self._train.scale_rewards == "group"
        ).to(losses_B)
        tokens = sum(lengths) + sum(map(len, answers))
        loss = (advantages_B * losses_B).sum() / tokens
        output = output_of(loss, logits, batch.labels_BA, thought.states_BKD, gradients)
        figures = self._figures(outcomes, thought.hidden_BD.detach())
        output.figures = figures | {"latent/steps": sum(lengths) / len(lengths)}
        return output

    def _thought_losses(self, thought: Thought, labels_BK: Tensor) -> Tensor:
        """(B,): minus the log-probability of each row's sampled thought."""
        before_BKD = torch.cat([thought.question_BD[:, None], thought.states_BKD[:, :-1]], dim=1)
        logits_BKV = self.model.decoder.logits(before_BKD)
        return row_losses(logits_BKV / self._train.temperature, labels_BK)
