"""``apportion sample --search``: several candidates, and a reviewer chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from apportion.errors import UserError, nearest
from apportion.trace import Problem, Rollout

if TYPE_CHECKING:
    from apportion.policies import Policy

KINDS = ("best-of-n", "beam")


def searching(
    policy: Policy,
    search: str | None,
    judge: str | None,
    candidates: int,
    width: int,
    in_sight: str | None,
    segmenter: str,
) -> Callable[..., list[Rollout]]:
    """A function with the arguments of ``Policy.sample`` that gives the chosen completion of each
    problem.

    Raises UserError where search or judge is missing or unknown, or the policy has no weights.
    """
    from apportion.cli.specs import parse_spec
    from apportion.policies.language_model import LanguageModelPolicy
    from apportion.policies.search import How, beam_search, best_of_n
    from apportion.review import load_reviewer
    from apportion.review.step_scores import judge as judge_by

    if search is None:
        raise UserError("--judge chooses among the candidates of --search: add best-of-n or beam")
    if search not in KINDS:
        raise UserError(
            f"--search '{search}': use {' or '.join(KINDS)}{nearest(search, list(KINDS))}"
        )
    if judge is None:
        raise UserError(f"--search {search} needs a --judge, such as step_model:path=FOLDER")
    if in_sight is not None:
        raise UserError("--search and --in-sight exclude each other")
    if not isinstance(policy, LanguageModelPolicy):
        raise UserError(f"--search: policy '{policy.name}' is no language model that can go on")
    if search == "beam" and candidates % width:
        raise UserError(f"--search beam: -n {candidates} is no multiple of --width {width}")
    reviewer = load_reviewer(parse_spec(judge, "kind"))
    run = best_of_n if search == "best-of-n" else beam_search

    def draw(
        problems: list[Problem],
        *,
        temperature: float,
        max_tokens: int,
        seed: int,
        reasoning_end: Callable[[str], int],
        **_: Any,
    ) -> list[Rollout]:
        how = How(candidates, width, temperature, max_tokens, seed=seed)
        score = judge_by(reviewer, segmenter=segmenter, reasoning_end=reasoning_end)
        return run(policy, problems, score, how, reasoning_end=reasoning_end)

    return draw
