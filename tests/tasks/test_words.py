"""The generator knows its own graph, and its answer does not depend on the texts it writes."""

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.tasks import load_task, validate_task
from apportion.tasks.arithmetic import arithmetic
from apportion.tasks.words import reread

SPLITS = ["train", "validation", "test"]


def one(seed, operations=(1, 8), split="train", **options):
    task = load_task({"kind": "words", "operations": list(operations), **options})
    return task, task.problems(split, 1, seed)[0]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 8), st.sampled_from(SPLITS))
def test_written_steps_give_the_answer_that_the_tree_gives(seed, operations, split):
    _, problem = one(seed, (operations, operations), split)
    steps = problem.meta["steps"]
    assert len(steps) == problem.meta["operations"] == operations
    known = {}
    for index, step in enumerate(steps):
        label_and_expression, result = step["text"].split(" = ")
        assert label_and_expression.endswith(step["expression"])
        assert arithmetic(step["expression"]) == Fraction(result) == step["result"]
        known[index] = step["result"]
    assert problem.answers == (str(steps[-1]["result"]),)
    assert reread(problem) == []


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_edges_reach_the_answer_from_every_step(seed):
    _, problem = one(seed)
    edges = [tuple(edge) for edge in problem.meta["edges"]]
    assert all(i < j for i, j in edges)
    reached = {problem.meta["operations"] - 1}
    for i, j in sorted(edges, key=lambda edge: -edge[1]):
        if j in reached:
            reached.add(i)
    assert reached == set(range(problem.meta["operations"]))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**9))
def test_prompt_states_each_number_once_and_distractors_are_extra(seed):
    _, problem = one(seed, distractors=[2, 2])
    story = problem.prompt
    for fact in problem.meta["distractors"]:
        assert fact in story
        story = story.replace(fact, "", 1)
    stated = sorted(int(number) for number in re.findall(r"\d+", story))
    assert stated == [int(number) for number in problem.meta["numbers"].split()]
    assert story.strip().endswith("?") and problem.prompt.endswith("?\n")


@pytest.mark.parametrize("family", ["money", "groups", "journeys", "shares"])
@pytest.mark.parametrize("split", SPLITS)
def test_every_family_has_problems_of_every_length_in_every_split(family, split):
    for operations in range(1, 9):
        _, problem = one(3, (operations, operations), split, families=[family])
        assert problem.meta["template"].startswith(f"{family}/")


def test_splits_share_no_template_and_no_numbers():
    task = load_task({"kind": "words", "operations": [1, 8]})
    seen = {}
    for split in SPLITS:
        found = [p for seed in range(3) for p in task.problems(split, 1000, seed)]
        seen[split] = (
            {p.meta["template"] for p in found},
            {tuple(p.meta["numbers"].split()) for p in found},
        )
    for one_split, other in [("train", "validation"), ("train", "test"), ("validation", "test")]:
        for ours, theirs in zip(seen[one_split], seen[other], strict=True):
            assert ours and not ours & theirs


def test_numbers_of_a_problem_are_those_its_prompt_states_not_a_label():
    """The disjointness test reads meta: meta must tell the truth about the prompt."""
    task = load_task({"kind": "words", "distractors": [0, 0]})
    for problem in task.problems("test", 200, 0):
        stated = sorted(map(int, re.findall(r"\d+", problem.prompt)))
        assert " ".join(map(str, stated)) == problem.meta["numbers"]


def test_held_out_splits_use_no_new_words():
    """Else accuracy there would measure unknown tokens."""
    task = load_task({"kind": "words", "operations": [1, 8]})

    def words(split):
        texts = (p.prompt + task.gold_completion(p) for p in task.problems(split, 1500, 0))
        return {word for text in texts for word in re.findall(r"[A-Za-z]+", text)}

    train = words("train")
    assert len(train) <= 250
    assert words("validation") <= train and words("test") <= train


def test_problems_depend_on_seed_split_and_index_only():
    task = load_task("words")
    assert task.problems("train", 50, 1)[:20] == load_task("words").problems("train", 20, 1)
    assert task.problems("train", 20, 1) != task.problems("train", 20, 2)
    # Pinned: the hash must not change between processes, machines or versions.
    first = task.problems("test", 1, 0)[0]
    assert first.id == "words-test-0-0"
    assert first.prompt == PINNED


PINNED = (
    "Mia has 8 boxes and each holds 11 plums. Then each bag gets 8 of all these "
    "things. Mia is 32 years old. It rained for 57 minutes. How many bags does she "
    "need?\n"
)


def test_difficulty_is_bounded_as_asked():
    options = {"kind": "words", "largest": 60, "terms": [2, 9], "factors": [2, 3]}
    for problem in load_task(options).problems("train", 200, 0):
        assert all(1 <= step["result"] <= 60 for step in problem.meta["steps"])


def test_chains_are_not_all_linear():
    problems = load_task({"kind": "words", "operations": [3, 5]}).problems("train", 300, 0)
    linear = sum(
        all(step["uses"] == [i - 1] for i, step in enumerate(p.meta["steps"]) if i)
        for p in problems
    )
    assert linear < 0.55 * len(problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#### {gold}", 1.0),
        ("pens cost 3 * 4 = 13\n#### {gold}", 1.0),
        ("#### {gold}.0", 1.0),
        ("#### ${gold}", 1.0),
        ("#### {wrong}", 0.0),
        ("{gold}", 0.0),
        ("in all 1 + 1 = {gold}", 0.0),
        ("#### {gold} or {wrong}", 0.0),
        ("#### {wrong}\n#### {gold}", 0.0),
        ("#### {gold}{gold}", 0.0),
        ("####", 0.0),
        ("#### {gold} + 0", 0.0),
        ("", 0.0),
    ],
)
def test_score(text, expected):
    task, problem = one(5)
    gold = problem.answers[0]
    assert task.score(problem, text.format(gold=gold, wrong=int(gold) + 1)) == expected


def test_no_gold_answer_is_undecided_not_wrong():
    task, problem = one(5)
    unknown = problem.model_copy(update={"answers": ()})
    assert task.score(unknown, "#### 1") is None
    assert task.gold_completion(unknown) is None


def test_validates_itself_and_reread_notices_damage():
    task, problem = one(7, (3, 3))
    assert validate_task(task, 50) == []
    step = problem.meta["steps"][0]
    damaged = {**step, "text": step["text"] + "1"}
    meta = {**problem.meta, "steps": [damaged, *problem.meta["steps"][1:]]}
    assert reread(problem.model_copy(update={"meta": meta}))
