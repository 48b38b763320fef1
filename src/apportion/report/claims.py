"""Pre-registered claims against what was measured: confirmed, refuted, or undecided and why.

The evidence is one value for each arm and seed, paired by seed; the interval is Student's t over
seeds (``stats.t_interval``). A claim is confirmed where the whole 95 % interval lies on the
expected side, refuted where it lies wholly on the other, and undecided otherwise. Seeds that the
recipe names and that have not finished leave a claim undecided, so that looking early cannot
decide it. Each claim is judged by itself, without adjustment for how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from apportion.config.claims import Claim
from apportion.errors import UserError
from apportion.reach import reach_ratio_t
from apportion.records import write_text_atomic
from apportion.report.data import BASELINE, Part, Run, load_run
from apportion.report.evidence import Evidence, gather
from apportion.report.measures import WINDOW, measure, reward_curve, unit_of
from apportion.report.sweep import Relation, relation
from apportion.stats import Estimate, paired_differences, t_interval
from apportion.trace import Record

FEWEST_SEEDS = 3
INTERVAL = "95 % Student's t over paired seeds"
MINUS, DIVIDE = "\N{MINUS SIGN}", "\N{DIVISION SIGN}"
Outcome = Literal["confirmed", "refuted", "undecided"]


class Interval(BaseModel):
    """A figure of a sweep; no bounds where there are none."""

    model_config = ConfigDict(frozen=True)
    value: float
    low: float | None = None
    high: float | None = None


class Verdict(BaseModel):
    """What became of a claim. ``compared`` says in words what ``effect`` is, to be held against
    ``reference``; ``seeds`` is how many it rests on, ``values`` what each arm and seed measured.
    ``reason`` is a sentence. In JSON a bound without limit is null."""

    model_config = ConfigDict(frozen=True)
    claim: Claim
    verdict: Outcome
    reason: str
    compared: str
    unit: str = ""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    reference: float = 0.0
    seeds: int = 0
    notes: tuple[str, ...] = ()
    relation: dict[str, Interval] | None = None
    values: dict[str, dict[int, float]] = {}

    @property
    def estimate(self) -> Estimate | None:
        if self.effect is None:
            return None
        return Estimate(self.effect, self.seeds, self.low, self.high)


class Verdicts(Record):
    """``verdicts.json``. ``registered`` is False for claims that came after the run."""

    runs: tuple[str, ...]
    registered: bool = True
    interval: str = INTERVAL
    verdicts: tuple[Verdict, ...]


class _Found(NamedTuple):
    """What the measured values say of a claim, before it is held against the expectation."""

    compared: str
    reference: float
    unit: str
    estimate: Estimate | None
    relation: Relation | None = None
    lacking: str = ""


def judge_runs(paths: Sequence[Path | str], claims: Sequence[Claim] | None = None) -> Verdicts:
    """Judge the claims of run directories; several runs count as one with all their seeds.

    ``claims`` given here replace those of the recipes and are marked as not registered. Raises
    UserError where a path is no run, where runs cannot be pooled, or where there are no claims.
    """
    runs = [load_run(path) for path in paths]
    wanted = list(claims) if claims is not None else registered_claims(runs)
    if not wanted:
        raise UserError(f"{paths[0]}: its recipe makes no claims")
    return Verdicts(
        runs=tuple(str(path) for path in paths),
        registered=claims is None,
        verdicts=tuple(judge(wanted, gather(runs))),
    )


def write_verdicts(run_dir: Path | str) -> Path | None:
    """Write ``verdicts.json`` into a run directory; None where its recipe makes no claims."""
    run_dir = Path(run_dir)
    if not registered_claims([load_run(run_dir)]):
        return None
    path = run_dir / "verdicts.json"
    write_text_atomic(path, judge_runs([run_dir]).model_dump_json(indent=2) + "\n")
    return path


def verdicts_of(run: Run) -> list[Verdict]:
    """For the page and the card; claims that cannot be read become a note there."""
    try:
        return judge(registered_claims([run]), gather([run]))
    except UserError as error:
        run.notes.append(f"{error}.")
        return []


def registered_claims(runs: Sequence[Run]) -> list[Claim]:
    """The claims in the configurations, each once.

    Raises UserError for one that cannot be read, or that two runs make differently.
    """
    found: dict[str, Claim] = {}
    for run in runs:
        for raw in run.config.get("claims") or ():
            try:
                claim = Claim.model_validate(raw)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, ("claims", *first["loc"])))
                raise UserError(f"{run.path}/config.yaml: {where}: {first['msg']}") from None
            if found.setdefault(claim.name, claim) != claim:
                raise UserError(f"{run.path}: claim {claim.name} is not that of the other runs")
    return list(found.values())


def judge(claims: Sequence[Claim], evidence: Evidence) -> list[Verdict]:
    return [_judge(claim, evidence) for claim in claims]


def _judge(claim: Claim, evidence: Evidence) -> Verdict:
    values = evidence.each(claim.names, partial(_measure, claim=claim))
    found = _find(claim, evidence, values)
    estimate = found.estimate
    gaps = evidence.gaps(claim.names, values, claim.measure)
    if not gaps and estimate is None:
        gaps = [found.lacking]
    elif not gaps and estimate is not None and estimate.n < FEWEST_SEEDS:
        counted = f"{estimate.n} seed{'s' if estimate.n != 1 else ''}"
        gaps = [f"{counted}, and at least {FEWEST_SEEDS} are needed"]
    if gaps:
        outcome, reason = "undecided", "; ".join(gaps)
    else:
        outcome, reason = decide(claim, found.reference, estimate)
    return Verdict(
        claim=claim,
        verdict=outcome,
        reason=reason,
        compared=found.compared,
        unit=found.unit,
        effect=estimate.value if estimate else None,
        low=estimate.low if estimate else None,
        high=estimate.high if estimate else None,
        reference=found.reference,
        seeds=estimate.n if estimate else 0,
        notes=tuple(evidence.stopped(claim.names)),
        relation=_as_record(found.relation),
        values={} if claim.measure == "reach_ratio" else values,
    )


def _measure(part: Part, claim: Claim) -> float | None:
    return measure(part, claim.measure, claim.at, claim.split)


def decide(claim: Claim, reference: float, estimate: Estimate | None) -> tuple[Outcome, str]:
    """The verdict on a whole interval, and where that lies."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return "undecided", "there is no interval"
    low, high, margin = estimate.low - reference, estimate.high - reference, claim.margin
    inside = -margin <= low and high <= margin
    if claim.expect == "equal":
        if inside:
            return "confirmed", "the whole interval is within the margin"
        if low > margin or high < -margin:
            return "refuted", "the whole interval is outside the margin"
        return "undecided", "the interval reaches beyond the margin and into it"
    bound = margin if claim.expect == "greater" else -margin
    at = f"{reference + bound:.6g}".replace("-", MINUS)
    if low > bound:
        return ("confirmed" if claim.expect == "greater" else "refuted"), (
            f"the whole interval is above {at}"
        )
    if high < bound:
        return ("confirmed" if claim.expect == "less" else "refuted"), (
            f"the whole interval is below {at}"
        )
    return "undecided", f"the interval holds {at}"


