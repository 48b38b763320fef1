"""Does a judge of steps choose better than a vote?

    python benchmarks/search.py [--problems 150] [--seed 0]       # about 3 minutes on one core

The tiny policy for sums writes n chains a problem. Chosen among them: by chance (the first), by
majority vote over the answers, by a step model that was distilled from exact reviews or learned
from outcomes alone (best of n), and by exact arithmetic, which is what a perfect step model would
do. Beam search has as many candidates a step, judged by the first and the last of these. Printed:
accuracy with 95 % intervals over problems, the difference to the vote, paired, and tokens.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence

from apportion.edit.answer import stated
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.search import How, Scorer, beam_search
from apportion.policies.tiny import load_tiny
from apportion.review import load_reviewer
from apportion.review.learned import StepModelReviewer
from apportion.review.panel import Item, review_now
from apportion.review.step_scores import judge
from apportion.segment import segment
from apportion.stats import mean, paired_bootstrap, stratified_bootstrap
from apportion.tasks import Task, load_task
from apportion.trace import Problem, Rollout
from apportion.train.measure.evaluate import score_rollouts
from apportion.train.step_model import Fit, fit, from_outcomes, from_reviews

_MAX_TOKENS = 72

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--problems", type=int, default=150)
parser.add_argument("--train-problems", type=int, default=300)
parser.add_argument("--operations", type=int, nargs=2, default=(5, 6))
parser.add_argument("--n", type=int, nargs="+", default=(4, 16))
parser.add_argument("--over", default="min", help="how a chain's steps count: min or product")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()


def main() -> None:
    task = load_task(
        {"kind": "sums", "operations": list(options.operations), "terms": [1, 9], "largest": 60}
    )
    policy = load_tiny("sums")
    judges = _judges(policy, task)
    problems = task.problems("test", options.problems, options.seed)
    rollouts = _sample(policy, task, problems, max(options.n), options.seed + 1)
    by_problem: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        by_problem[rollout.problem.id].append(rollout)
    scores = {name: _scores(score, rollouts) for name, score in judges.items()}
    print(f"sums {options.operations}, {len(problems)} problems, seed {options.seed}")
    print("| n | chosen by | accuracy | beyond the vote | tokens a problem |")
    print("|---|---|---|---|---|")
    for n in options.n:
        first = {key: some[:n] for key, some in by_problem.items()}
        right = {
            "chance": {key: _right(some[0]) for key, some in first.items()},
            "majority": {key: _right(_majority(some)) for key, some in first.items()},
        }
        for name, of in scores.items():
            right[name] = {
                key: _right(max(some, key=lambda r: of[r.id])) for key, some in first.items()
            }
        right["any of them is right"] = {k: max(map(_right, some)) for k, some in first.items()}
        tokens = mean_of([len(r.token_ids) for some in first.values() for r in some]) * n
        for name, found in right.items():
            _print(n, name, found, right["majority"], tokens)
        width = max(2, int(n**0.5))
        how = How(n, width, 1.0, _MAX_TOKENS, 24, options.seed + 2)
        for name in ("step model", "exact arithmetic"):
            beams = beam_search(
                policy, problems, judges[name], how, reasoning_end=task.reasoning_end
            )
            found = {r.problem.id: _right(r) for r in score_rollouts(task, beams)}
            sampled = mean_of([float(r.meta["sampled"]) for r in beams])
            _print(n, f"beam of {width}, {name}", found, right["majority"], sampled)


def _judges(policy: LanguageModelPolicy, task: Task) -> dict[str, Scorer]:
    """Two step models that learned from completions of training problems, and exact arithmetic."""
    problems = task.problems("train", options.train_problems, options.seed)
    rollouts = _sample(policy, task, problems, 4, options.seed)
    cuts = {r.id: segment(r.text, r.reasoning_end) for r in rollouts}
    items = [Item(r.problem, r.text, cuts[r.id], r.outcome, r.id) for r in rollouts]
    reviews = [review for row in review_now([load_reviewer("gold")], items) for review in row]
    models = {
        "step model": fit(from_reviews(rollouts, reviews), teacher="gold", seed=options.seed),
        "step model of outcomes": fit(
            from_outcomes(rollouts, cuts), teacher="outcome", target="outcome", seed=options.seed
        ),
    }
    for name, found in models.items():
        print(f"{name}: {_agreement(found)} on {found.held_out} held-out steps")
    reviewers = {name: StepModelReviewer(found.model) for name, found in models.items()}
    how = {"over": options.over, "reasoning_end": task.reasoning_end}
    judges = {name: judge(reviewer, **how) for name, reviewer in reviewers.items()}
    return judges | {"exact arithmetic": judge(load_reviewer("arithmetic"), **how)}


def _sample(
    policy: LanguageModelPolicy, task: Task, problems: Sequence[Problem], n: int, seed: int
) -> list[Rollout]:
    found = policy.sample(
        problems, n=n, max_tokens=_MAX_TOKENS, seed=seed, reasoning_end=task.reasoning_end
    )
    return score_rollouts(task, found)


def _scores(score: Scorer, rollouts: Sequence[Rollout]) -> dict[str, float]:
    found = score([(r.problem, r.text) for r in rollouts])
    return {r.id: -1.0 if s is None else s for r, s in zip(rollouts, found, strict=True)}


def _majority(rollouts: Sequence[Rollout]) -> Rollout:
    """The first chain with the most common answer; chains without one have no vote."""
    votes = Counter(answer for r in rollouts if (answer := stated(r)) is not None)
    if not votes:
        return rollouts[0]
    most = votes.most_common(1)[0][0]
    return next(r for r in rollouts if stated(r) == most)


def _right(rollout: Rollout) -> float:
    return float((rollout.outcome or 0.0) >= 0.5)


def mean_of(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _agreement(found: Fit) -> str:
    return "–" if found.agreement is None else f"{found.agreement.value:.3f} agreement"


def _print(
    n: int, name: str, found: dict[str, float], vote: dict[str, float], tokens: float
) -> None:
    share = stratified_bootstrap(list(found.values()), mean)
    more = paired_bootstrap(vote, found)
    assert share is not None and more is not None
    print(
        f"| {n} | {name} | {share.value:.3f} [{share.low:.3f}, {share.high:.3f}] "
        f"| {more.value:+.3f} [{more.low:+.3f}, {more.high:+.3f}] | {tokens:.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
