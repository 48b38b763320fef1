"""One arm with one seed, trained to reason by a flow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from apportion.config import RunConfig
from apportion.errors import UserError
from apportion.policies.flow.folder import read_flow
from apportion.policies.flow.model import FlowModel
from apportion.policies.flow.policy import FlowPolicy
from apportion.records import RunDirectory
from apportion.stats import Estimate, mean, stratified_bootstrap
from apportion.tasks import Task, load_task
from apportion.trace import Problem
from apportion.train.draws import training_problems
from apportion.train.finish import finish_arm
from apportion.train.latent.answers import AnswersWatcher, learn_answers
from apportion.train.latent.flow_learner import FlowLearner
from apportion.train.latent.methods.example import Example, examples_of
from apportion.train.measure.evaluate import Evaluation
from apportion.train.progress import RunProgress
from apportion.train.setup import Arm, prepare, resume_point, trainable_policy


def run_flow_arm(
    config: RunConfig, seed: int, directory: RunDirectory, *, progress: RunProgress
) -> None:
    """Train on the answers of the task, evaluate and record; goes on from the newest checkpoint if
    there is one.

    Raises UserError where the configuration, the task or the policy cannot be used, and where
    training diverges.
    """
    prepare(config, seed)
    task = load_task(config.task)
    checkpoint = resume_point(directory)
    policy = flow_policy(config, checkpoint)
    learner = FlowLearner(policy, config)
    arm = Arm(config, seed, task, policy, directory, progress)
    watcher = _FlowWatcher(arm)
    wanted = config.flow.problems or config.train.updates * config.train.prompts_per_update
    examples = answers_of(policy, task, training_problems(task, wanted, seed))
    seconds = learn_answers(arm, examples, learner, watcher, checkpoint)
    watcher.append_along(config.train.updates, config.eval.final_split, config.eval.final_problems)
    finish_arm(
        arm,
        watcher,
        seconds=seconds,
        has_chains=False,
    )


def flow_policy(config: RunConfig, checkpoint: Path | None = None) -> FlowPolicy:
    """The policy of the configuration with a field; weights from a checkpoint of the run if there
    is one.

    Raises UserError where a flow policy was made with a field of another size.
    """
    base = trainable_policy(config)
    settings = config.flow
    wanted = {"width": settings.width, "heads": settings.heads, "hidden": settings.hidden}
    if checkpoint is not None:
        model = read_flow(checkpoint)
    elif isinstance(base, FlowPolicy):
        model = base.model
        if model.settings != wanted:
            raise UserError(f"policy.model was made with flow {model.settings}: ask for the same")
        model.steps = settings.steps
    else:
        model = FlowModel(base.model, steps=settings.steps, **wanted)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    policy = FlowPolicy(model, base.tokenizer, "flow", chat=base.chat)
    policy.reviewer_tokens = base.reviewer_tokens
    return policy


def answers_of(policy: FlowPolicy, task: Task, problems: Sequence[Problem]) -> list[Example]:
    """Questions with their answers, of which each has to fit into the context.

    Raises UserError for a problem without an answer, or too long.
    """
    width = policy.model.width
    return examples_of(
        policy, task, problems, lambda e: max(len(e.question), width + len(e.answer))
    )


class _FlowWatcher(AnswersWatcher):
    """Counts the problems learned from where others count sampled rollouts."""

    _policy: FlowPolicy  # type: ignore[assignment]

    def rollouts_until(self, update: int) -> int:
        return update * self._config.train.prompts_per_update

    def append_along(self, update: int, split: str, count: int) -> None:
        """Record how the answers of ``count`` problems of a split gain along the flow."""
        problems = self._task.problems(split, count, self._config.eval.seed)  # type: ignore[arg-type]
        with self._meter.paused():
            found = Evaluation(along(self._policy, self._task, problems), [], [])
        self._append(update, split, found.as_json())


def along(policy: FlowPolicy, task: Task, problems: Sequence[Problem]) -> dict[str, Estimate]:
    """``eval/flow_logprob/i``, mean log p(answer | z_i) in nats at each point i of the flow, and
    ``eval/flow_gain``, that of the last less that of the first. Intervals resample problems."""
    examples = answers_of(policy, task, problems)
    logps_NI = policy.logps_along([e.question for e in examples], [e.answer for e in examples])
    rows = {f"eval/flow_logprob/{i}": row.tolist() for i, row in enumerate(logps_NI.T)}
    rows["eval/flow_gain"] = (logps_NI[:, -1] - logps_NI[:, 0]).tolist()
    found = {name: stratified_bootstrap(row, statistic=mean) for name, row in rows.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}