def _find(claim: Claim, evidence: Evidence, values: Mapping[str, Mapping[int, float]]) -> _Found:
    if claim.sweep:
        return _of_sweep(claim, values)
    assert claim.arm is not None
    if claim.measure == "reach_ratio":
        return _of_reach(claim, claim.arm, evidence)
    unit, own = unit_of(claim.measure), values.get(claim.arm, {})
    if isinstance(claim.against, str):
        pairs = paired_differences(values.get(claim.against, {}), own)
        compared = f"{claim.arm} {MINUS} {claim.against}"
        return _Found(compared, 0.0, unit, t_interval(pairs), lacking="no seed is in both arms")
    return _Found(claim.arm, claim.against, unit, t_interval([*own.values()]))


def _of_reach(claim: Claim, arm: str, evidence: Evidence) -> _Found:
    """Curves of the sampled reward, to the level at which the other arm ends."""
    is_arm = isinstance(claim.against, str)
    base = claim.against if isinstance(claim.against, str) else BASELINE
    curves = evidence.each((arm, base), reward_curve)
    short = any(len(curve) < 2 for by_seed in curves.values() for curve in by_seed.values())
    return _Found(
        f"{arm} {DIVIDE} {base}",
        1.0 if is_arm else float(claim.against),
        unit_of(claim.measure),
        reach_ratio_t(curves[arm], curves[base]),
        lacking=f"the run is shorter than the {3 * WINDOW // 2} updates of a curve"
        if short
        else f"{base} ends no higher than it began",
    )


def _of_sweep(claim: Claim, values: Mapping[str, Mapping[int, float]]) -> _Found:
    sweep = claim.sweep
    assert sweep is not None
    arms = [values.get(arm, {}) for arm in sweep.arms]
    if isinstance(claim.against, str):
        base, over = values.get(claim.against, {}), f"gain over {claim.against}"
    else:
        base, over = dict.fromkeys(arms[0], claim.against), f"distance from {claim.against:.6g}"
    common = [seed for seed in base if all(seed in arm for arm in arms)]
    related = relation(sweep.x, {seed: [arm[seed] - base[seed] for arm in arms] for seed in common})
    words = {
        "slope": f"slope of the {over} with {sweep.label}",
        "spearman": f"rank correlation of the {over} with {sweep.label}",
        "crossing": f"{sweep.label} at which the {over} is 0",
    }
    unit = unit_of(claim.measure)
    units = {"slope": f"{unit} for each {sweep.label}".strip(), "crossing": sweep.label}
    return _Found(
        words[sweep.test],
        sweep.value,
        units.get(sweep.test, ""),
        getattr(related, sweep.test) if related else None,
        related,
        lacking="the line is level" if common else "no seed is in all arms",
    )


def _as_record(found: Relation | None) -> dict[str, Interval] | None:
    if found is None:
        return None
    figures: dict[str, Any] = {
        "slope": found.slope, "spearman": found.spearman, "crossing": found.crossing
    }  # fmt: skip
    return {
        name: Interval(value=figure.value, low=figure.low, high=figure.high)
        for name, figure in figures.items()
        if figure is not None
    }
