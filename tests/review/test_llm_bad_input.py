"""Answers that overlap, skip or invent text, and dependencies that point nowhere: what can be
mended honestly is mended and said, the rest is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apportion.review.llm_protocol import Unparseable, read_answer
from apportion.review.llm_reading import MAX_REPAIRS, earlier_only
from apportion.trace import check_partition
from tests.review.endpoint import Answer, judged, says, serving
from tests.review.helpers import CHAIN, ask, item, llm

A, B, C = "pens cost 3 * 4 = 12", "books cost 2 * 5 = 10", "in all 12 + 10 = 22"
STEPS = item().steps
END = CHAIN.index("####")


def quotes(*entries: str | tuple[str, list[int]], **more: Any) -> str:
    steps = []
    for number, entry in enumerate(entries):
        quote, sources = entry if isinstance(entry, tuple) else (entry, [])
        label = ("useful", "harmful", "irrelevant")[number % 3]
        steps.append({"quote": quote, "label": label, "depends_on": sources} | more)
    return json.dumps({"steps": steps})


def read(content: str, lenient: bool = False):
    reading = read_answer("free", content, CHAIN, STEPS, lenient=lenient)
    check_partition(reading.steps, END)
    return reading


def cut(reading) -> list[str]:
    return [step.text(CHAIN).strip() for step in reading.steps]


def labels(reading) -> list[str | None]:
    return [verdict.label for verdict in reading.verdicts]


def test_overlapping_steps_the_later_one_keeps_the_rest():
    reading = read(quotes(A + "\nbooks cost", "books cost 2 * 5 = 10", (C, [0, 1])))
    assert cut(reading) == [A + "\nbooks cost", "2 * 5 = 10", C]
    assert labels(reading) == ["useful", "harmful", "irrelevant"]
    assert reading.verdicts[2].depends_on == (0, 1)
    assert reading.repairs == ("step 1 overlaps step 0: kept the rest of it",)


def test_a_step_inside_another_is_dropped_and_its_dependents_use_the_whole():
    reading = read(quotes(A, "3 * 4", B, (C, [1, 2])))
    assert cut(reading) == [A, B, C]
    assert labels(reading) == ["useful", "irrelevant", "useful"], "entries 0, 2 and 3"
    assert reading.verdicts[2].depends_on == (0, 1)
    assert reading.repairs == ("dropped step 1: it lies inside step 0",)


def test_the_same_words_twice_are_one_step():
    reading = read(quotes("pens cost", "pens cost"))
    assert labels(reading) == ["useful", None]
    assert reading.repairs == ("dropped step 1: it lies inside step 0",)


def test_steps_out_of_order_are_put_in_the_order_of_the_text():
    reading = read(quotes(B, A, (C, [0, 1])))
    assert cut(reading) == [A, B, C]
    assert labels(reading) == ["harmful", "useful", "irrelevant"]
    assert reading.verdicts[2].depends_on == (0, 1)
    assert reading.repairs == ("put the steps in the order of the text",)


def test_skipped_text_is_a_step_that_nobody_judged():
    reading = read(quotes(A, (C, [0])))
    assert cut(reading) == [A, B, C]
    assert reading.verdicts[1].abstains
    assert reading.verdicts[2].depends_on == (0,)
    assert reading.repairs == (), "nothing was changed"


def test_invented_text_is_asked_for_again_and_then_dropped():
    content = quotes(A, "so 1 + 1 = 3", (C, [0, 1]))
    with pytest.raises(Unparseable, match="quote of step 1 does not stand in the solution"):
        read(content)
    reading = read(content, lenient=True)
    assert cut(reading) == [A, B, C]
    assert labels(reading) == ["useful", None, "irrelevant"]
    assert reading.verdicts[2].depends_on == (0,)
    assert reading.repairs == (
        "dropped step 1: its quote is not in the text: 'so 1 + 1 = 3'",
        "dropped the dependency of step 2 on step 1: it was dropped",
    )


def test_an_answer_that_is_mostly_invented_is_no_review():
    half = quotes(A, "nothing of the kind")
    assert len(read(half, lenient=True).repairs) == 1
    with pytest.raises(Unparseable, match="quote of step 1"):
        read(quotes(A, "nothing of the kind", "nor this"), lenient=True)


def test_a_quote_of_the_final_answer_is_no_step():
    for quote in ("#### 22", "[final answer] #### 22"):
        reading = read(quotes(A, B, C, quote))
        assert cut(reading) == [A, B, C]
        assert reading.repairs == ("dropped step 3: it quotes the final answer, which is no step",)


@pytest.mark.parametrize(
    ("edges", "kept", "said"),
    [
        ([[], [1], []], (), "dropped the dependency of step 1 on itself"),
        ([[], [2], []], (), "dropped the dependency of step 1 on step 2: it comes later"),
        ([[], [7], []], (), "dropped the dependency of step 1 on step 7: there is no such step"),
        ([[], [-1], []], (), "dropped the dependency of step 1 on step -1: there is no such step"),
        (
            [[], [0, 2], [1]],
            (0,),
            "dropped the dependency of step 1 on step 2: it comes later, and depends on it in turn",
        ),
        ([[], [0, 0], []], (0,), None),
    ],
)
def test_dependencies_that_do_not_point_back(edges, kept, said):
    entries = list(zip((A, B, C), edges, strict=True))
    for reading in (
        read(quotes(*entries)),
        read_answer("steps", numbered({i: "useful" for i in range(3)}, edges), CHAIN, STEPS),
    ):
        assert reading.verdicts[1].depends_on == kept
        assert reading.repairs == ((said,) if said else ())


def test_a_longer_circle_is_told_from_a_step_ahead():
    kept, repairs = earlier_only([[1], [2], [0, 3], []], range(4))
    assert kept == [(), (), (0,), ()]
    assert [" in turn" in said for said in repairs] == [True, True, False]


def test_many_repairs_are_counted():
    edges = [[7] * 1 + [8 + i for i in range(20)], [], []]
    reading = read_answer("steps", numbered({i: "useful" for i in range(3)}, edges), CHAIN, STEPS)
    assert len(reading.repairs) == MAX_REPAIRS + 1
    assert reading.repairs[-1] == "and 1 more"


def numbered(said: dict[int, str], edges: list[list[int]] | None = None) -> str:
    steps = json.loads(judged(said))["steps"]
    for step, sources in zip(steps, edges or [], strict=False):
        step["depends_on"] = sources
    return json.dumps({"steps": steps})


def given_cut(content: str, lenient: bool = True):
    return read_answer("steps", content, CHAIN, STEPS, lenient=lenient)


def test_given_steps_that_are_skipped_abstain():
    content = numbered({0: "useful", 2: "harmful"})
    with pytest.raises(Unparseable, match="no verdict on step 1"):
        given_cut(content, lenient=False)
    reading = given_cut(content)
    assert labels(reading) == ["useful", None, "harmful"]
    assert reading.repairs == ("no verdict on step 1: counts as not judged",)
    with pytest.raises(Unparseable, match="no verdict on step 1, 2"):
        given_cut(numbered({0: "useful"}))


def test_verdicts_on_steps_that_are_not_there():
    content = numbered(dict.fromkeys(range(4), "useful"))
    with pytest.raises(Unparseable, match="there is no step 3, only 0 to 2"):
        given_cut(content, lenient=False)
    reading = given_cut(content)
    assert labels(reading) == ["useful"] * 3
    assert reading.repairs == ("dropped the verdict on step 3: there is no such step",)


def test_steps_counted_from_one_are_never_shifted_onto_their_neighbours():
    for said in ({1: "useful", 2: "harmful", 3: "useful"}, {2: "useful", 3: "useful"}):
        with pytest.raises(Unparseable, match="there is no step 3"):
            given_cut(numbered(said))


def test_a_step_judged_twice():
    same = {"step": 0, "label": "useful", "correct": True}
    other = {"step": 0, "label": "harmful", "correct": False}
    rest = [{"step": 1, "label": "useful"}, {"step": 2, "label": "useful"}]
    reading = given_cut(json.dumps({"steps": [same, same, *rest]}))
    assert labels(reading) == ["useful"] * 3
    assert reading.repairs == ("step 0 was judged 2 times: kept one of them",)
    reading = given_cut(json.dumps({"steps": [same, other, *rest]}))
    assert labels(reading) == [None, "useful", "useful"]
    assert reading.repairs == (
        "step 0 was judged 2 times: they differ, so it counts as not judged",
    )


def test_wrong_steps_that_are_not_there_are_not_mended():
    """Dropping them would turn a complaint into a clean bill."""
    for listed in ([3], [1, 3]):
        with pytest.raises(Unparseable, match="there is no step 3"):
            read_answer("wrong", json.dumps({"wrong_steps": listed}), CHAIN, STEPS, lenient=True)


def test_what_was_mended_is_in_the_record_and_costs_no_second_call():
    with serving(lambda request, n: says(quotes(B, A, (C, [0, 2])))) as server:
        (review,) = ask(llm(server.url, prompt="free"))
    assert review.ok
    assert review.meta["repairs"] == [
        "put the steps in the order of the text",
        "dropped the dependency of step 2 on itself",
    ]
    assert "repaired" not in review.meta
    assert len(server.requests) == 1


def test_what_was_invented_gets_a_second_turn_first():
    good, bad = quotes(A, B, C), quotes(A, "rope", C)
    with serving(lambda request, n: says(bad if n == 0 else good)) as server:
        (review,) = ask(llm(server.url, prompt="free"))
    assert review.ok and len(server.requests) == 2
    assert "repairs" not in review.meta and "quote of step 1" in review.meta["repaired"]


def test_a_second_answer_worse_than_the_first_does_not_undo_it():
    bad = quotes(A, "rope", C)
    with serving(lambda request, n: says(bad if n == 0 else "sorry")) as server:
        (review,) = ask(llm(server.url, prompt="free"))
    assert review.ok and len(server.requests) == 2
    assert labels(review) == ["useful", None, "irrelevant"]
    assert review.meta["repairs"] == ["dropped step 1: its quote is not in the text: 'rope'"]


def test_a_second_answer_that_never_comes_does_not_undo_the_first_either():
    def behaviour(request, number):
        return says(quotes(A, "rope", C)) if number == 0 else Answer(status=500)

    with serving(behaviour) as server:
        (review,) = ask(llm(server.url, prompt="free"))
    assert labels(review) == ["useful", None, "irrelevant"]
    assert review.usage.calls == 2


def test_more_steps_than_a_text_can_have():
    with pytest.raises(Unparseable, match="2001 steps are more than the 2000"):
        read(quotes(*["a"] * 2001), lenient=True)


PIECES = st.sampled_from(
    [
        A,
        B,
        C,
        A + "\n" + B,
        "12",
        "= 10",
        "pens ... 22",
        "3 * 4",
        "in all",
        "nowhere",
        "",
        "#### 22",
    ]
)


@settings(deadline=None)
@given(st.lists(st.tuples(PIECES, st.lists(st.integers(-2, 9), max_size=4)), max_size=8))
def test_whatever_is_quoted_the_cut_is_a_partition_whose_edges_point_back(entries):
    try:
        reading = read(quotes(*entries, instead="x"), lenient=True)
    except Unparseable:
        return
    for index, verdict in enumerate(reading.verdicts):
        assert all(0 <= source < index for source in verdict.depends_on)
    dropped = sum(said.startswith("dropped step ") for said in reading.repairs)
    judged_steps = sum(not verdict.abstains for verdict in reading.verdicts)
    assert judged_steps + dropped == len(entries), "every entry is a step, or said to be dropped"
