"""Trajectory anchoring: does seeing the answer make the writing surer?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from apportion.faithfulness.anchoring import Anchoring
from apportion.faithfulness.subject import Framed, Subject
from apportion.policies.hint import load_hint
from apportion.trace import Problem

_PLACES = (0.10, 0.25, 0.50, 0.75, 0.90)
_AT_ONCE = 16


class AnchoringTrajectory(Anchoring):
    """Mean, over places in the chain, of H(next token | question, chain so far) -
    H(next token | question, answer, chain so far), in nats, after 10, 25, 50, 75 and 90 % of its
    tokens.

    ``prompt`` is how the answer is put in sight, a prompt file with {problem} and {answer}. High:
    the policy is surer of how to go on once it sees the answer, so the chain is steered by it.
    ``parts`` also has ``kl``, the mean KL (nats) of the next-token distribution without the answer
    from the one with it. Below 0 where the prompt is one that the policy is not used to. Source:
    A_traj of Peng et al. 2026 (arXiv 2602.14469).
    """

    name = "anchoring_trajectory"
    claims = "whether the answer in sight steers the writing"
    blind = "steering that leaves the entropy as it is (see kl); prompts the policy never learned"
    higher = "the answer steers the writing more"
    source = "Peng et al. 2026, arXiv 2602.14469, A_traj"
    needs = frozenset({"model"})

    prompt: str = Field(default="neutral", min_length=1)

    def figures(
        self, subject: Subject, frames: Sequence[Framed], answers: Sequence[str]
    ) -> list[tuple[float | None, dict[str, float | None]]]:
        hint = load_hint(self.prompt)
        found: list[tuple[float | None, dict[str, float | None]]] = []
        pairs = list(zip(frames, answers, strict=True))
        chains = [self._ids(subject, frame) for frame in frames]
        asked = [hint.fill(frame.rollout.problem, answer) for frame, answer in pairs]
        for start in range(0, len(pairs), _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, len(pairs)))
            plain = [frames[i].rollout.problem for i in part]
            ids = [chains[i] for i in part]
            without = _next(subject, plain, ids)
            given = _next(subject, [asked[i] for i in part], ids)
            found += [_gap(p_TV, q_TV) for p_TV, q_TV in zip(without, given, strict=True)]
        return found

    def _ids(self, subject: Subject, frame: Framed) -> list[int]:
        text = frame.opening + self.body(frame)
        return list(subject.policy.tokenizer(text, add_special_tokens=False).input_ids)


def _next(
    subject: Subject, problems: Sequence[Problem], ids: Sequence[list[int]]
) -> list[np.ndarray]:
    """Log-probabilities (5, V) of the next token at the five places of each chain."""
    from apportion.policies.hindsight import next_logps

    policy = subject.policy
    before = [policy.prompt_ids(problem) for problem in problems]
    subject.tokens += sum(len(a) + len(b) for a, b in zip(before, ids, strict=True))
    if subject.counts_only:
        return [np.zeros((1, 1)) for _ in ids]
    policy.check_context(problems, max(map(len, ids)))
    scores = next_logps(policy.model, before, ids, policy.tokenizer.pad_token_id)
    return [
        logps_TV[[min(len(tokens) - 1, int(place * len(tokens))) for place in _PLACES]]
        .double()
        .cpu()
        .numpy()
        for logps_TV, tokens in zip(scores, ids, strict=True)
    ]


def _gap(p_TV: np.ndarray, q_TV: np.ndarray) -> tuple[float, dict[str, float | None]]:
    """Entropy gap and KL(p || q), means over the rows, in nats."""
    entropies = [-(np.exp(logps_TV) * logps_TV).sum(1).mean() for logps_TV in (p_TV, q_TV)]
    kl = (np.exp(p_TV) * (p_TV - q_TV)).sum(1).mean()
    return float(entropies[0] - entropies[1]), {"kl": float(kl)}
