"""Run directories as training and the stages write them, made without a model.

The texts come from a small generator of word problems, the consensus and credit from the package
itself, and the learning curves from a formula. Some texts are hostile: they hold HTML, script
ends, emoji, right-to-left and control characters.
"""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apportion.consensus import consensus
from apportion.credit import Group, Sample, group_advantage, load_method, to_record
from apportion.segment import segment
from apportion.stats import wilson
from apportion.trace import Problem, Review, Rollout, Step, StepVerdict, Usage

ARMS = ("outcome", "capo", "dca", "shuffled")
HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
)
EXTRAS = (
    HOSTILE,
    "<!--<script>",
    "\U0001f9ee the \U0001f468‍\U0001f469‍\U0001f467 pays",
    "שלום 3 * 4 עולם",
    "‮reversed‬ text",
    "{{ 7 * 7 }} &amp; <b>bold</b>",
)
ASKED = Usage(calls=1, prompt_tokens=420, completion_tokens=90, seconds=1.3)
GOODS = ["pens", "books", "apples", "lamps", "chairs", "stamps", "plates", "ropes"]


@dataclass
class Chain:
    """A text with its steps, and which of them are wrong or irrelevant."""

    prompt: str
    answer: str
    text: str
    wrong: set[int]
    idle: set[int]
    right: bool


def chain(number: int, rng: random.Random, skill: float, hostile: str = "") -> Chain:
    problem = random.Random(number)
    goods = problem.sample(GOODS, problem.randint(2, 4))
    counts = [(problem.randint(2, 9), problem.randint(2, 12)) for _ in goods]
    parts = [f"{n} {what} for {p} dollars each" for what, (n, p) in zip(goods, counts, strict=True)]
    prompt = f"Tom buys {', '.join(parts)}. His bag is 7 years old. How many dollars does he pay?\n"
    lines, wrong, idle, total, true_total = [], set(), set(), 0, 0
    for what, (n, p) in zip(goods, counts, strict=True):
        slip = rng.choice([-10, -1, 1, 10]) if rng.random() > skill else 0
        if slip:
            wrong.add(len(lines))
        lines.append(f"{what} cost {n} * {p} = {n * p + slip}")
        total += n * p + slip
        true_total += n * p
        if rng.random() < 0.2:
            idle.add(len(lines))
            lines.append("his bag is 7 years old, which is not very old for a bag")
    if hostile:
        idle.add(len(lines))
        lines.append(hostile)
    lines.append(f"in all he pays {total} dollars")
    answer = true_total if rng.random() < 0.15 else total
    text = "\n".join(lines) + f"\n#### {answer}"
    return Chain(prompt, str(true_total), text, wrong, idle, answer == true_total)


def token_spans(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in re.finditer(r"\d|\s|[^\W\d]+|.", text, re.DOTALL))


def review(
    made: Chain, rollout: Rollout, steps: tuple[Step, ...], reviewer: str, rng: random.Random
) -> Review:
    """``arithmetic`` is exact and abstains on prose; ``llm`` errs one time in six, or fails."""
    exact = reviewer == "arithmetic"
    if not exact and rng.random() < 0.06:
        usage = Usage(calls=1, seconds=30.0)
        return Review(
            rollout_id=rollout.id, reviewer=reviewer, error="timed out after 30 s", usage=usage
        )
    verdicts = []
    for index, step in enumerate(steps):
        text = step.text(rollout.text)
        wrong = index in made.wrong
        if not exact and rng.random() < 1 / 6:
            wrong = not wrong
        uses = tuple(i for i in range(index) if "* " in steps[i].text(rollout.text))
        uses = uses if "in all" in text else ()
        if exact and "=" not in text and "in all" not in text:
            verdicts.append(StepVerdict(reason="no equation to check"))
        elif wrong:
            number = re.search(r"\d+\s*$", text)
            verdicts.append(
                StepVerdict(
                    label="harmful",
                    correct=False,
                    depends_on=uses,
                    reason=f"the product is not {number[0].strip() if number else 'that'}",
                    focus=(step.start + number.start(), step.end) if number else None,
                    confidence=0.97 if exact else 0.8,
                )
            )
        elif index in made.idle:
            verdicts.append(StepVerdict(label="irrelevant", reason="says nothing about the price"))
        else:
            reason = "checked: the equation holds" if exact else f"follows; {HOSTILE}"
            verdicts.append(
                StepVerdict(label="useful", correct=True, depends_on=uses, reason=reason)
            )
    usage = (
        Usage() if exact else Usage(calls=1, prompt_tokens=420, completion_tokens=90, seconds=1.3)
    )
    return Review(
        rollout_id=rollout.id,
        reviewer=reviewer,
        steps=steps,
        verdicts=tuple(verdicts),
        usage=Usage() if exact else ASKED,
    )


def write_lines(path: Path, records: list) -> None:
    with path.open("a", encoding="utf-8") as file:
        for record in records:
            file.write((record if isinstance(record, str) else record.model_dump_json()) + "\n")


