"""Verdicts on claims: numbers by hand, and what must never decide one."""

import json
import math

import numpy as np
import pytest
import yaml

from apportion.config import Claim, RunConfig
from apportion.errors import UserError
from apportion.report import judge_runs, write_card, write_report, write_verdicts
from apportion.report.claims import decide
from apportion.report.data import load_run
from apportion.report.evidence import gather
from apportion.report.measures import windowed
from apportion.report.sweep import crossing, relation, spearman
from apportion.report.verdict_words import expectation, figure
from apportion.stats import Estimate

# Differences 0.10, 0.12, 0.11, 0.09, 0.08: mean 0.1, standard deviation sqrt(0.001 / 4), so the
# half width is t(4) = 2.776445 times 0.0158114 / sqrt(5) = 0.0196324.
OUTCOME = {0: 0.50, 1: 0.52, 2: 0.40, 3: 0.61, 4: 0.55}
DCA = {0: 0.60, 1: 0.64, 2: 0.51, 3: 0.70, 4: 0.63}
HALF = 0.0196324


def claim(**changes):
    base = {
        "name": "faster",
        "text": "Credit learns faster.",
        "measure": "final_accuracy",
        "arm": "dca",
        "against": "outcome",
        "expect": "greater",
    }
    return Claim.model_validate(base | changes)


def write_part(run, arm, seed, *, test=None, rewards=(), finished=True, alarm=None, **settings):
    folder = run / f"{arm}-s{seed}"
    folder.mkdir(parents=True)
    lines = [
        {"update": i, "rollouts": 64 * i, "split": "train", "metrics": {"reward/mean": reward}}
        for i, reward in enumerate(rewards, 1)
    ]
    last = len(rewards) or 1
    if test is not None:
        metrics = {"eval/accuracy": {"value": test, "n": 200}}
        lines.append({"update": last, "rollouts": 64 * last, "split": "test", "metrics": metrics})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = RunConfig.model_validate({"name": run.name, "seeds": [seed]} | settings)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    manifest = {"started": "now"} | ({"finished": "later"} if finished else {}) | {"alarm": alarm}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_run(run, arms, *, claims=(), seeds=None, **settings):
    """``arms`` maps a name to the test accuracy of each seed."""
    for arm, by_seed in arms.items():
        for seed, value in by_seed.items():
            write_part(run, arm, seed, test=value, **settings)
    write_top(run, arms, claims, seeds, **settings)
    return run


def write_top(run, arms, claims, seeds=None, **settings):
    config = {
        "name": run.name,
        "seeds": seeds or sorted({seed for by_seed in arms.values() for seed in by_seed}),
        "arms": [{"name": name} for name in arms],
        "claims": [one.model_dump() for one in claims],
    }
    config = RunConfig.model_validate(config | settings)
    (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))


def verdict_of(run, *claims):
    found = judge_runs([run], claims or None).verdicts
    return found[0] if len(found) == 1 else found


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", {"outcome": OUTCOME, "dca": DCA}, claims=[claim()])


def test_the_effect_and_its_interval_by_hand(run):
    verdict = verdict_of(run)
    assert verdict.effect == pytest.approx(0.1)
    assert (verdict.low, verdict.high) == pytest.approx((0.1 - HALF, 0.1 + HALF), abs=1e-6)
    assert (verdict.verdict, verdict.seeds, verdict.unit) == ("confirmed", 5, "share of problems")
    assert verdict.compared == "dca − outcome"
    assert verdict.reason == "the whole interval is above 0"
    assert verdict.values["dca"] == DCA
    assert figure(verdict) == "+0.100 [+0.0804, +0.120]"
    assert expectation(verdict) == "> 0"


