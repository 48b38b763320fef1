"""CODI: one model teaches itself, from its written chain to its latent one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from apportion.config.latent_methods import CodiMethod
from apportion.errors import UserError
from apportion.policies.latent.batch import IGNORED, LatentBatch
from apportion.policies.latent.cache import cache_of
from apportion.policies.latent.gradient import Bptt, StepGradients
from apportion.policies.latent.model import LatentOutput, output_of
from apportion.policies.latent.policy import LatentPolicy
from apportion.train.latent.methods.base import LatentMethod
from apportion.train.latent.methods.example import Example, Target


class Codi(LatentMethod):
    """See ``config.latent_methods.CodiMethod``.

    The distance is sum_l mean|h_l - stop_gradient(g_l)| / std(g_l) / L over the L layers, h_l of
    the student and g_l of the teacher at the token before the answer's value: the mark ``####``,
    which is the last thing both read alike (paper, section 3.2; the scale is its code's). Latents
    learn nothing from the teacher but this.
    """

    reads_text = True

    def __init__(self, policy: LatentPolicy, options: CodiMethod) -> None:
        super().__init__(policy)
        self._options = options
        if not policy.model.steps:
            raise UserError("latent.steps: codi needs at least 1 latent step to teach")

    def positions(self, example: Example) -> int:
        written = len(example.question) + len(example.text) + len(example.answer)
        return max(written, super().positions(example))

    def learn(self, targets: Sequence[Target], bptt: Bptt) -> LatentOutput:
        examples = [target.example for target in targets]
        if not all(example.mark for example in examples):
            raise UserError(
                "latent.learning codi: it compares the hidden states at the mark '####' before "
                "the answer, and this task's solutions have none: use another method"
            )
        batch = self.batch(targets)
        gradients = StepGradients(batch.questions.steps_B, bptt.cure)
        thought = self.model.think(batch.questions, bptt, gradients)
        student: list[Tensor] = []
        states = self.model.answer_states(thought, batch, student)
        logits = self.model.decoder.logits(states)
        own = _mean_loss(logits, batch.labels_BA)
        taught, teacher = self._teach(examples)
        places = torch.tensor([e.mark - 1 for e in examples], device=self.model.device)
        distance = distance_of(_at(student, places), teacher)
        loss = own + self._options.teacher * taught + self._options.weight * distance
        output = output_of(loss, logits, batch.labels_BA, thought.states_BKD, gradients)
        output.figures = {
            "train/student_loss": own.item(),
            "train/teacher_loss": taught.item(),
            "train/distance": distance.item(),
        }
        return output

    def _teach(self, examples: Sequence[Example]) -> tuple[Tensor, list[Tensor]]:
        """Loss of the written solutions, and every layer's states at the mark before the answer."""
        written = [Target(e.question, e.text + e.answer, 0, e) for e in examples]
        batch: LatentBatch = self.batch(written)
        questions, decoder = batch.questions, self.model.decoder
        ids_BL = torch.cat([questions.ids_BQ, batch.ids_BA], 1)
        mask_BL = torch.cat([questions.mask_BQ, batch.mask_BA], 1)
        positions_BL = (mask_BL.cumsum(1) - 1).clamp_min(0)
        layers: list[Tensor] = []
        states = decoder.run(decoder.embed(ids_BL), mask_BL, positions_BL, cache_of([]), layers)
        width = questions.ids_BQ.shape[1]
        loss = _mean_loss(decoder.logits(states[:, width - 1 : -1]), batch.labels_BA)
        places = [width + len(e.text) + e.mark - 1 for e in examples]
        return loss, _at(layers, torch.tensor(places, device=self.model.device))


def distance_of(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """The distance of ``Codi`` between states (B, D) of the layers, those of the embeddings, which
    are the first, left out. Nothing flows back into the teacher."""
    layers = [
        (own - other.detach()).abs().mean() / other.detach().std().clamp_min(1e-6)
        for own, other in zip(student[1:], teacher[1:], strict=True)
    ]
    return torch.stack(layers).mean()


def _at(layers: Sequence[Tensor], places_B: Tensor) -> list[Tensor]:
    rows_B = torch.arange(len(places_B), device=places_B.device)
    return [layer[rows_B, places_B] for layer in layers]


def _mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
