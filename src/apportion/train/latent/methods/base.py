"""What a method of latent learning is, and the plainest one."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.policies.latent.batch import LatentBatch, pad_batch
from apportion.policies.latent.gradient import Bptt
from apportion.policies.latent.model import LatentModel, LatentOutput
from apportion.policies.latent.policy import LatentPolicy
from apportion.train.latent.methods.example import Example, Target


class LatentMethod:
    """Cross-entropy of the answer after the model's latent steps; other methods are subclasses.

    An update calls ``begin``, then ``targets`` once for its batch, then ``learn`` for each part of
    it; the losses of the parts are added with the parts' share of ``weight``.
    """

    # Whether the written steps of the solutions are learned or read.
    reads_text = False

    def __init__(self, policy: LatentPolicy) -> None:
        self.policy = policy

    @property
    def model(self) -> LatentModel:
        return self.policy.model

    def begin(self, done: int) -> bool:
        """Called before update ``done`` + 1, after a resume too; True where the optimiser has to
        forget what it knows."""
        return False

    def positions(self, example: Example) -> int:
        """How much of the context an example takes, at most."""
        return len(example.question) + self.model.steps + len(example.answer)

    def targets(self, examples: Sequence[Example]) -> list[Target]:
        """What is learned of each example now."""
        return [Target(e.question, e.answer, self.model.steps, e) for e in examples]

    def weight(self, targets: Sequence[Target]) -> int:
        """What the mean in ``LatentOutput.loss`` runs over: learned tokens."""
        return sum(len(target.answer) for target in targets)

    def learn(self, targets: Sequence[Target], bptt: Bptt) -> LatentOutput:
        """Forward pass and loss; the caller goes backward."""
        return self.model(self.batch(targets), bptt)

    def batch(self, targets: Sequence[Target]) -> LatentBatch:
        found = pad_batch(
            [target.question for target in targets],
            [target.answer for target in targets],
            [target.latents for target in targets],
            self.policy.tokenizer.pad_token_id,
        )
        return found.to(self.model.device)
