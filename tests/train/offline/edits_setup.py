"""A directory as ``apportion edit`` writes it, made by hand."""

from pathlib import Path

from apportion.records import RunDirectory
from apportion.tasks import load_task
from apportion.trace import Edit, EditSpan, Rollout

TASK = load_task({"kind": "words", "operations": [1, 1]})


def write_source(folder: Path, *, problems=8, verified=True, split="train") -> Path:
    """For each problem a right rollout with a detour, edited away, and a wrong one, refused."""
    with RunDirectory(folder) as run:
        run.write_config({"stage": "edit"})
        run.write_manifest(["edit"])
        for problem in TASK.problems(split, problems, 0):
            gold = str(TASK.gold_completion(problem))
            end = TASK.reasoning_end(gold)
            long = rollout(problem, "so 2 + 2 = 4\n" + gold, "long", 1.0)
            wrong = rollout(problem, gold[:end] + "#### 0", "wrong", 0.0)
            cut = len("so 2 + 2 = 4\n")
            spans = (EditSpan(0, end, "moved", (cut, cut + end)),)
            spans += (EditSpan(end, len(gold), "kept", (cut + end, cut + len(gold))),)
            made = Edit(
                rollout_id=long.id,
                asked=("delete",),
                operations=("delete",),
                text=gold,
                reasoning_end=end,
                spans=spans,
                answered=2 if verified else 0,
                right=1.0 if verified else 0.0,
            )
            run.append("rollouts", long, wrong)
            refused = made.model_copy(update={"rollout_id": wrong.id, "refused": "wrong"})
            run.append("edits", made, refused)
    return folder


def rollout(problem, text, name, outcome):
    return Rollout(
        id=f"{problem.id}/{name}",
        problem=problem,
        text=text,
        reasoning_end=TASK.reasoning_end(text),
        outcome=outcome,
        group=problem.id,
    )
