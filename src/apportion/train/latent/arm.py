"""One arm with one seed, trained to think in vectors."""

from __future__ import annotations

from pathlib import Path

import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.faithfulness import Subject
from apportion.faithfulness.latent.chains import written_out
from apportion.policies.latent import parse_cell
from apportion.policies.latent.folder import read_latent
from apportion.policies.latent.model import LatentModel
from apportion.policies.latent.policy import LatentPolicy
from apportion.records import RunDirectory
from apportion.tasks import Task, load_task
from apportion.train.allocation import keep_freed_memory
from apportion.train.draws import training_problems
from apportion.train.finish import finish_arm
from apportion.train.latent.answers import AnswersWatcher, learn_answers
from apportion.train.latent.latent_update import LatentLearner
from apportion.train.latent.methods import load_learning
from apportion.train.latent.methods.example import examples_of
from apportion.train.measure.evaluate import sample_scored
from apportion.train.progress import RunProgress
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


def run_latent_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Train on the answers of gold solutions, evaluate and record; goes on from the newest
    checkpoint if there is one.

    Raises UserError where the configuration, the task or the policy cannot be used, and where
    training diverges, with the latent step at which it did.
    """
    prepare(config, seed)
    keep_freed_memory()
    task = load_task(config.task)
    checkpoint = resume_point(directory)
    policy = latent_policy(config, checkpoint)
    # Before the learner, so that its copies of the network are counted too.
    arm = Arm(config, seed, task, policy, directory, progress)
    watcher = _LatentWatcher(arm)
    learner = LatentLearner(policy, config, load_learning(config, policy, task))
    policy.step_decoder = learner.decoder
    wanted = config.latent.problems or config.train.updates * config.train.prompts_per_update
    problems = training_problems(task, wanted, seed)
    examples = examples_of(policy, task, problems, learner.method.positions)
    seconds = learn_answers(arm, examples, learner, watcher, checkpoint)
    _record_answers(config, task, policy, directory)
    if learner.decoder is not None:
        final = directory.path / "checkpoints" / "final"
        final.mkdir(parents=True, exist_ok=True)
        learner.decoder.save(final)
    finish_arm(
        arm,
        watcher,
        seconds=seconds,
        has_chains=False,
    )


def latent_policy(config: RunConfig, checkpoint: Path | None = None) -> LatentPolicy:
    """The policy of the configuration with the cell of ``latent``; weights from a checkpoint of
    the run if there is one.

    A latent policy without the head that halts gets a fresh one, if the method needs it. Raises
    UserError where it was made with another cell, window or norm.
    """
    base = trainable_policy(config)
    settings = config.latent
    wanted = parse_cell(settings.cell)
    halting = settings.learning.kind in ("halting", "stop_bit")
    if checkpoint is not None:
        model = read_latent(checkpoint)
    elif isinstance(base, LatentPolicy):
        model = base.model
        made = (model.options, model.window, model.norm)
        if made != (wanted, settings.window, settings.norm):
            raise UserError(
                f"policy.model was made with latent.cell {model.options.model_dump()}, window "
                f"{model.window} and norm {model.norm}: ask for the same"
            )
        if halting and model.halting is None:
            model.add_halting()
        model.steps = settings.steps
    else:
        model = LatentModel(
            base.model,
            wanted,
            steps=settings.steps,
            window=settings.window,
            norm=settings.norm,
            halting=halting,
        )
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    policy = LatentPolicy(model, base.tokenizer, "latent", chat=base.chat)
    policy.reviewer_tokens = base.reviewer_tokens
    return policy


def _record_answers(
    config: RunConfig, task: Task, policy: LatentPolicy, directory: RunDirectory
) -> None:
    """Greedy answers of a few held-out problems and their latent steps, for the report."""
    if not config.eval.showcase:
        return
    problems = task.problems(config.eval.final_split, config.eval.showcase, config.eval.seed)
    how = {"temperature": 0.0, "max_tokens": config.train.max_completion_tokens}
    update = {"update": config.train.updates}
    rollouts = [r.model_copy(update=update) for r in sample_scored(policy, task, problems, **how)]
    directory.append("rollouts", *rollouts)
    subject = Subject(policy, task, seed=config.eval.seed)
    directory.append("latents", *written_out(subject, rollouts))


class _LatentWatcher(AnswersWatcher):
    """Counts the problems learned from where others count sampled rollouts, unless the method
    samples too."""

    def rollouts_until(self, update: int) -> int:
        sampled = self._config.latent.learning.kind in ("outcome", "hrpo")
        return update * (self._per_update if sampled else self._config.train.prompts_per_update)

    def record(self, update: int, metrics: dict[str, float]) -> None:
        """The figures of each latent step are written every ``train.record_every`` updates."""
        every = self._config.train.record_every
        if not every or (update % every and update != 1):
            metrics = {k: v for k, v in metrics.items() if k.count("/") == 1}
        self._append(update, "train", metrics)
