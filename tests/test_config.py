"""Run configuration: what a recipe and its overrides become, and what is refused and how."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from apportion import UserError
from apportion.config import (
    RunConfig,
    choose_arms,
    diff_from_default,
    expand_arms,
    find_recipe,
    load_yaml,
    parse_seeds,
    resolve,
    shipped_recipes,
)
from apportion.config.yaml12 import parse_yaml

RECIPE = """
name: quick
question: Does it help?
task: {kind: words, operations: [2, 5]}
reviewers:
  - arithmetic
  - {kind: noisy, tpr: 0.9, fpr: 0.1}
credit: {method: dca, cap: 3.0}
train: {updates: 20, learning_rate: 3e-6}
seeds: [0, 1]
"""
ARMS = """
arms:
  - name: outcome
    set: {credit.method: outcome}
  - name: dca
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "quick.yaml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_states_only_what_it_changes(recipe: Path) -> None:
    config = resolve(recipe)
    assert config.train.learning_rate == 3e-6
    assert (config.train.updates, config.train.group_size) == (20, 8)
    assert diff_from_default(config) == {
        "question": "Does it help?",
        "task.operations": [2, 5],
        "reviewers": ["arithmetic", {"kind": "noisy", "tpr": 0.9, "fpr": 0.1}],
        "credit.method": "dca",
        "credit.cap": 3.0,
        "train.updates": 20,
        "train.learning_rate": 3e-6,
        "seeds": [0, 1],
    }


def test_the_vetted_defaults_stay() -> None:
    config = RunConfig(name="x")
    assert config.train.loss_type == "dr_grpo"
    assert config.train.scale_rewards == "group"
    assert config.train.beta == 0.0
    assert config.train.trust == "require"
    assert (config.consensus.rule, config.consensus.quorum) == ("majority", 0.66)
    assert config.credit == {"method": "outcome"}
    assert config.eval.split == "validation" and config.eval.final_split == "test"
    assert config.alarm.enabled


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.updates=7", lambda c: c.train.updates == 7),
        ("train.learning_rate=1e-5", lambda c: c.train.learning_rate == 1e-5),
        ("credit.cap=1e1", lambda c: c.credit == {"method": "dca", "cap": 10.0}),
        ("credit.method=capo", lambda c: c.credit == {"method": "capo"}),
        ("credit.method=dca", lambda c: c.credit == {"method": "dca", "cap": 3.0}),
        ("credit=papo", lambda c: c.credit == {"method": "papo"}),
        ("credit={method: capo, mixed_only: true}", lambda c: c.credit["mixed_only"] is True),
        ("reviewers.1.tpr=0.7", lambda c: c.reviewers[1]["tpr"] == 0.7),
        ("reviewers.1.kind=human", lambda c: c.reviewers[1] == {"kind": "human"}),
        ("reviewers.0.name=x", lambda c: c.reviewers[0] == {"kind": "arithmetic", "name": "x"}),
        ("reviewers.2=human", lambda c: c.reviewers[2] == "human"),
        ("reviewers=[arithmetic]", lambda c: c.reviewers == ("arithmetic",)),
        ("consensus.weights.arithmetic=2", lambda c: c.consensus.weights == {"arithmetic": 2}),
        ("task=gsm8k", lambda c: c.task == {"kind": "gsm8k"}),
        ("question=on", lambda c: c.question == "on"),
        ("seed=3", lambda c: c.seeds == (3,)),
        ("seeds=[4, 5]", lambda c: c.seeds == (4, 5)),
        ("train.micro_batch=null", lambda c: c.train.micro_batch is None),
    ],
)
def test_overrides(recipe: Path, override: str, read: Any) -> None:
    assert read(resolve(recipe, [override]))