@pytest.mark.parametrize(
    ("expect", "margin", "outcome"),
    [
        ("greater", 0.0, "confirmed"),
        ("greater", 0.07, "confirmed"),
        ("greater", 0.1, "undecided"),
        ("greater", 0.15, "refuted"),
        ("less", 0.0, "refuted"),
        ("equal", 0.15, "confirmed"),
        ("equal", 0.1, "undecided"),
        ("equal", 0.05, "refuted"),
    ],
)
def test_all_sides_of_the_margin(run, expect, margin, outcome):
    assert verdict_of(run, claim(expect=expect, margin=margin)).verdict == outcome


def test_the_other_way_round_changes_every_sign(run):
    turned = claim(arm="outcome", against="dca", expect="less")
    verdict = verdict_of(run, turned)
    assert (verdict.low, verdict.high) == pytest.approx((-0.1 - HALF, -0.1 + HALF), abs=1e-6)
    assert verdict.verdict == "confirmed"
    assert verdict_of(run, turned.model_copy(update={"expect": "greater"})).verdict == "refuted"


def test_against_a_number(run):
    # dca: mean 0.616, squared deviations 0.000256 + 0.000576 + 0.011236 + 0.007056 + 0.000196
    # = 0.01932, standard deviation sqrt(0.01932 / 4) = 0.0694982, half width 0.0862935
    verdict = verdict_of(run, claim(against=0.5))
    assert verdict.effect == pytest.approx(0.616)
    assert verdict.low == pytest.approx(0.616 - 0.0862935, abs=1e-5)
    assert (verdict.verdict, verdict.reference, verdict.compared) == ("confirmed", 0.5, "dca")
    assert verdict_of(run, claim(against=0.55)).verdict == "undecided"


def test_two_seeds_decide_nothing(tmp_path):
    # The differences are 0.1 both, so even the interval of no width is on the expected side.
    arms = {"outcome": {0: 0.25, 1: 0.5}, "dca": {0: 0.5, 1: 0.75}}
    verdict = verdict_of(write_run(tmp_path / "run", arms, claims=[claim()]))
    assert (verdict.verdict, verdict.effect, verdict.seeds) == ("undecided", 0.25, 2)
    assert verdict.reason == "2 seeds, and at least 3 are needed"


def test_seeds_that_are_not_finished_leave_it_undecided(run):
    write_top(run, {"outcome": OUTCOME, "dca": DCA}, [claim()], seeds=[0, 1, 2, 3, 4, 5])
    write_part(run, "outcome", 5, test=0.5, finished=False)
    verdict = verdict_of(run)
    assert verdict.verdict == "undecided" and verdict.seeds == 5
    assert verdict.reason == "seed 5 of dca not finished; seed 5 of outcome not finished"


def test_what_is_missing_is_named(run):
    missing_arm = verdict_of(run, claim(against="capo"))
    assert (missing_arm.verdict, missing_arm.effect) == ("undecided", None)
    assert missing_arm.reason == "no arm capo was trained"
    missing_metric = verdict_of(run, claim(measure="credit/moved"))
    assert missing_metric.reason.startswith("no credit/moved in seeds 0, 1, 2, 3, 4 of dca; no")
    assert figure(missing_metric) == "–"
    # Not one of the five seeds may go missing in silence.
    (run / "dca-s3" / "metrics.jsonl").write_text(
        '{"update": 1, "rollouts": 64, "split": "train", "metrics": {}}\n'
    )
    one = verdict_of(run)
    assert (one.verdict, one.seeds) == ("undecided", 4)
    assert one.reason == "no final_accuracy in seed 3 of dca"


def test_a_seed_that_an_alarm_stopped_is_noted(run):
    manifest = run / "dca-s2" / "manifest.json"
    manifest.write_text(json.dumps({"finished": "now", "alarm": "collapse at update 9"}))
    assert verdict_of(run).notes == ("seed 2 of dca was stopped early: collapse at update 9",)


