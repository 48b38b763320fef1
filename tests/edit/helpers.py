"""Hand-made chains: one step a line, verdicts as the reviewers agreed on them."""

from apportion.edit import edit_chain
from apportion.trace import Consensus, Problem, Rollout, StepConsensus

PROBLEM = Problem(id="p", prompt="How many?\n", answers=("12",))


def chain(*steps, answer="#### 12", outcome=1.0, name="r", body=None):
    """``steps`` are (text, label) or (text, label, depends_on) or (text, label, depends_on,
    instead); the label is "disputed" or None where nothing was agreed. A line end is added."""
    text, made = "", []
    for words, label, *rest in steps:
        words = words if body == "as given" else words + "\n"
        status = {"disputed": "disputed", None: "unreviewed"}.get(label, "agreed")
        made.append(
            StepConsensus(
                start=len(text),
                end=len(text) + len(words),
                status=status,
                label=label if status == "agreed" else None,
                depends_on=tuple(rest[0]) if rest else (),
                instead=rest[1] if len(rest) > 1 else "",
            )
        )
        text += words
    rollout = Rollout(
        id=name, problem=PROBLEM, text=text + answer, reasoning_end=len(text), outcome=outcome
    )
    return rollout, Consensus(rollout_id=name, rule="majority", steps=tuple(made), valid_reviews=1)


def edited(operations, *steps, **options):
    return edit_chain(*chain(*steps, **options), operations)


def reasoning(edit):
    return edit.text[: edit.reasoning_end].splitlines()