def test_an_option_survives_the_choice_of_its_method_in_any_order(recipe: Path) -> None:
    for overrides in (
        ["credit.process_weight=0.5", "credit.method=capo"],
        ["credit.method=capo", "credit.process_weight=0.5"],
    ):
        assert resolve(recipe, overrides).credit == {"method": "capo", "process_weight": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learnin_rate: 1", r"quick.yaml: unknown key learnin_rate"),
        ("learning_rate: 1", r"unknown key learning_rate \(did you mean 'train.learning_rate'"),
        ("train: {updats: 1}", r"unknown key train.updats \(did you mean 'updates'\?\)"),
        ("arms: [{name: a, sett: {}}]", r"unknown key arms.0.sett \(did you mean 'set'\?\)"),
        ("train: {updates: 0}", "train.updates: Input should be greater than or equal to 1, not 0"),
        ("train: {updates: many}", "train.updates: .*valid integer.*not 'many'"),
        ("train: {learning_rate: .inf}", "train.learning_rate"),
        ("train: {loss_type: grppo}", "train.loss_type: .*'dr_grpo'.*not 'grppo'"),
        ("train: {micro_batch: 3}", "train: micro_batch 3 does not divide the 128 rollouts"),
        ("train: 3", "train: "),
        ("policy: {kind: pretrained}", "needs a model"),
        ("policy: {kind: tiny, model: x}", "model is an option of kind pretrained, not of tiny"),
        ("policy: {kind: tinny}", "policy.kind: .*not 'tinny'"),
        ("consensus: {quorum: 0.3}", "consensus.quorum"),
        ("consensus: {weights: {a: -1}}", "the weight of a is negative"),
        ("eval: {samples: 4, k: [8]}", "pass@8 needs at least 8 samples, not 4"),
        ("reviewers: arithmetic", "reviewers: "),
        ("reviewers: [3]", "reviewers.0: "),
        ("seeds: []", "seeds: "),
        ("seeds: [1, 1]", "a seed occurs twice"),
        ("{seed: 1, seeds: [2]}", "seed and seeds exclude each other"),
        ("arms: []", "arms: "),
        ("arms: [{name: a}, {name: a}]", "two arms have the same name"),
        ("arms: [{name: ../x}]", "arms.0.name"),
        ("arms: [{name: a, set: {train.updates: 0}}]", "arm a: train.updates: "),
        ("arms: [{name: a, set: {train.updats: 1}}]", "arm a: unknown key train.updats"),
        ("arms: [{name: a, set: {seeds: [3]}}]", "arm a: an arm cannot set seeds"),
        ("name: 'a/b'", "name: "),
        ("- 1", "keys and values are needed, not list"),
        ("", "keys and values are needed, not NoneType"),
        ("a: [1", "quick.yaml: line .* not YAML"),
        ("name: a\nname: b", "quick.yaml: line 2, column 1 not YAML: key 'name' stands here"),
        ("a: !!python/object:os.system x", "not YAML"),
    ],
)
def test_what_a_recipe_gets_wrong_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "quick.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        resolve(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("updates", "'updates' is no override: write key=value"),
        ("=3", "is no override"),
        ("a..b=3", "is no override"),
        ("train.updats=3", r"override train.updats: unknown key train.updats .*'updates'"),
        ("train.updates=-1", "override train.updates: .*not -1"),
        ("train.updates=[1", "override train.updates: line 1.* not YAML"),
        ("train.updates.x=1", "train.updates is 20, which has no parts"),
        ("reviewers.7.tpr=1", "reviewers.7: '7' is no index into a list of 2"),
        ("reviewers.x=1", "'x' is no index"),
        ("question=", "override question: question: .*valid string, not None"),
    ],
)
def test_what_an_override_gets_wrong_is_one_line(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve(recipe, [override])
    assert "\n" not in str(caught.value)


def test_arms_times_seeds(recipe: Path) -> None:
    recipe.write_text(RECIPE + ARMS)
    arms = expand_arms(resolve(recipe))
    assert [(name, seed) for name, seed, _ in arms] == [
        ("outcome", 0),
        ("outcome", 1),
        ("dca", 0),
        ("dca", 1),
    ]
    assert arms[1][2].credit == {"method": "outcome"} and arms[1][2].seeds == (1,)
    assert arms[2][2].credit == {"method": "dca", "cap": 3.0}
    assert all(arm.arms is None and arm.train.updates == 20 for _, _, arm in arms)


def test_without_arms_the_method_names_the_only_one(recipe: Path) -> None:
    arms = expand_arms(resolve(recipe, ["credit.method=capo", "seed=7"]))
    assert [(name, seed) for name, seed, _ in arms] == [("capo", 7)]


def test_an_override_that_every_arm_undoes_is_refused(recipe: Path) -> None:
    recipe.write_text(RECIPE + ARMS + "    set: {credit.cap: 2}\n")
    assert resolve(recipe, ["train.updates=3"]).train.updates == 3
    with pytest.raises(UserError, match=r"credit.cap has no effect.*arms=null"):
        resolve(recipe, ["credit.cap=5"])
    assert resolve(recipe, ["credit.cap=5", "arms=null"]).credit["cap"] == 5


def test_an_override_that_some_arm_keeps_is_taken(recipe: Path) -> None:
    recipe.write_text(RECIPE + ARMS)
    config = resolve(recipe, ["credit.cap=5"])
    caps = [arm.credit.get("cap") for _, _, arm in expand_arms(config)]
    assert caps == [None, None, 5, 5]


def test_a_resolved_config_resolves_to_itself(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE + ARMS)
    config = resolve(recipe)
    again = tmp_path / "resolved.yaml"
    again.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert resolve(again) == config


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0..4", [0, 1, 2, 3, 4]), ("0,1,2", [0, 1, 2]), ("3", [3]), ("0, 5..6", [0, 5, 6])],
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "4..0", "0...3", "-1", "1,", "0..999999999"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-6", 3e-6), ("1e3", 1000.0), (".5", 0.5), ("on", "on"), ("no", "no"), ("null", None)],
)
def test_yaml_means_what_people_mean(text: str, value: Any) -> None:
    assert parse_yaml(text, "x") == value and type(parse_yaml(text, "x")) is type(value)


