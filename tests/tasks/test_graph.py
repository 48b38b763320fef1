"""Questions about a path through a graph: drawn, and read from Coconut's files."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion import UserError
from apportion.tasks import load_task, validate_task
from apportion.tasks.graph import problem_of, write_rows

# A row as in data/prosqa_*.json, made up here.
ROW = {
    "question": "Every dab is a vusk. Tom is a dab. Every mog is a zib. Is Tom a vusk or zib?",
    "answer": "Tom is a vusk.",
    "steps": ["Tom is a dab.", "Every dab is a vusk."],
    "idx_to_symbol": ["Tom", "dab", "vusk", "mog", "zib"],
    "edges": [[1, 2], [0, 1], [3, 4]],
    "root": 0,
    "target": 2,
    "neg_target": 4,
}


def test_a_row_by_hand():
    task, problem = load_task("graph"), problem_of(ROW, "x")
    assert problem.prompt == ROW["question"] + "\n"
    gold = "Tom is a dab.\nEvery dab is a vusk.\n#### Tom is a vusk."
    assert task.gold_completion(problem) == gold
    assert problem.meta["values"] == ["dab", "vusk"] and problem.meta["hops"] == 2
    assert task.score(problem, gold) == 1.0
    assert task.score(problem, "#### tom is a  vusk") == 1.0
    assert task.score(problem, "#### Tom is a zib.") == 0.0
    assert task.score(problem, "Tom is a vusk.") == 0.0


def test_numbers_are_compared_as_numbers():
    row = {"question": "1+1?", "answer": "2", "steps": ["<<1+1=2>>"]}
    task, problem = load_task("graph"), problem_of(row, "x")
    assert [task.score(problem, f"#### {n}") for n in ("2.0", "3", "two")] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("style", ["sentences", "arrows"])
@pytest.mark.parametrize(("hops", "dead_ends"), [([1, 1], 0), ([3, 6], 5)])
def test_it_validates_itself(style, hops, dead_ends):
    spec = {"kind": "graph", "style": style, "hops": hops, "dead_ends": dead_ends}
    assert validate_task(load_task(spec), 50) == []


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(0, 6),
    st.sampled_from(["sentences", "arrows"]),
    st.integers(0, 99),
)
def test_the_chain_is_in_the_question_and_ends_at_the_answer(hops, dead_ends, style, seed):
    task = load_task(
        {"kind": "graph", "hops": [hops, hops], "dead_ends": dead_ends, "style": style}
    )
    (problem,) = task.problems("train", 1, seed)
    graph, chain = problem.meta["graph"], problem.meta["chain"]
    assert len(chain) == hops and all(step in problem.prompt for step in chain)
    names = graph["idx_to_symbol"]
    assert len(set(names)) == len(names) == 2 * (hops + 1 + dead_ends)
    assert len(graph["edges"]) == 2 * (hops + dead_ends)
    assert problem.meta["values"][-1] == names[graph["target"]]
    assert names[graph["target"]] in problem.answers[0]
    # Both answers are named, and end an edge of the question.
    ends = [b for _, b in graph["edges"]]
    assert graph["target"] in ends and graph["neg_target"] in ends
    assert graph["neg_target"] not in [a for a, _ in graph["edges"]]


def test_the_right_answer_is_named_first_half_of_the_time():
    problems = load_task({"kind": "graph", "style": "arrows"}).problems("train", 400, 0)
    first = [p.prompt.split("? ")[1].split(" ")[0] == p.answers[0] for p in problems]
    assert 160 < sum(first) < 240


def test_a_graph_with_two_answers_is_a_complaint(tmp_path):
    row = ROW | {"edges": [[1, 2], [0, 1], [3, 4], [1, 3]]}
    file = tmp_path / "all.json"
    file.write_text(json.dumps([row]))
    task = load_task({"kind": "graph", "path": str(file)})
    split = next(s for s in ("train", "validation", "test") if task._rows[s])
    task._rows["test"] = task._rows[split]
    assert task.validate(1) == ["graph-test-0: the other answer can be reached too"]


def test_files_of_coconut_load_as_they_are(tmp_path):
    for name, count in (("train", 3), ("valid", 1), ("test", 2)):
        rows = [ROW | {"question": f"{name} {i} {ROW['question']}"} for i in range(count)]
        (tmp_path / f"prosqa_{name}.json").write_text(json.dumps(rows))
    task = load_task({"kind": "graph", "path": str(tmp_path)})
    assert validate_task(task, 5) == []
    assert len(task.problems("validation", 5, 0)) == 1 and len(task.problems("test", 5, 0)) == 2
    train = task.problems("train", 7, 0)
    assert len(train) == 7 and len({p.prompt for p in train[:3]}) == 3
    assert task.gold_completion(train[0]).endswith("#### Tom is a vusk.")


def test_what_is_written_is_read_again(tmp_path):
    drawn = load_task({"kind": "graph", "style": "arrows"}).problems("test", 4, 0)
    write_rows(tmp_path / "x_test.json", drawn)
    task = load_task({"kind": "graph", "path": str(tmp_path)})
    again = {p.prompt: p for p in task.problems("test", 9, 1)}
    assert {p.prompt: (p.answers, p.meta) for p in drawn} == {
        k: (p.answers, p.meta) for k, p in again.items()
    }
    with pytest.raises(UserError, match="has no rows for split 'train'"):
        task.problems("train", 1, 0)


def test_a_single_file_is_split_by_question(tmp_path):
    rows = [ROW | {"question": f"{i} {ROW['question']}"} for i in range(60)]
    (tmp_path / "all.json").write_text(json.dumps(rows))
    task = load_task({"kind": "graph", "path": str(tmp_path / "all.json")})
    found = [{p.prompt for p in task.problems(s, 60, 0)} for s in ("train", "validation", "test")]
    assert len(found[0] | found[1] | found[2]) == 60 and sum(map(len, found)) == 60
    assert len(found[0]) > len(found[1]) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hops": [3, 2]}, r"option hops: \[3, 2\] is not \[low, high\]"),
        ({"style": "arrows", "hops": [5, 5], "dead_ends": 8}, "names for 7 dead ends at 5 hops"),
        ({"style": "letters"}, "option style"),
        ({"pth": "x"}, "unknown option 'pth'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        load_task({"kind": "graph"} | options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not JSON"),
        ("{}", "expected a list of rows"),
        ("[1]", "row 1 is no object"),
        ('[{"question": "x", "answer": "y"}]', "row 1: 'steps' must be a list of texts"),
        ('[{"question": "x", "answer": 3, "steps": []}]', "row 1: 'answer' must be text"),
    ],
)
def test_bad_files(tmp_path, content, message):
    file = tmp_path / "data.json"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        load_task({"kind": "graph", "path": str(file)}).problems("train", 1, 0)


def test_no_file_and_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        load_task({"kind": "graph", "path": str(tmp_path / "none.json")}).problems("train", 1, 0)
    with pytest.raises(UserError, match="ends in train, valid or test"):
        load_task({"kind": "graph", "path": str(tmp_path)}).problems("train", 1, 0)