def write_records(
    path: Path,
    *,
    problems: int,
    group: int,
    methods: tuple[str, ...],
    seed: int,
    skill: float = 0.8,
    updates: int = 10,
    policy: str = "",
    extras: tuple[str, ...] = EXTRAS,
) -> None:
    path.mkdir(parents=True, exist_ok=True)
    rollouts, reviews, credits = [], [], []
    for number in range(problems):
        samples, outcomes = [], []
        for g in range(group):
            rng = random.Random(f"{seed} {policy} {number} {g}")
            hostile = extras[number % len(extras)] if extras and g == 0 else ""
            made = chain(number, rng, skill, hostile)
            rollout = _rollout(made, number, g, number * updates // problems, policy)
            steps = segment(rollout.text, rollout.reasoning_end)
            own = [review(made, rollout, steps, name, rng) for name in ("arithmetic", "llm")]
            voted = consensus(own, rollout.reasoning_end, rollout_id=rollout.id)
            spans = np.array(rollout.token_spans)
            outcomes.append(float(made.right))
            mask = np.ones(len(spans), bool)
            samples.append(Sample(rollout.id, outcomes[-1], mask, spans, voted))
            rollouts.append(rollout)
            reviews += own
        whole = Group(tuple(samples), group_advantage(np.array(outcomes)), seed=seed)
        for method in methods:
            assigned = load_method(method).assign(whole)
            pairs = zip(samples, assigned, strict=True)
            credits += [to_record(method, sample, credit) for sample, credit in pairs]
    write_lines(path / "rollouts.jsonl", rollouts)
    write_lines(path / "reviews.jsonl", reviews)
    write_lines(path / "credit.jsonl", credits)


def _rollout(made: Chain, number: int, g: int, update: int, policy: str) -> Rollout:
    spans = token_spans(made.text)
    return Rollout(
        id=f"p{number}-{g}",
        problem=Problem(id=f"p{number}", prompt=made.prompt, answers=(made.answer,)),
        text=made.text,
        token_ids=tuple(range(len(spans))),
        token_spans=spans,
        outcome=float(made.right),
        reasoning_end=made.text.rindex("####"),
        policy=policy,
        update=None if policy else update,
        finish="stop",
    )


def write_metrics(path: Path, arm: str, seed: int, updates: int, every: int = 10) -> None:
    """A saturating curve: ``capo`` and ``dca`` are faster, ``shuffled`` is like ``outcome``."""
    rng = random.Random(f"{arm} {seed}")
    speed = {"capo": 2.4, "dca": 1.7}.get(arm, 1.0)
    shift = rng.gauss(0, 0.012)
    lines = []
    for update in range(0, updates + 1):
        done = speed * update / updates
        accuracy = 0.42 + 0.36 * (1 - math.exp(-1.6 * done)) + shift
        count = {"review/calls": 256.0, "review/tokens": 130560.0, "review/failed": 0.06}
        train: dict = {
            "reward/mean": round(accuracy - 0.08 + rng.gauss(0, 0.03), 4),
            "credit/agreed_tokens": 0.8,
            "credit/disputed_tokens": round(0.2 - 0.05 * done + rng.gauss(0, 0.01), 4),
            "review/usd": None,
            "review/seconds": 330.0,
            "train/grad_norm": round(abs(rng.gauss(0.8, 0.2)), 4),
        }
        if arm == "outcome":
            count = {"review/calls": 0.0, "review/tokens": 0.0, "review/failed": 0.0}
        if arm == "shuffled" and update in (31, 32):
            count["review/failed"] = 1.0
        if arm == "capo" and seed == 1 and update == 50:
            train["alarm"] = "collapse at update 50: accuracy 0.412 after 0.655"
        lines.append(_line(update, "train", train | count))
        if update % every == 0:
            lines.append(_line(update, "validation", _evaluation(accuracy, rng, done)))
            if update == updates:
                lines.append(_line(update, "test", _evaluation(accuracy - 0.01, rng, done)))
    path.mkdir(parents=True, exist_ok=True)
    write_lines(path / "metrics.jsonl", lines)


def _evaluation(accuracy: float, rng: random.Random, done: float) -> dict:
    n = 200
    right = min(n, max(0, round(n * accuracy + rng.gauss(0, 2))))
    lucky = round(right * max(0.01, 0.12 - 0.04 * done))
    errors = round(640 * (0.26 - 0.08 * done))
    return {
        "eval/accuracy": _share(right, n),
        "eval/pass@4": _share(min(n, right + 25), n),
        "eval/step_error_rate": _share(errors, 640),
        "eval/right_with_wrong_step": _share(lucky, right),
        "eval/length": {"value": 36 - 4 * done + rng.gauss(0, 0.4), "n": n},
        "eval/steps": 3.4,
    }


def _share(k: int, n: int) -> dict:
    low, high = wilson(k, n)
    return {"value": k / n, "n": n, "low": low, "high": high}


def _line(update: int, split: str, metrics: dict) -> str:
    line = {"update": update, "rollouts": update * 128, "split": split, "metrics": metrics}
    return json.dumps(line)


def write_training_run(
    path: Path,
    *,
    arms: tuple[str, ...] = ARMS,
    seeds: int = 3,
    updates: int = 60,
    problems: int = 40,
    group: int = 4,
    methods: tuple[str, ...] = ARMS,
) -> Path:
    for arm in arms:
        for seed in range(seeds):
            part = path / f"{arm}-s{seed}"
            write_metrics(part, arm, seed, updates)
            write_records(
                part,
                problems=problems,
                group=group,
                methods=methods,
                seed=seed * 100 + ARMS.index(arm),
                updates=updates,
            )
    question = "Does step credit teach word problems in fewer rollouts than outcome credit?"
    config = f"name: words_quickstart\nquestion: {question}\narms: [{', '.join(arms)}]\n"
    config += f"seeds: {list(range(seeds))}\ntask: {{kind: words}}\n"
    (path / "config.yaml").write_text(config)
    manifest = {
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:15:45+00:00",
        "command": ["apportion", "train", "recipes/words_quickstart.yaml"],
        "seeds": list(range(seeds)),
        "versions": {"python": "3.11.7", "apportion": "0.1.0", "torch": "2.13.0"},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def write_stage_run(path: Path, *, problems: int = 60, policies: tuple[str, ...] = ("",)) -> Path:
    for policy in policies:
        write_records(path, problems=problems, group=4, methods=ARMS, seed=5, policy=policy)
    return path
