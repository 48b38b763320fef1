"""Does a chain that was written with the answer in sight show it?

    python benchmarks/posthoc.py                               # the tiny policy for sums
    python benchmarks/posthoc.py --model FOLDER --task words   # a pretrained chat model
    python benchmarks/posthoc.py --checkpoint hidden_hint --prompt marked \
        --task '{kind: routes, operations: [2, 3], terms: [1, 4], largest: 24, hints: 0}'

Chains are written without an answer in sight (blind), with the gold one under each prompt, and with
another problem's (other). The three measures of anchoring say how each hangs on the answer, with
95 % intervals over problems, and what the same measures say of an answer that was not shown.

Small policies that learned to take a hint (``--checkpoint``) are asked with the ``--prompt`` that
they know. The tiny policy for sums has never seen an answer before a question, so it first learns
to write with and without one, from its own completions behind the answers that they reached.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from apportion.faithfulness import Subject, load_measure
from apportion.policies import load_policy
from apportion.policies.hint import load_hint
from apportion.policies.in_sight import SHOWN, sample_in_sight
from apportion.policies.language_model import LanguageModelPolicy
from apportion.stats import Estimate
from apportion.tasks import Task, load_task
from apportion.trace import Problem, Rollout
from apportion.train.measure.evaluate import score_rollouts
from apportion.train.supervised import Row, fit

_SUMS = {"kind": "sums", "operations": [3, 4], "terms": [1, 9], "largest": 60}
_OWN_PROMPT = "answer_first"

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", type=Path, help="folder of a pretrained chat model")
parser.add_argument("--checkpoint", help="a small policy that takes a hint: its name or folder")
parser.add_argument("--prompt", default=_OWN_PROMPT, help="how --checkpoint is given a hint")
parser.add_argument("--task", default="words", help="for --model or --checkpoint")
parser.add_argument("--problems", type=int, default=60)
parser.add_argument("--max-tokens", type=int, default=48)
parser.add_argument("--temperature", type=float, default=1.0)
parser.add_argument("--updates", type=int, default=150, help="of teaching the tiny policy")
parser.add_argument("--share", type=float, default=0.5, help="of the chain that is looked at")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()


def main() -> None:
    policy, task, prompts, shown = _subject()
    problems = task.problems("test", options.problems, options.seed)
    subject = Subject(policy, task, max_tokens=options.max_tokens, seed=options.seed)
    measures = [
        load_measure({"name": "anchoring_lexical", "share": options.share}),
        load_measure({"name": "anchoring_trajectory", "share": options.share, "prompt": shown}),
        load_measure({"name": "anchoring_probability", "share": options.share}),
    ]
    print(f"first {options.share:.0%} of the steps, {len(problems)} problems, seed {options.seed}")
    print("| chains | right | measure | the answer | another's | shuffled |")
    print("|---|---|---|---|---|---|")
    for arm, rollouts in _arms(policy, task, problems, prompts).items():
        right = sum((r.outcome or 0) >= 0.5 for r in rollouts) / len(rollouts)
        for measure in measures:
            figures = measure.summarise(measure.measure(subject, rollouts))
            cells = [_cell(figures.get(name)) for name in ("value", "other", "shuffled")]
            name = measure.name.removeprefix("anchoring_")
            print(f"| {arm} | {right:.2f} | {name} | {' | '.join(cells)} |", flush=True)


def _subject() -> tuple[LanguageModelPolicy, Task, list[str], str]:
    """The policy, its task, the prompts it writes under, and how an answer is put in sight."""
    if options.model is not None:
        policy = load_policy({"kind": "pretrained", "model": str(options.model)})
        assert isinstance(policy, LanguageModelPolicy)
        return policy, load_task(options.task), ["neutral", "suppressed", "skeleton"], "neutral"
    if options.checkpoint is not None:
        policy = load_policy({"kind": "tiny", "checkpoint": options.checkpoint})
        assert isinstance(policy, LanguageModelPolicy)
        return policy, load_task(yaml.safe_load(options.task)), [options.prompt], options.prompt
    policy, task = load_policy({"kind": "tiny", "checkpoint": "sums"}), load_task(_SUMS)
    assert isinstance(policy, LanguageModelPolicy)
    _teach(policy, task)
    return policy, task, [_OWN_PROMPT], _OWN_PROMPT


def _teach(policy: LanguageModelPolicy, task: Task) -> None:
    hint = load_hint(_OWN_PROMPT)
    rollouts = policy.sample(
        task.problems("train", 500, options.seed),
        n=2,
        max_tokens=options.max_tokens,
        seed=options.seed,
        reasoning_end=task.reasoning_end,
    )
    rows = []
    for rollout in rollouts:
        reached = rollout.text[rollout.reasoning_end :].removeprefix("####").strip()
        if reached:
            plain, told = rollout.problem, hint.fill(rollout.problem, reached)
            rows += [Row(policy.prompt_ids(p), rollout.token_ids) for p in (plain, told)]
    fit(
        policy.model, policy.tokenizer, rows, updates=options.updates, batch_size=32,
        learning_rate=1e-3, seed=options.seed,
    )  # fmt: skip


def _arms(
    policy: LanguageModelPolicy, task: Task, problems: Sequence[Problem], prompts: Sequence[str]
) -> dict[str, list[Rollout]]:
    how = {
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
        "reasoning_end": task.reasoning_end,
    }
    arms = {"blind": policy.sample(problems, **how)}
    for prompt in prompts:
        arms[prompt] = sample_in_sight(policy, problems, prompt, **how)
    others = [problems[i - 1].answers[0] for i in range(len(problems))]
    arms["other"] = sample_in_sight(policy, problems, prompts[0], answers=others, **how)
    return {
        arm: [_closed(task, r) for r in score_rollouts(task, rollouts)]
        for arm, rollouts in arms.items()
    }


def _closed(task: Task, rollout: Rollout) -> Rollout:
    """A chain that stops without an answer gets a line for one, so that it can be asked for."""
    if rollout.text[rollout.reasoning_end :].strip():
        return rollout
    answer = str(rollout.meta.get(SHOWN) or rollout.problem.answers[0])
    text = f"{rollout.text.rstrip()}\n#### {answer}"
    bare = {"token_ids": (), "token_spans": (), "logprobs": None}
    end = task.reasoning_end(text)
    return rollout.model_copy(update={"text": text, "reasoning_end": end, **bare})


def _cell(figure: Estimate | None) -> str:
    if figure is None:
        return "–"
    interval = "" if figure.low is None else f" [{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.value:.2f}{interval}"


if __name__ == "__main__":
    main()
