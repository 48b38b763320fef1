"""What reviewing cost, by hand."""

import json
import random

import numpy as np
import pytest

from apportion import Credit, Problem, Review, Rollout, Step, StepVerdict, Usage, UserError
from apportion.records import RunDirectory
from apportion.report.cost import SQUARE, cost_of_run, growth_of

PROBLEM = Problem(id="p", prompt="q", answers=("1",))


def rollout(name: str, tokens: int) -> Rollout:
    text = "x" * tokens
    return Rollout(
        id=name,
        problem=PROBLEM,
        text=text,
        token_ids=tuple(range(tokens)),
        token_spans=tuple((i, i + 1) for i in range(tokens)),
        outcome=1.0,
        reasoning_end=tokens,
    )


def review(name: str, by: str = "llm", *, critique: int = 0, error: str | None = None, **usage):
    cut = () if error else (Step(0, 1),)
    return Review(
        rollout_id=name,
        reviewer=by,
        critique=critique,
        steps=cut,
        verdicts=() if error else (StepVerdict(label="useful"),),
        error=error,
        usage=Usage(**usage),
        meta={"prompt": "steps"} if by == "llm" else {},
    )


def asked(prompt=0, completion=0, seconds=0.0, usd=None):
    return {
        "calls": 1,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "seconds": seconds,
        "usd": usd,
    }


def credit(name: str, tokens: int) -> Credit:
    return Credit(rollout_id=name, method="dca", values=(1.0,) * tokens, advantages=(0.5,) * tokens)


def written(path, rollouts, reviews, credits=(), metrics=()):
    with RunDirectory(path) as run:
        run.append("rollouts", *rollouts)
        run.append("reviews", *reviews)
        run.append("credit", *credits)
        for line in metrics:
            run.append("metrics", line)
    return path


def test_every_figure_of_a_small_run(tmp_path):
    rollouts = [rollout("a", 10), rollout("b", 30), rollout("c", 60)]
    reviews = [
        review("a", **asked(100, 20, 1.0, 0.01)),
        review("a", critique=1, **asked(100, 40, 2.0, 0.02)),
        review("b", **asked(140, 20, 1.0, 0.03)),
        review("c", error="no reply", **asked(200, 0, 4.0, 0.0)),
        review("b", critique=1, cached=True, usd=0.0),
        review("a", "arithmetic"),
        review("c", "arithmetic"),
        review("b", "step_model", seconds=0.003, usd=0.0),
    ]
    metrics = [
        {"update": 1, "split": "train", "metrics": {"train/seconds": 2.5}},
        {"update": 2, "split": "train", "metrics": {"train/seconds": 3.5}},
    ]
    path = written(tmp_path / "run", rollouts, reviews, metrics=metrics)
    found = cost_of_run(path)
    assert found.train_seconds == 6.0
    arithmetic, llm, learned = found.reviewers
    assert [c.reviewer for c in found.reviewers] == ["arithmetic", "llm", "step_model"]
    assert (llm.reviews, llm.failed, llm.cached, llm.calls) == (5, 1, 1, 4)
    assert (llm.prompt_tokens, llm.completion_tokens) == (540, 80)
    assert llm.usd == pytest.approx(0.06)
    # Trace a once for both critiques, b once; the review of c failed.
    assert llm.credited_tokens == 40
    assert llm.per_credited_token("tokens") == pytest.approx(620 / 40)
    assert llm.per_credited_token("seconds") == pytest.approx(8 / 40)
    assert llm.per_credited_token("usd") == pytest.approx(0.06 / 40)
    # Chains of 10, 10, 30 and 60 tokens were sent in the four calls.
    assert llm.context_ratio == pytest.approx(540 / 110)
    assert llm.total_ratio == pytest.approx(620 / 110)
    assert llm.prompts == {"steps"}
    assert {growth.form for growth in llm.growth.values()} == {"undecided"}
    assert arithmetic.credited_tokens == 70
    assert arithmetic.per_credited_token("tokens") == 0.0
    assert arithmetic.per_credited_token("seconds") is None
    assert arithmetic.context_ratio is None
    assert learned.per_credited_token("seconds") == pytest.approx(0.0001)


