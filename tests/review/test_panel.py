"""Many reviewers, many rollouts, at once; and the loop that trainers use."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from apportion.errors import UserError
from apportion.review import Item, ReviewLoop, load_reviewer, review_all, review_now
from apportion.review.scripted import ScriptedReviewer
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Review, StepVerdict
from tests.review.helpers import item

RIGHT = StepVerdict(label="useful", correct=True)


def agreeable(problem, text, steps, critique):
    return [RIGHT] * len(steps)


def many(count: int) -> list[Item]:
    return [item(rollout_id=f"r{i}") for i in range(count)]


def test_reviews_come_back_in_order_whoever_is_first():
    async def uneven(problem, text, steps, critique):
        await asyncio.sleep(0.001 * ((critique * 7) % 5))
        return [RIGHT] * len(steps)

    panel = [
        ScriptedReviewer(uneven, critiques=3, name="slow"),
        load_reviewer("arithmetic"),
    ]
    rows = review_now(panel, many(20))
    assert [[(r.rollout_id, r.reviewer, r.critique) for r in row] for row in rows] == [
        [
            (f"r{i}", "slow", 0),
            (f"r{i}", "slow", 1),
            (f"r{i}", "slow", 2),
            (f"r{i}", "arithmetic", 0),
        ]
        for i in range(20)
    ]


def test_everything_is_in_progress_together():
    slow = ScriptedReviewer(agreeable, delay=0.1, name="a", critiques=2)
    other = ScriptedReviewer(agreeable, delay=0.1, name="b")
    started = time.monotonic()
    review_now([slow, other], many(20))
    assert time.monotonic() - started < 1.0
    assert slow.at_once == 40
    assert other.at_once == 20


def test_the_cap_is_per_reviewer():
    slow = ScriptedReviewer(agreeable, delay=0.01, name="a")
    other = ScriptedReviewer(agreeable, delay=0.01, name="b")
    review_now([slow, other], many(12), max_concurrency=3)
    assert (slow.at_once, other.at_once) == (3, 3)


def test_a_reviewer_that_raises_gives_failed_reviews_that_name_the_exception():
    def broken(problem, text, steps, critique):
        raise KeyError("verdict")

    def wrong_count(problem, text, steps, critique):
        return [RIGHT]

    panel = [
        ScriptedReviewer(broken, name="broken"),
        ScriptedReviewer(wrong_count, name="short"),
        load_reviewer("arithmetic"),
    ]
    ((raised, short, good),) = review_now(panel, [item()])
    assert raised.error == "KeyError: 'verdict'"
    assert short.error is not None
    assert short.error.startswith("ValidationError")
    assert "3 steps but 1 verdicts" in short.error
    assert good.ok


def test_a_reviewer_that_hangs_is_given_up_on():
    slow = ScriptedReviewer(agreeable, delay=60.0, name="slow")
    started = time.monotonic()
    ((late, good),) = review_now([slow, load_reviewer("arithmetic")], [item()], timeout=0.1)
    assert late.error == "no review within 0.1 s"
    assert good.ok
    assert time.monotonic() - started < 5


def test_a_timeout_inside_a_reviewer_is_not_taken_for_the_panels():
    def times_out(problem, text, steps, critique):
        raise TimeoutError("mine")

    ((review,),) = review_now([ScriptedReviewer(times_out)], [item()], timeout=5)
    assert review.error == "TimeoutError: mine"


def test_reviews_are_announced_as_they_arrive():
    seen: list[Review] = []
    rows = review_now([ScriptedReviewer(agreeable, critiques=2)], many(5), on_review=seen.append)
    assert sorted((r.rollout_id, r.critique) for r in seen) == sorted(
        (r.rollout_id, r.critique) for row in rows for r in row
    )


def test_what_the_announcement_raises_ends_the_panel():
    def disk_full(review: Review) -> None:
        raise OSError("no space left")

    slow = ScriptedReviewer(agreeable, delay=60.0, name="slow")
    started = time.monotonic()
    with pytest.raises(OSError, match="no space left"):
        review_now([load_reviewer("arithmetic"), slow], many(3), on_review=disk_full)
    assert time.monotonic() - started < 5


def test_two_reviewers_of_one_name_are_refused():
    with pytest.raises(UserError, match="2 reviewers are named 'arithmetic'"):
        review_now([load_reviewer("arithmetic"), load_reviewer("arithmetic")], [item()])


def test_nothing_to_do():
    assert review_now([], many(2)) == [[], []]
    assert review_now([load_reviewer("arithmetic")], []) == []


def test_fast_reviewers_let_the_others_breathe():
    """Replies of a slow reviewer are taken in while thousands of instant reviews are made."""
    arrived: list[str] = []
    slow = ScriptedReviewer(agreeable, delay=0.02, name="slow")
    items = [one._replace(text=one.text + "\n" * n) for n, one in enumerate(many(3000))]
    panel = [load_reviewer("arithmetic"), slow]
    review_now(panel, items, on_review=lambda review: arrived.append(review.reviewer))
    assert "slow" in arrived[:2500]


def test_the_loop_works_beside_its_owner_and_ends():
    with ReviewLoop() as loop:
        slow = ScriptedReviewer(agreeable, delay=0.2)
        future = loop.submit(review_all([slow], many(4)))
        assert not future.done(), "the owner goes on meanwhile"
        rows = future.result(timeout=5)
        hanging = loop.submit(review_all([ScriptedReviewer(agreeable, delay=600)], many(1)))
        time.sleep(0.05)
    assert len(rows) == 4
    assert hanging.cancelled() or hanging.exception() is not None
    assert "apportion-reviews" not in [thread.name for thread in threading.enumerate()]
    loop.close()
    with pytest.raises(RuntimeError, match="the review loop is closed"):
        loop.submit(review_all([], []))


def test_review_now_works_inside_a_running_loop():
    async def notebook_cell():
        return review_now([load_reviewer("arithmetic")], [item()])

    assert asyncio.run(notebook_cell())[0][0].ok


def test_offline_reviews_are_cheap():
    """Groups of eight completions of a problem, a quarter of them with an error."""
    task = load_task({"kind": "words", "operations": [5, 5]})
    items = []
    for problem in task.problems("train", 100, seed=0):
        texts = [plant.text for plant in task.corruptions(problem, seed=0)]
        gold = task.gold_completion(problem) or ""
        for k, text in enumerate((texts + [gold] * 8)[:8]):
            steps = segment(text, task.reasoning_end(text), "line")
            items.append(Item(problem, text, steps, 1.0, f"{problem.id}/{k}"))
    panel = [load_reviewer("arithmetic"), load_reviewer("gold")]
    started = time.process_time()
    review_now(panel, items)
    # Some 4,000 a second on an idle core; the bound only catches what slows it by a factor.
    assert 2 * len(items) / (time.process_time() - started) > 800


def test_reviews_say_which_family_their_reviewer_is_of():
    plain, named = (
        load_reviewer({"kind": "arithmetic", "name": name} | more)
        for name, more in (("a", {}), ("b", {"family": "exact"}))
    )
    ((one, two),) = review_now([plain, named], [item()])
    assert "family" not in one.meta and two.meta["family"] == "exact"
    assert one.verdicts == two.verdicts


@pytest.mark.parametrize(("family", "message"), [("", "a name is needed"), (3, "not 3")])
def test_a_family_is_a_name(family, message):
    with pytest.raises(UserError, match=message):
        load_reviewer({"kind": "arithmetic", "family": family})
