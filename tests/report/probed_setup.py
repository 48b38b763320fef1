"""A directory of probes and edits, small enough to know every number."""

from __future__ import annotations

from pathlib import Path

from apportion.segment import segment
from apportion.trace import Edit, EditSpan, Probe, Problem, Review, Rollout, StepVerdict
from tests.report.synthetic import HOSTILE, write_lines

LINES = ("pens 3 * 4 = 12\n", "the bag is old\n", "in all 12 + 9 = 21\n")
TEXT = "".join(LINES) + "#### 21"
END = TEXT.index("####")
STEPS = segment(TEXT, END)
# Without step 1 and 3 the answer is lost; step 2 is called useful by one reviewer.
NEED = (0.62, 0.01, 0.4)
DISTRIBUTION = [[0.1, 0.5], [0.2, 0.6], [0.2, 0.6], [0.9, 0.05]]


def rollout(name="a", policy="careful", text=TEXT):
    return Rollout(
        id=name,
        problem=Problem(id="p", prompt="How much?", answers=("22",)),
        text=text,
        outcome=0.0,
        reasoning_end=text.index("####"),
        policy=policy,
    )


def probe(measure, value=0.5, of="a", **more):
    given = {"steps": tuple(tuple(s) for s in STEPS), "scoring": "probability"} | more
    return Probe(rollout_id=of, problem_id="p", measure=measure, value=value, **given)


def probes(of="a"):
    influence = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.5, 0.01, 0.0]]
    return [
        probe("step_deletion", 0.62, of, by_step=NEED),
        probe(
            "forced_answer", 0.8, of,
            by_step=(0.1, 0.0, 0.7),
            curve=((0.0, 0.1), (1 / 3, 0.2), (2 / 3, 0.2), (1.0, 0.9)),
            meta={"answers": ["21", f"22 {HOSTILE}"], "distribution": DISTRIBUTION},
        ),
        probe("step_mediation", 0.1, of, by_step=(0.5, None, -0.3)),
        probe("attention_suppression", 2.0, of, by_step=(0.2, 0.01, 2.0),
              meta={"influence": influence}),
        Probe(rollout_id=of, problem_id="p", measure="filler", error="too long for the context"),
    ]  # fmt: skip


def review(of="a"):
    labels = ("useful", "useful", "harmful")
    verdicts = tuple(
        StepVerdict(label=label, depends_on=(0,) if k == 2 else ())
        for k, label in enumerate(labels)
    )  # fmt: skip
    return Review(rollout_id=of, reviewer="llm", steps=STEPS, verdicts=verdicts)


def edit(of="a"):
    """Step 2 deleted, step 3 in front of step 1, and a line inserted."""
    text = LINES[2] + LINES[0] + "so it is 21\n" + "#### 21"
    a, b, c = len(LINES[2]), len(LINES[2] + LINES[0]), len(text) - len("#### 21")
    spans = (
        EditSpan(0, a, "moved", (STEPS[2].start, STEPS[2].end)),
        EditSpan(a, b, "kept", (0, len(LINES[0]))),
        EditSpan(b, c, "inserted", None),
        EditSpan(c, len(text), "kept", (END, len(TEXT))),
    )
    return Edit(
        rollout_id=of, asked=("delete", "reorder"), operations=("delete", "reorder"), text=text,
        reasoning_end=c, spans=spans, why=("step 2 is used by nobody",), answered=4, right=3,
    )  # fmt: skip


def write_probed(path: Path, policy="careful", **given) -> Path:
    path.mkdir(parents=True)
    write_lines(path / "rollouts.jsonl", [rollout(policy=policy)])
    write_lines(path / "reviews.jsonl", given.get("reviews", [review()]))
    write_lines(path / "probes.jsonl", given.get("probes", probes()))
    write_lines(path / "edits.jsonl", given.get("edits", [edit()]))
    return path
