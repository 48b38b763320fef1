"""A small run to ask about: two completions of one prompt, reviewed and credited."""

from __future__ import annotations

import json
from pathlib import Path

from apportion.credit import load_method
from apportion.credit.apply import credit_rollouts
from apportion.review.arithmetic import judge
from apportion.segment import segment
from apportion.trace import Problem, Review, Rollout, StepVerdict

PROMPT = "Tom buys 3 pens for 4 dollars each and 2 books for 5 dollars each. How much is it?\n"
RIGHT = "pens cost 3 * 4 = 12\nbooks cost 2 * 5 = 10\nin all 12 + 10 = 22\n#### 22"
WRONG = "pens cost 3 * 4 = 14\nbooks cost 2 * 5 = 10\nin all 14 + 10 = 24\n#### 24"
CAPO = {"method": "capo"}


def rollout(text: str, name: str, outcome: float | None) -> Rollout:
    return Rollout(
        id=name,
        problem=Problem(id="p", prompt=PROMPT, answers=("22",)),
        text=text,
        token_ids=tuple(range(len(text))),
        token_spans=tuple((i, i + 1) for i in range(len(text))),
        outcome=outcome,
        reasoning_end=text.index("####"),
        group="g",
        update=7,
    )


ROLLOUTS = (rollout(RIGHT, "u7/0/0", 1.0), rollout(WRONG, "u7/0/1", 0.0))


def reviews() -> list[Review]:
    """``arithmetic``; ``strict``, which calls each last step wrong; and one that fails."""
    found = []
    for made in ROLLOUTS:
        steps = segment(made.text, made.reasoning_end)
        found.append(
            Review(
                rollout_id=made.id,
                reviewer="arithmetic",
                steps=steps,
                verdicts=judge(PROMPT, made.text, steps),
            )
        )
        strict = [StepVerdict(), StepVerdict(), StepVerdict(label="harmful", reason="too bold")]
        found.append(
            Review(rollout_id=made.id, reviewer="strict", steps=steps, verdicts=tuple(strict))
        )
        found.append(Review(rollout_id=made.id, reviewer="down", error="HTTP 500"))
    return found


def write_run(path: Path, *, reviewed: bool = True, credited: bool = True) -> Path:
    """The run of an arm, without a checkpoint."""
    path.mkdir(parents=True)
    said = reviews() if reviewed else []
    config = {"credit": {"method": "dca"}, "consensus": {"rule": "majority"}}
    (path / "config.yaml").write_text(json.dumps(config))
    records = {"rollouts": list(ROLLOUTS), "reviews": said, "credit": []}
    if credited:
        records["credit"] = credit_rollouts(ROLLOUTS, said, load_method("dca"), name="dca")
    for kind, rows in records.items():
        if rows:
            text = "".join(row.model_dump_json() + "\n" for row in rows)
            (path / f"{kind}.jsonl").write_text(text)
    return path
