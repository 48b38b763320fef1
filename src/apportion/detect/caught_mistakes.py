"""Mistake-then-catch pairs: a wrong step and, later, its own correction.

Where credit cannot fall below nothing, such a pair pays: the mistake costs no more than its
tokens and the catch looks useful.
"""

from __future__ import annotations

from collections import defaultdict

from apportion.detect.chain import Chain, Sum
from apportion.detect.finding import Detection, Finding, detection
from apportion.review.reading import Value
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
    wrong: dict[tuple[Value, ...], list[int]] = defaultdict(list)
    computed: set[tuple[tuple[Value, ...], Value | None]] = set()
    for place, catch in enumerate(chain.sums):
        operands = tuple(sorted(catch.operands))
        corrects = catch.key not in computed and _said(chain, catch)
        candidates = range(place) if corrects else wrong[operands]
        for before in reversed(candidates):
            if before not in taken and _pair(chain, before, place, corrects):
                taken.update((before, place))
                findings.append(_finding(chain, chain.sums[before], catch))
                break
        computed.add(catch.key)
        if catch.right is False:
            wrong[operands].append(place)
    return detection(chain, findings)


def _said(chain: Chain, catch: Sum) -> bool:
    """Whether words of correction lead to the catch, from any mistake before it."""
    own = [s for _, s in chain.of_step[catch.step] if s.end <= catch.start]
    # Before its own step it is the same words that lead to it, whichever the mistake.
    return any(CORRECTING.search(_between(chain, s, catch)) for s in (None, *own))


def _pair(chain: Chain, before: int, after: int, corrects: bool) -> bool:
    mistake, catch = chain.sums[before], chain.sums[after]
    if catch.right is False or mistake.stated == catch.stated or mistake.stated is None:
        return False
    if mistake.right is False and sorted(mistake.operands) == sorted(catch.operands):
        return True
    return (
        corrects
        and bool(set(mistake.operands) & set(catch.operands))
        and CORRECTING.search(_between(chain, mistake, catch)) is not None
        and chain.uses_after(before, mistake.stated) == 0
    )


def _between(chain: Chain, mistake: Sum | None, catch: Sum) -> str:
    """The words that lead to the catch: of its own step, after the mistake."""
    start = max(chain.steps[catch.step].start, 0 if mistake is None else mistake.end)
    return chain.text[start : catch.end].lstrip()


def _finding(chain: Chain, mistake: Sum, catch: Sum) -> Finding:
    """The pair is taken out whole."""
    steps = tuple(dict.fromkeys((mistake.step, catch.step)))
    spans = tuple(chain.steps[index] for index in steps)
    return Finding(KIND, steps, spans, f"corrects {chain.text[mistake.start : mistake.end]}")
