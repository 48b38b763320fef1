"""Outcome reinforcement learning of latent chains: groups, kept apart by noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from apportion.config import TrainConfig
from apportion.config.latent_methods import OutcomeMethod
from apportion.errors import UserError
from apportion.policies.latent.batch import pad_batch, pad_questions
from apportion.policies.latent.generate import answer_tokens
from apportion.policies.latent.gradient import Bptt, StepGradients
from apportion.policies.latent.model import LatentOutput, output_of
from apportion.policies.latent.noise import draw_noise
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.latent.stopping import row_losses
from apportion.policies.modes import eval_mode
from apportion.train.latent.methods.base import LatentMethod
from apportion.train.latent.methods.example import Target
from apportion.train.latent.methods.reward import CompletionReward


class Outcome(LatentMethod):
    """See ``config.latent_methods.OutcomeMethod``.

    loss = -sum_b A_b log p(answer_b | question_b, latents_b) / tokens, A the group advantage of the
    outcome (``train.scale_rewards``). The latents are functions, so their gradient is that of the
    answers they lead to; one step is taken on what was sampled, so no ratio is clipped. A group of
    equal outcomes teaches nothing. An answer whose gold cannot be read is left out.
    """

    def __init__(
        self,
        policy: LatentPolicy,
        options: OutcomeMethod,
        reward: CompletionReward,
        train: TrainConfig,
    ) -> None:
        super().__init__(policy)
        self._options = options
        self._reward = reward
        self._train = train
        draw_noise(policy.model, options.noise, 1, 1, options.strength)  # refuses what cannot be

    def weight(self, targets: Sequence[Target]) -> int:
        return len(targets)

    def learn(self, targets: Sequence[Target], bptt: Bptt) -> LatentOutput:
        group, model = self._train.group_size, self.model
        rows = [target for target in targets for _ in range(group)]
        options = self._options
        model.disturb = draw_noise(model, options.noise, len(rows), model.steps, options.strength)
        try:
            # Dropout of the network's own would be another one in the second pass.
            with eval_mode(model):
                answers = self._sample(rows)
                outcomes, worth = self._rewarded(rows, answers)
                output = self._loss(rows, answers, outcomes, bptt)
                output.figures |= worth
                return output
        finally:
            model.disturb = None

    def _sample(self, rows: Sequence[Target]) -> list[list[int]]:
        tokenizer = self.policy.tokenizer
        questions = pad_questions(
            [row.question for row in rows], [row.latents for row in rows], tokenizer.pad_token_id
        )
        with torch.no_grad():
            drawn = answer_tokens(
                self.model,
                questions.to(self.model.device),
                max_tokens=self._train.max_completion_tokens,
                temperature=self._train.temperature,
                stop_ids=self.policy._stop_ids(),
            )
            ids_BA = torch.stack([token_B for token_B, _ in drawn], 1).tolist()
        return [self.policy._cut(ids) for ids in ids_BA]

    def _rewarded(
        self, rows: Sequence[Target], completions: Sequence[list[int]]
    ) -> tuple[list[float | None], dict[str, float]]:
        problems = [row.example.problem for row in rows]
        texts = [self.policy.decode(ids)[0] for ids in completions]
        return self._reward([p for p in problems if p is not None], texts)

    def _loss(
        self,
        rows: Sequence[Target],
        answers: list[list[int]],
        outcomes: Sequence[float | None],
        bptt: Bptt,
    ) -> LatentOutput:
        pad_id = self.policy.tokenizer.pad_token_id
        batch = pad_batch([r.question for r in rows], answers, [r.latents for r in rows], pad_id)
        batch = batch.to(self.model.device)
        gradients = StepGradients(batch.questions.steps_B, bptt.cure)
        thought = self.model.think(batch.questions, bptt, gradients)
        logits = self.model.decoder.logits(self.model.answer_states(thought, batch))
        losses_B = row_losses(logits / self._train.temperature, batch.labels_BA)
        advantages_B = group_advantages(
            outcomes, self._train.group_size, scale=self._train.scale_rewards == "group"
        ).to(losses_B)
        loss = (advantages_B * losses_B).sum() / sum(map(len, answers))
        output = output_of(loss, logits, batch.labels_BA, thought.states_BKD, gradients)
        output.figures = self._figures(outcomes, thought.hidden_BD.detach())
        return output

    def _figures(self, outcomes: Sequence[float | None], hidden_BD: Tensor) -> dict[str, float]:
        known = torch.tensor([o for o in outcomes if o is not None])
        if not len(known):
            raise UserError("no outcome of this batch can be read: check the task's gold answers")
        groups_GND = hidden_BD.unflatten(0, (-1, self._train.group_size))
        middle_G1D = groups_GND.mean(1, keepdim=True)
        spread = (groups_GND - middle_G1D).norm(dim=-1) / middle_G1D.norm(dim=-1)
        grouped = torch.tensor([float("nan") if o is None else o for o in outcomes])
        grouped = grouped.unflatten(0, (-1, self._train.group_size))
        equal = (grouped == grouped[:, :1]).all(1).float().mean()
        return {
            "reward/mean": known.mean().item(),
            "reward/std": known.std(correction=0).item(),
            "reward/equal_groups": equal.item(),
            "latent/group_spread": spread.mean().item(),
        }


def group_advantages(outcomes: Sequence[float | None], group: int, *, scale: bool) -> Tensor:
    """(R - mean) / (std + 1e-4) within each group, or R - mean; 0 where R is unknown. As TRL's."""
    found = []
    for start in range(0, len(outcomes), group):
        part = outcomes[start : start + group]
        known = torch.tensor([o for o in part if o is not None])
        middle = known.mean() if len(known) else 0.0
        spread = known.std() + 1e-4 if scale and len(known) > 1 else 1.0
        found += [0.0 if o is None else float((o - middle) / spread) for o in part]
    return torch.tensor(found)
