"""Mistake-then-catch pairs: a wrong step and, later, its own correction.

Where credit cannot fall below nothing, such a pair pays: the mistake costs no more than its
tokens and the catch looks useful.
"""

from __future__ import annotations

from apportion.detect.chain import Chain, Sum
from apportion.detect.finding import Detection, Finding, detection
from apportion.review.reading.phrases import CORRECTING

KIND = "caught_mistakes"


def caught_mistakes(chain: Chain) -> Detection:
    """Share of steps that belong to such a pair. Two sums are one where

    - the first does not hold and the second, from the same numbers, does; or
    - words of correction lead to the second, the two share a number they start from and differ in
      result, nothing takes the first result, and the second was not computed before.

    Both may stand in one step. Each sum is in one pair at most, the nearest before it.
    """
    findings = []
    taken: set[int] = set()
    for place, catch in enumerate(chain.sums):
        for before in range(place - 1, -1, -1):
            if before not in taken and _pair(chain, before, place):
                taken.update((before, place))
                findings.append(_finding(chain, chain.sums[before], catch))
                break
    return detection(chain, findings)


def _pair(chain: Chain, before: int, after: int) -> bool:
    mistake, catch = chain.sums[before], chain.sums[after]
    if catch.right is False or mistake.stated == catch.stated or mistake.stated is None:
        return False
    if mistake.right is False and sorted(mistake.operands) == sorted(catch.operands):
        return True
    return (
        bool(set(mistake.operands) & set(catch.operands))
        and CORRECTING.search(_between(chain, mistake, catch)) is not None
        and chain.uses_after(before, mistake.stated) == 0
        and all(catch.key != s.key for s in chain.sums[:after])
    )


def _between(chain: Chain, mistake: Sum, catch: Sum) -> str:
    """The words that lead to the catch: of its own step, after the mistake."""
    start = max(chain.steps[catch.step].start, mistake.end)
    return chain.text[start : catch.end].lstrip()


def _finding(chain: Chain, mistake: Sum, catch: Sum) -> Finding:
    """The pair is taken out whole."""
    steps = tuple(dict.fromkeys((mistake.step, catch.step)))
    spans = tuple(chain.steps[index] for index in steps)
    return Finding(KIND, steps, spans, f"corrects {chain.text[mistake.start : mistake.end]}")