def test_only_traces_with_credit_count_where_credit_was_recorded(tmp_path):
    rollouts = [rollout("a", 10), rollout("b", 30)]
    reviews = [review("a", **asked(8)), review("b", **asked(8))]
    path = written(tmp_path / "run", rollouts, reviews, [credit("b", 30)])
    (llm,) = cost_of_run(path).reviewers
    assert llm.credited_tokens == 30
    assert llm.usd is None and llm.per_credited_token("usd") is None


def test_arms_are_added_up_though_their_ids_are_the_same(tmp_path):
    for arm in ("dca-s0", "dca-s1"):
        written(tmp_path / arm, [rollout("a", 10)], [review("a", **asked(5))])
    (llm,) = cost_of_run(tmp_path).reviewers
    assert (llm.credited_tokens, llm.calls, llm.paid_chain_tokens) == (20, 2, 20)


def test_a_run_without_reviews_is_refused(tmp_path):
    written(tmp_path / "run", [rollout("a", 3)], [])
    with pytest.raises(UserError, match=r"no reviews\.jsonl with reviews"):
        cost_of_run(tmp_path / "run")


def points(cost, chains=60, noise=0.02, seed=0):
    rng = random.Random(seed)
    lengths = [rng.randint(20, 200) for _ in range(chains)]
    return [(str(i), n, cost(n) * (1 + noise * rng.gauss(0, 1))) for i, n in enumerate(lengths)]


def test_linear_cost_is_called_linear():
    growth = growth_of(points(lambda n: 400 + 3 * n))
    assert growth.form == "linear"
    assert growth.fixed == pytest.approx(400, rel=0.1)
    assert growth.per_token == pytest.approx(3, rel=0.1)
    assert growth.low <= 0 <= growth.high


def test_quadratic_cost_is_called_quadratic_and_its_share_is_right():
    growth = growth_of(points(lambda n: 5 * n + 0.1 * n * n, noise=0.0))
    # Of the cost of 200 tokens, 5 * 200 + 0.1 * 200^2 = 5000, the square is 4000.
    assert growth.form == "quadratic"
    assert growth.square_share == pytest.approx(
        0.1 * growth.longest / (5 + 0.1 * growth.longest), rel=1e-6
    )
    assert growth.low > SQUARE


def test_much_noise_leaves_it_undecided():
    assert growth_of(points(lambda n: 5 * n, chains=12, noise=1.0)).form == "undecided"


@pytest.mark.parametrize(
    "lengths", [[50] * 20, [10, 20, 30], list(range(100, 120)), [10, 100] * 10, []]
)
def test_too_few_or_too_equal_chains_are_not_fitted(lengths):
    growth = growth_of([(str(i), n, 2.0 * n) for i, n in enumerate(lengths)])
    assert (growth.form, growth.square_share) == ("undecided", None)


def test_several_calls_on_a_chain_are_not_independent():
    once = points(lambda n: 300 + 2 * n, chains=30, noise=0.2)
    often = [point for point in once for _ in range(20)]
    one, many = growth_of(once), growth_of(often)
    assert many.chains == one.chains == 30
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.2)


def test_the_claims_of_attention_are_checked_on_a_run(tmp_path):
    """A reviewer whose prompt is three chains long and who writes one more: its tokens grow
    linearly, the pairs that attention forms with the square."""
    rng = np.random.default_rng(0)
    rollouts, reviews = [], []
    for i, n in enumerate(rng.integers(20, 300, 50).tolist()):
        rollouts.append(rollout(f"r{i}", n))
        reviews.append(review(f"r{i}", **asked(3 * n, n, 0.1)))
    (llm,) = cost_of_run(written(tmp_path / "run", rollouts, reviews)).reviewers
    assert llm.context_ratio == pytest.approx(3.0)
    assert llm.growth["tokens"].form == "linear"
    assert llm.growth["attended_pairs"].form == "quadratic"
    assert llm.growth["attended_pairs"].square_share == pytest.approx(1.0, abs=0.01)
    assert json.loads(json.dumps(llm.as_json()))["growth"]["tokens"]["form"] == "linear"