def test_when_a_metric_is_read(tmp_path):
    run = tmp_path / "run"
    rewards = {0: [0.0] * 10 + [1.0] * 10, 1: [0.0] * 19 + [1.0], 2: [0.5] * 20}
    for seed, values in rewards.items():
        write_part(run, "dca", seed, rewards=values, test=0.0)
    write_top(run, {"dca": rewards}, [])

    def values(**changes):
        return verdict_of(run, claim(against=0.0, **changes)).values["dca"]

    assert values(measure="mean_reward") == pytest.approx({0: 0.5, 1: 0.05, 2: 0.5})
    assert values(measure="reward/mean") == {0: 1.0, 1: 1.0, 2: 0.5}
    assert values(measure="reward/mean", at="mean") == pytest.approx({0: 0.5, 1: 0.05, 2: 0.5})
    assert values(measure="reward/mean", at="last10") == pytest.approx({0: 1.0, 1: 0.1, 2: 0.5})
    assert values(measure="eval/accuracy") == {0: 0.0, 1: 0.0, 2: 0.0}
    assert values(measure="eval/accuracy", at="mean") == {}  # no validation was measured


def test_windows_of_ten_half_overlapping():
    points = [(float(i), float(i % 2)) for i in range(20)]
    assert windowed(points) == [(4.5, 0.5), (9.5, 0.5), (14.5, 0.5)]
    assert windowed(points[:9]) == []


# Over 100 updates outcome rises by 0.005 an update, and an arm of speed v by 0.005 v. Windows end
# at update 95.5, so the arm reaches outcome's end at 95.5 / v.
def write_curves(run, speeds, claims):
    for arm, speed in speeds.items():
        for seed in range(4):
            rewards = [0.1 + 0.005 * speed * u + 0.01 * seed for u in range(1, 101)]
            write_part(run, arm, seed, rewards=rewards, test=0.5)
    write_top(run, {arm: dict.fromkeys(range(4)) for arm in speeds}, claims)
    return run


def test_rollouts_to_reach_relative_to_another_arm(tmp_path):
    reach = claim(measure="reach_ratio", expect="less")
    write_curves(tmp_path / "run", {"outcome": 1, "dca": 2, "slow": 0.5}, [])
    verdict = verdict_of(tmp_path / "run", reach)
    # All seeds have the same ratio, so leaving one out changes nothing.
    assert (verdict.effect, verdict.low, verdict.high) == pytest.approx((0.5, 0.5, 0.5))
    assert (verdict.verdict, verdict.reference, verdict.compared) == (
        "confirmed", 1.0, "dca ÷ outcome",
    )  # fmt: skip
    half = verdict_of(tmp_path / "run", claim(measure="reach_ratio", against=0.4, expect="less"))
    assert (half.verdict, half.reference) == ("refuted", 0.4)
    never = verdict_of(tmp_path / "run", claim(measure="reach_ratio", arm="slow", expect="less"))
    assert never.effect == math.inf and never.high == math.inf
    assert json.loads(never.model_dump_json())["high"] is None
    # Whether it would be 1.1 or 10 times is open; the run ends where outcome reaches its end.
    assert never.low == pytest.approx(1.0) and never.verdict == "undecided"


def test_a_run_too_short_for_a_curve(tmp_path):
    run = tmp_path / "run"
    for arm in ("outcome", "dca"):
        for seed in range(3):
            write_part(run, arm, seed, rewards=[0.1, 0.2], test=0.1)
    write_top(run, {arm: dict.fromkeys(range(3)) for arm in ("outcome", "dca")}, [])
    verdict = verdict_of(run, claim(measure="reach_ratio", expect="less"))
    assert verdict.verdict == "undecided" and verdict.reason == (
        "the run is shorter than the 15 updates of a curve"
    )


SWEEP = {"arms": ["j0", "j05", "j1"], "x": [0.0, 0.5, 1.0], "label": "J"}


