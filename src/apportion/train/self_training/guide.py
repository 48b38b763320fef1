"""A guide q(chain | problem, answer): the policy under a prompt that shows it the answer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from apportion.config.trice import TriceConfig
from apportion.errors import UserError
from apportion.policies.hint import Hint, answer_of, load_hint
from apportion.policies.language_model import LanguageModelPolicy
from apportion.tasks import Task
from apportion.tasks.answers import extract_answer
from apportion.trace import Problem, Rollout
from apportion.train.supervised import Row, fit

_BATCH = 32


class Guide:
    """Writes chains for problems whose answer it sees. ``policy`` may be the live one."""

    def __init__(self, policy: LanguageModelPolicy, hint: Hint) -> None:
        self.policy = policy
        self.hint = hint

    def sample(
        self, problems: Sequence[Problem], *, n: int, temperature: float, max_tokens: int, seed: int
    ) -> list[Rollout]:
        """``n`` completions of each problem, as if it had been asked without the hint.

        Raises UserError for a problem without gold answer, or where the hint makes a prompt too
        long for the context.
        """
        asked = [self.hint.fill(problem, answer_of(problem)) for problem in problems]
        rollouts = self.policy.sample(
            asked, n=n, temperature=temperature, max_tokens=max_tokens, seed=seed
        )
        owners = [problem for problem in problems for _ in range(n)]
        return [
            rollout.model_copy(update={"problem": problem})
            for rollout, problem in zip(rollouts, owners, strict=True)
        ]


def make_guide(
    policy: LanguageModelPolicy,
    task: Task,
    problems: Sequence[Problem],
    settings: TriceConfig,
    *,
    temperature: float,
    max_tokens: int,
    seed: int,
    say: Callable[[str], None] = lambda line: None,
) -> Guide:
    """The policy under the hint; with ``guide_updates`` a copy of it that learned to use the hint.

    The copy learns by maximum likelihood from the policy's own completions, each under the answer
    that it reached, right or wrong: pairs of chain and answer are then drawn from the policy
    itself, so at its optimum the guide is the posterior p(chain | problem, answer). Raises
    UserError where the hint cannot be read, and where no completion states an answer.
    """
    hint = load_hint(settings.hint)
    if not settings.guide_updates:
        return Guide(policy, hint)
    rollouts = policy.sample(
        problems,
        n=settings.guide_samples,
        temperature=temperature,
        max_tokens=max_tokens,
        seed=seed,
        reasoning_end=task.reasoning_end,
    )
    rows = []
    for rollout in rollouts:
        reached = extract_answer(rollout.text)
        if reached is not None:
            asked = hint.fill(rollout.problem, reached)
            rows.append(Row(policy.prompt_ids(asked), rollout.token_ids))
    if not rows:
        raise UserError(
            f"none of {len(rollouts)} completions states an answer (a line '#### ANSWER'): the "
            "guide has nothing to learn from; set trice.guide_updates=0"
        )
    model = copy.deepcopy(policy.model)
    say(f"guide: learns from {len(rows)} completions that reached an answer")
    fit(
        model,
        policy.tokenizer,
        rows,
        updates=settings.guide_updates,
        batch_size=_BATCH,
        learning_rate=settings.guide_learning_rate,
        seed=seed,
        say=say,
    )
    return Guide(LanguageModelPolicy(model, policy.tokenizer, "guide", chat=policy.chat), hint)