def test_recipes_are_found_by_path_and_by_name(recipe: Path, monkeypatch: Any) -> None:
    assert find_recipe(str(recipe)) == recipe
    monkeypatch.setattr("apportion.config.recipes.recipe_folder", lambda: recipe.parent)
    assert shipped_recipes() == {"quick": "Does it help?"}
    for name in ("quick", "quick.yaml", "recipes/quick.yaml"):
        assert find_recipe(name) == recipe
    with pytest.raises(UserError, match=r"no recipe 'qick' \(did you mean 'quick'\?\)"):
        find_recipe("qick")
    with pytest.raises(UserError, match=r"no recipe '/elsewhere/quick.yaml'"):
        find_recipe("/elsewhere/quick.yaml")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        load_yaml(tmp_path / "x.yaml")
    with pytest.raises(UserError, match=r"x\.yaml"):
        load_yaml(tmp_path / "none/x.yaml")


TWO_ARMS = "arms:\n  - {name: outcome}\n  - {name: dca, set: {credit.method: dca}}\n"
CLAIM = "{name: a, text: It helps., measure: mean_reward, arm: dca, against: outcome, expect: less}"


def claims_of(tmp_path: Path, text: str, *overrides: str) -> Any:
    file = tmp_path / "claims.yaml"
    file.write_text(f"{TWO_ARMS}claims:\n  - {text}\n")
    return resolve(file, overrides).claims


def test_claims_are_read_and_may_be_left_out(tmp_path: Path) -> None:
    (claim,) = claims_of(tmp_path, CLAIM)
    assert claim.names == ("dca", "outcome") and claim.margin == 0.0
    number = CLAIM.replace("mean_reward", "reach_ratio").replace("against: outcome", "against: 0.5")
    (reach,) = claims_of(tmp_path, number)
    assert reach.against == 0.5 and reach.names == ("dca", "outcome")
    assert claims_of(tmp_path, CLAIM, "claims=[]") == ()
    config = resolve(tmp_path / "claims.yaml")
    assert all(arm.claims == () for _, _, arm in expand_arms(config))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arm: dca", "arm: dcaa", "claim a: no arm 'dcaa' (did you mean 'dca'?)"),
        ("against: outcome", "against: outcom", "no arm 'outcom' (did you mean 'outcome'?)"),
        ("arm: dca", "arm: outcome", "claims.0: arm outcome is compared with itself"),
        ("measure:", "mesure:", "unknown key claims.0.mesure (did you mean 'measure'?)"),
        ("mean_reward", "mean_rewrd", "no 'mean_rewrd' (did you mean 'mean_reward'?)"),
        ("mean_reward", "mean_reward, at: last10", "belong to a metric's key, not to mean_reward"),
        ("expect: less", "expect: equal", "expect equal needs a margin above 0"),
        ("expect: less", "expect: lower", "claims.0.expect: Input should be 'greater', 'less'"),
        ("expect: less", "expect: less, margin: -1", "claims.0.margin"),
        ("arm: dca, ", "", "claims.0: give arm, or a sweep, and not both"),
        (
            "arm: dca",
            "sweep: {arms: [dca, outcome, x], x: [1, 2]}",
            "claims.0.sweep: 3 arms and 2 values of x",
        ),
        ("arm: dca", "sweep: {arms: [dca, outcome, x], x: [1, 2, 3]}", "claim a: no arm 'x'"),
        ("text: It helps., ", "", "claims.0.text is missing"),
    ],
)
def test_what_a_claim_gets_wrong_is_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in CLAIM
    with pytest.raises(UserError) as caught:
        claims_of(tmp_path, CLAIM.replace(old, new))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_two_claims_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two claims have the name a"):
        claims_of(tmp_path, f"{CLAIM}\n  - {CLAIM}")


def test_chosen_arms_keep_the_claims_that_need_no_other():
    config = resolve("trice_sums")
    chosen = choose_arms(config, ["star", "trice"])
    assert chosen.arm_names == ("trice", "star")
    assert [claim.name for claim in chosen.claims] == [
        "trice_learns",
        "star_learns",
        "trice_over_star",
    ]
    with pytest.raises(UserError, match=r"no arm 'tric' .*did you mean 'trice'"):
        choose_arms(config, ["tric"])