def write_sweep(run):
    """Gains over outcome of seed s: slope s/10 and zero at x = 0.2, for s = 1, 2, 3."""
    arms = {"outcome": {s: 0.1 * s for s in (1, 2, 3)}}
    for name, x in zip(SWEEP["arms"], SWEEP["x"], strict=True):
        arms[name] = {s: 0.1 * s + 0.1 * s * (x - 0.2) for s in (1, 2, 3)}
    return write_run(run, arms)


def test_the_slope_over_a_sweep_by_hand(tmp_path):
    run = write_sweep(tmp_path / "run")
    rising = claim(arm=None, sweep=SWEEP)
    verdict = verdict_of(run, rising)
    # slopes 0.1, 0.2, 0.3: standard deviation 0.1, half width 4.302653 * 0.1 / sqrt(3)
    assert verdict.effect == pytest.approx(0.2)
    assert verdict.low == pytest.approx(0.2 - 0.248414, abs=1e-6)
    assert (verdict.verdict, verdict.unit) == ("undecided", "share of problems for each J")
    assert verdict.compared == "slope of the gain over outcome with J"
    assert set(verdict.relation) == {"slope", "spearman", "crossing"}
    ranks = verdict_of(run, claim(arm=None, sweep=SWEEP | {"test": "spearman"}))
    assert (ranks.effect, ranks.low, ranks.verdict) == pytest.approx((1.0, 1.0, "confirmed"))


def test_the_crossing_of_a_sweep(tmp_path):
    run = write_sweep(tmp_path / "run")
    at_zero = claim(arm=None, expect="equal", margin=0.3, sweep=SWEEP | {"test": "crossing"})
    verdict = verdict_of(run, at_zero)
    assert verdict.effect == pytest.approx(0.2)
    # The slope may be zero (above), so the lines may cross anywhere.
    assert (verdict.low, verdict.high, verdict.verdict) == (-math.inf, math.inf, "undecided")


def test_fiellers_interval_is_where_the_t_test_cannot_tell_from_zero():
    slopes, levels = np.array([1.0, 1.2, 0.9, 1.1]), np.array([-0.2, -0.1, -0.15, -0.3])
    found = crossing(slopes, levels)
    assert found.value == pytest.approx(0.1875 / 1.05)
    for x in (found.low, found.high):
        z = levels + slopes * x
        t = z.mean() / (z.std(ddof=1) / 2)
        assert abs(t) == pytest.approx(3.182446, abs=1e-5)
    assert found.low < found.value < found.high
    assert crossing(np.zeros(3), np.ones(3)) is None
    assert crossing(np.array([2.0]), np.array([-1.0])) == Estimate(0.5, 1)


def test_ranks_with_ties_by_hand():
    # ranks of y: 2.5, 1, 2.5 against 1, 2, 3: covariance 0
    assert spearman([0, 1, 2], [5, 4, 5]) == pytest.approx(0.0)
    assert spearman([0, 1, 2], [1, 1, 2]) == pytest.approx(math.sqrt(3) / 2)
    assert spearman([0, 1, 2], [7, 7, 7]) is None
    level = relation([0, 1, 2], {0: [7, 7, 7], 1: [7, 7, 7]})
    assert (level.slope.value, level.spearman, level.crossing) == (0.0, None, None)
    assert relation([0, 1], {}) is None


def test_numbers_in_words(run):
    kept = verdict_of(run, claim(against=0.0, expect="equal", margin=1e-6))
    assert expectation(kept) == "0 ± 1e−06"
    assert figure(kept) == "0.616 [0.530, 0.702]"
    tiny = kept.model_copy(update={"effect": 1.5e-7, "low": -math.inf, "high": math.inf})
    assert figure(tiny) == "1.5e−07 [−∞, ∞]"


def test_a_sweep_needs_every_arm(tmp_path):
    run = write_sweep(tmp_path / "run")
    for seed in (1, 2, 3):
        (run / f"j05-s{seed}").rename(run / f"other-s{seed}")
    verdict = verdict_of(run, claim(arm=None, sweep=SWEEP))
    assert (verdict.verdict, verdict.effect) == ("undecided", None)
    assert verdict.reason == "seeds 1, 2, 3 of j05 not finished"


