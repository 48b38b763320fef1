"""Progress, cost and durations as a person reads them."""

import pytest

from apportion import Problem, Review, Rollout, Step, StepVerdict, Usage
from apportion.cli import console
from apportion.cli.summary import Spent, review_summary


def test_cost_is_unpriced_as_soon_as_one_call_is() -> None:
    spent = Spent()
    assert spent.line() == "cost: no calls" and spent.short() == ""
    spent.add(Usage(calls=2, prompt_tokens=900, completion_tokens=100, usd=0.25))
    assert spent.line() == "cost: 2 calls, 1,000 tokens, $0.2500"
    assert spent.short() == "1,000 tokens, $0.2500"
    spent.add(Usage(cached=True))
    assert spent.line().endswith("$0.2500, 1 review from the cache")
    spent.add(Usage(calls=1, prompt_tokens=5))
    assert spent.line() == "cost: 3 calls, 1,005 tokens, unpriced, 1 review from the cache"


def rollout(name: str, outcome: float | None) -> Rollout:
    problem = Problem(id="p", prompt="")
    return Rollout(id=name, problem=problem, text="1+1=3\n", reasoning_end=6, outcome=outcome)


def test_the_summary_counts_what_can_be_counted() -> None:
    wrong = Review(
        rollout_id="a",
        reviewer="r",
        steps=(Step(0, 6),),
        verdicts=(StepVerdict(label="harmful", correct=False),),
    )
    silent = Review(rollout_id="b", reviewer="r", steps=(Step(0, 6),), verdicts=(StepVerdict(),))
    failed = [Review(rollout_id=n, reviewer="r", error=e) for n, e in (("c", "x"), ("d", "429"))]
    more = Review(rollout_id="d", reviewer="q", error="429")
    rollouts = [rollout("a", 1.0), rollout("b", 1.0), rollout("c", 1.0), rollout("d", None)]
    lines = review_summary(rollouts, [wrong, silent, *failed, more], {"rule": "majority"})
    assert lines == [
        "4 traces, 3 of 3 scored ones right",
        # abstentions and failures are no reviews that could have found a wrong step
        "right answers that hold a wrong step: 1 of 1 reviewed (100.0%)",
        "5 reviews, 3 failed, most often: 429",
        "cost: no calls",
    ]
    assert "hold a wrong step" not in "".join(review_summary(rollouts, [silent], {}))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_plain_progress_says_rate_rest_and_cost_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 5.0, 20.0, 20.0, 25.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.Progress("review", 100, plain=True) as progress:
        progress.advance(10)  # after 5 s: too soon to speak
        progress.advance(30, "1,000 tokens, unpriced")
        progress.advance(10)  # 5 s later: too soon
        progress.advance(50)  # the end speaks through the summary
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "review: 40/100, 2.0/s, 30 s left, 1,000 tokens, unpriced\n"