def test_pooled_runs_are_one_with_all_their_seeds(tmp_path):
    def part_of(arm, seeds):
        return {seed: arm[seed] for seed in seeds}

    runs = [
        write_run(
            tmp_path / name,
            {"outcome": part_of(OUTCOME, seeds), "dca": part_of(DCA, seeds)},
            claims=[claim()],
        )
        for name, seeds in (("a", (0, 1)), ("b", (2, 3, 4)))
    ]
    (verdict,) = judge_runs(runs).verdicts
    assert (verdict.verdict, verdict.seeds) == ("confirmed", 5)
    assert verdict.low == pytest.approx(0.1 - HALF, abs=1e-6)
    with pytest.raises(UserError, match=r"seed 0 of (dca|outcome) is both in"):
        judge_runs([runs[0], runs[0]])
    other = write_run(tmp_path / "c", {"dca": {7: 0.5}}, train={"updates": 9})
    with pytest.raises(UserError, match=r"differ in train\.updates: only runs that differ in"):
        gather([load_run(runs[0]), load_run(other)])
    arms = {"outcome": {8: 0.5}, "dca": {8: 0.5}}
    odd = write_run(tmp_path / "d", arms, claims=[claim(margin=1)])
    with pytest.raises(UserError, match="claim faster is not that of the other runs"):
        judge_runs([runs[0], odd])


def test_threads_do_not_keep_runs_apart(tmp_path):
    one = write_run(tmp_path / "a", {"dca": {0: 0.5}}, train={"threads": 1})
    two = write_run(tmp_path / "b", {"dca": {1: 0.5}}, train={"threads": 2})
    assert set(gather([load_run(one), load_run(two)]).finished["dca"]) == {0, 1}


def test_no_claims_is_said(tmp_path):
    run = write_run(tmp_path / "run", {"dca": {0: 0.5}})
    with pytest.raises(UserError, match="its recipe makes no claims"):
        judge_runs([run])
    assert write_verdicts(run) is None and not (run / "verdicts.json").exists()


def test_verdicts_on_disk_page_and_card(run):
    write_top(
        run,
        {"outcome": OUTCOME, "dca": DCA},
        [claim(source="the post"), claim(name="worse", text="<b>Worse.</b>", expect="less")],
    )
    stored = json.loads(write_verdicts(run).read_text())
    assert stored["registered"] is True and stored["schema_version"] >= 1
    found = {v["claim"]["name"]: v["verdict"] for v in stored["verdicts"]}
    assert found == {"faster": "confirmed", "worse": "refuted"}
    assert stored["verdicts"][0]["values"]["dca"]["3"] == 0.7
    page = write_report(run).read_text()
    assert "✓ confirmed" in page and "✕ refuted" in page and "the post" in page
    assert "<b>Worse" not in page
    card = write_card(run).read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert [c["verdict"] for c in front["claims"]] == ["confirmed", "refuted"]
    assert "## Claims" in card and "✕ refuted" in card and "<b>Worse" not in card


def test_a_claim_that_cannot_be_read_is_a_note_on_the_page(run):
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["claims"][0]["expect"] = "sideways"
    file.write_text(yaml.safe_dump(config))
    assert "claims.expect" in write_report(run).read_text()
    with pytest.raises(UserError, match=r"claims\.expect"):
        judge_runs([run])


@pytest.mark.parametrize("bounds", [(None, None), (-math.inf, math.inf)])
def test_without_bounds_nothing_is_decided(bounds):
    for expect, margin in (("greater", 0.0), ("less", 0.0), ("equal", 5.0)):
        outcome, _ = decide(claim(expect=expect, margin=margin), 0.0, Estimate(1.0, 5, *bounds))
        assert outcome == "undecided"
