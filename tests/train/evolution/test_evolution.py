"""Evolution strategies: noise, shaping, exact restoring, the estimator, resume, faults."""

import json
import math

import numpy as np
import pytest
import torch

from apportion import UserError
from apportion.config import RunConfig, check_parts
from apportion.policies import load_policy
from apportion.policies.stacked import StackedWeights
from apportion.policies.tiny import build_model
from apportion.tasks import load_task
from apportion.train.evolution import evolution_update
from apportion.train.evolution.arm import with_adapter
from apportion.train.evolution.evolution_update import EvolutionLearner
from apportion.train.evolution.fitness import Fitness, LikelihoodReward, OutcomeReward
from apportion.train.evolution.noise import Member, draw, members
from apportion.train.evolution.perturbed import PerturbedWeights
from apportion.train.evolution.references import log_likelihood, reference_rows
from apportion.train.evolution.shaping import shape
from apportion.train.run import run_recipe
from tests.train.tiny_setup import make_tokenizer

TASK = {"kind": "words", "operations": [1, 1]}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with an untrained model of 30 thousand parameters."""
    folder = tmp_path_factory.mktemp("start")
    tokenizer = make_tokenizer()
    build_model(tokenizer, hidden_size=32, layers=2, heads=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_config(start, evolution=None, train=None, **changes):
    settings = {
        "name": "evolution",
        "objective": "evolution",
        "task": TASK,
        "policy": {"kind": "tiny", "checkpoint": str(start)},
        "evolution": {"population": 4, "sigma": 0.02} | (evolution or {}),
        "train": {
            "updates": 4,
            "prompts_per_update": 3,
            "learning_rate": 0.05,
            "max_completion_tokens": 8,
            "record_every": 2,
            "threads": 1,
        }
        | (train or {}),
        "eval": {"every": 2, "problems": 4, "final_problems": 4, "showcase": 0},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings | changes)


def make_learner(start, reward, dtype=torch.float32, **options):
    config = make_config(start, **options)
    policy = load_policy({"kind": "tiny", "checkpoint": str(start)})
    policy.model.to(dtype).eval()
    return EvolutionLearner(policy, reward, config, seed=0)


class Constant:
    """Every perturbation is worth the same."""

    def __init__(self, value=0.0):
        self.value, self.seen = value, []

    def one(self, problems, update):
        return Fitness(self.value, 1, 1.0)

    def many(self, stack, problems, update):
        return [self.one(problems, update) for _ in next(iter(stack.values()))]


def copy_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


# -- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("noise", ["antithetic", "iid"])
@pytest.mark.parametrize("parallel", [1, 4])
def test_a_round_trip_of_equal_rewards_changes_no_bit(start, dtype, noise, parallel):
    options = {"noise": noise, "parallel": parallel}
    learner = make_learner(start, Constant(0.0), dtype, evolution=options)
    before = copy_of(learner.policy.model)
    for _ in range(3):
        metrics = learner.update([])
        assert metrics["evolution/equal_rewards"] == 1.0 and metrics["evolution/step"] == 0.0
    assert equal(before, copy_of(learner.policy.model))


def test_a_perturbation_is_in_place_for_its_evaluation_only(start):
    policy = load_policy({"kind": "tiny", "checkpoint": str(start)})
    weights = PerturbedWeights(policy.model, sigma=0.02, seed=3)
    before = copy_of(policy.model)
    name = "model.layers.1.self_attn.q_proj.weight"
    expected = before[name] - 0.02 * draw(3, 5, 1, name, before[name])
    with pytest.raises(KeyboardInterrupt), weights.at(5, Member(1, -1)):
        assert torch.equal(copy_of(policy.model)[name], expected)
        stacked = weights.stacked(5, [Member(0, 1), Member(1, -1)])
        assert torch.equal(stacked[name][1], expected)
        raise KeyboardInterrupt
    assert equal(before, copy_of(policy.model))


def test_steps_too_small_for_bfloat16_add_up(start):
    policy = load_policy({"kind": "tiny", "checkpoint": str(start)})
    policy.model.to(torch.bfloat16)
    weights = PerturbedWeights(policy.model, sigma=0.02, seed=0)
    name = "model.norm.weight"  # ones, whose neighbours in bfloat16 are 1/128 and 1/256 away
    for _ in range(40):
        weights.step(1, [Member(0, 1), Member(1, 1)], np.array([2e-4, 0.0]), rate=2.0)
    noise = draw(0, 1, 0, name, weights.master[name])
    expected = (1 + 40 * 2e-4 * noise).to(torch.bfloat16)
    now = copy_of(policy.model)[name]
    assert not torch.equal(now, torch.ones_like(now))
    assert torch.allclose(now.float(), expected.float(), atol=1 / 128)
    assert float((now != 1).float().mean()) > 0.3


class Vector(torch.nn.Module):
    """Two tensors of one shape, as weights of a quadratic reward."""

    def __init__(self, start_2D):
        super().__init__()
        self.a = torch.nn.Parameter(start_2D[0].clone())
        self.b = torch.nn.Parameter(start_2D[1].clone())

    def both(self):
        return torch.cat([self.a, self.b]).detach().double()


@pytest.mark.parametrize(("noise", "tolerance"), [("antithetic", 0.15), ("iid", 0.3)])
def test_the_step_is_the_smoothed_gradient_of_a_quadratic(noise, tolerance):
    """R(x) = -x'Hx/2 + c'x has the smoothed gradient c - Hx at any sigma; H ties both tensors
    together, so equal noise in both would be seen."""
    torch.manual_seed(0)
    size, sigma, population = 4, 0.5, 2000
    root = torch.randn(2 * size, 2 * size).double() / 2
    curve, slope = root @ root.T, torch.randn(2 * size).double() * 2
    model = Vector(torch.randn(2, size))
    start = model.both()
    weights = PerturbedWeights(model, sigma, seed=1)
    group = members(population, antithetic=noise == "antithetic")
    rewards = []
    for member in group:
        with weights.at(1, member):
            x = model.both()
            rewards.append(float(slope @ x - x @ curve @ x / 2))
    weights.step(1, group, shape(rewards, "none", sigma), rate=1.0)
    gradient = slope - curve @ start
    error = float((model.both() - start - gradient).norm() / gradient.norm())
    assert error < tolerance


def test_antithetic_noise_has_less_variance_on_a_slope():
    errors = {}
    for noise in ("antithetic", "iid"):
        found = []
        for seed in range(20):
            model = Vector(torch.zeros(2, 3))
            weights = PerturbedWeights(model, 0.1, seed)
            group = members(8, antithetic=noise == "antithetic")
            rewards = []
            for member in group:
                with weights.at(1, member):
                    x = model.both()
                    rewards.append(float(x.sum() + 40 * (x @ x)))  # even part: noise for iid
            weights.step(1, group, shape(rewards, "none", 0.1), rate=1.0)
            found.append(float((model.both() - 1).square().mean()))
        errors[noise] = float(np.mean(found))
    assert errors["antithetic"] < errors["iid"]


# -- rewards -------------------------------------------------------------------------------------


def test_log_likelihood_is_that_of_each_token(start):
    policy, task = load_policy({"kind": "tiny", "checkpoint": str(start)}), load_task(TASK)
    problems = task.problems("train", 3, 0)
    rows = reference_rows(policy, task, problems, "answer")
    for row, problem in zip(rows, problems, strict=True):
        assert policy.tokenizer.decode(row.reference[:-1]) == f"#### {problem.answers[0]}"
    model = policy.model.eval()
    with torch.no_grad():
        found = log_likelihood(lambda ids: model(ids).logits, rows, policy.tokenizer.pad_token_id)
        for row, whole in zip(rows, found.tolist(), strict=True):
            ids = torch.tensor([row.question + row.reference])
            scores = model(ids).logits[0].log_softmax(-1)
            steps = enumerate(row.reference, len(row.question) - 1)
            assert whole == pytest.approx(sum(scores[t, k].item() for t, k in steps), abs=1e-4)


@pytest.mark.parametrize("kind", ["outcome", "likelihood"])
def test_stacked_weights_are_worth_what_each_is_worth_alone(kind):
    config = make_config("sums", {"sigma": 0.005}, {"max_completion_tokens": 50})
    policy = load_policy({"kind": "tiny", "checkpoint": "sums"})
    task = load_task({"kind": "sums", "operations": [3, 5], "terms": [1, 9], "largest": 60})
    make = OutcomeReward if kind == "outcome" else LikelihoodReward
    reward = make(policy, task, config, *([0] if kind == "outcome" else []))
    weights = PerturbedWeights(policy.model, 0.005, seed=0)
    group = members(4, antithetic=True)
    problems = task.problems("train", 6, 0)
    alone = []
    for member in group:
        with weights.at(1, member):
            alone.append(reward.one(problems, 1))
    together = reward.many(weights.stacked(1, group), problems, 1)
    for one, other in zip(alone, together, strict=True):
        assert other.reward == pytest.approx(one.reward, abs=1e-4)
        assert (other.tokens, other.length) == (one.tokens, one.length)
        assert [r.text for r in other.rollouts] == [r.text for r in one.rollouts]
    if kind == "likelihood":
        assert len({fitness.reward for fitness in together}) == 4


def test_sampling_with_stacked_weights_follows_the_seed_and_the_distribution():
    policy = load_policy({"kind": "tiny", "checkpoint": "sums"})
    stacked = StackedWeights(policy)
    prompt = policy.tokenizer("3 + 4\n")["input_ids"]
    weights = {n: torch.stack([p, p]).detach() for n, p in policy.model.named_parameters()}
    drawn = stacked.generate(weights, [prompt] * 400, 4.0, 1, seed=7)
    assert drawn[0] == drawn[1]  # equal weights, common random numbers
    assert drawn[0] == stacked.generate(weights, [prompt] * 400, 4.0, 1, seed=7)[0]
    assert drawn[0] != stacked.generate(weights, [prompt] * 400, 4.0, 1, seed=8)[0]
    with torch.no_grad():
        logits = policy.model(torch.tensor([prompt])).logits[0, -1]
    chances = (logits / 4.0).softmax(-1)
    token = int(chances.argmax())
    share, chance = np.mean([ids == [token] for ids in drawn[0]]), float(chances[token])
    assert 0.05 < chance < 0.95
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / 400)


def test_an_adapter_alone_is_perturbed(start):
    policy = load_policy({"kind": "tiny", "checkpoint": str(start)})
    before = copy_of(policy.model)
    policy.model = with_adapter(policy.model, {"r": 2})
    weights = PerturbedWeights(policy.model, 0.02, seed=0)
    assert weights.master and all("lora_" in name for name in weights.master)
    weights.step(1, [Member(0, 1), Member(1, 1)], np.array([0.5, -0.5]), rate=0.1)
    after = copy_of(policy.model.unload())
    assert equal(before, after)
    with pytest.raises(UserError, match=r"evolution\.lora: .*rr"):
        with_adapter(policy.model, {"rr": 2})


# -- whole runs ----------------------------------------------------------------------------------


def metrics_of(arm):
    found = [json.loads(line) for line in (arm / "metrics.jsonl").read_text().splitlines()]
    for line in found:
        line["metrics"].pop("train/seconds", None)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"reward": "likelihood", "parallel": 2},
        {"reward": "likelihood", "reference": "answer", "lora": {"r": 2}},
    ],
)
def test_a_run_learns_is_recorded_and_resumes_to_the_same_bits(
    start, tmp_path, monkeypatch, options
):
    from safetensors.torch import load_file

    config = make_config(start, options, {"checkpoint_every": 1})
    report = run_recipe(config, tmp_path / "straight", plain=True)
    assert report.is_file()
    update = EvolutionLearner.update

    def interrupted(self, problems):
        if self.done == 3:
            raise KeyboardInterrupt
        return update(self, problems)

    monkeypatch.setattr(EvolutionLearner, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.setattr(EvolutionLearner, "update", update)
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)
    arms = [tmp_path / name / "evolution-s0" for name in ("straight", "killed")]
    one, two = (load_file(arm / "checkpoints" / "final" / "model.safetensors") for arm in arms)
    assert one.keys() == two.keys() and equal(one, two)
    assert metrics_of(arms[0]) == metrics_of(arms[1])
    untrained = load_file(start / "model.safetensors")
    assert one.keys() == untrained.keys() and not equal(one, untrained)


def test_likelihood_rises(start):
    config = make_config(start, {"population": 8}, {"learning_rate": 0.1})
    policy, task = load_policy({"kind": "tiny", "checkpoint": str(start)}), load_task(TASK)
    learner = EvolutionLearner(policy, LikelihoodReward(policy, task, config), config, seed=0)
    problems = task.problems("train", 4, 0)
    rewards = [learner.update(problems)["reward/mean"] for _ in range(12)]
    assert rewards[-1] > rewards[0] + 2


def test_outcomes_are_recorded_with_the_perturbation(tmp_path):
    config = make_config(
        "sums",
        {"reward": "outcome", "parallel": 2, "samples": 2},
        {"updates": 1, "record_every": 1, "max_completion_tokens": 40},
        task={"kind": "sums", "operations": [1, 2]},
    )
    run_recipe(config, tmp_path / "run", plain=True)
    arm = tmp_path / "run" / "evolution-s0"
    rollouts = [json.loads(line) for line in (arm / "rollouts.jsonl").read_text().splitlines()]
    assert len({r["id"] for r in rollouts}) == len(rollouts) == 4 * 3 * 2
    assert {(r["meta"]["perturbation"], r["meta"]["sign"]) for r in rollouts} == {
        (0, 1), (0, -1), (1, 1), (1, -1)
    }  # fmt: skip
    (train,) = [line for line in metrics_of(arm) if line["split"] == "train"]
    assert train["rollouts"] == 24
    outcomes = [r["outcome"] for r in rollouts]
    assert train["metrics"]["reward/mean"] == pytest.approx(np.mean(outcomes))


# -- faults --------------------------------------------------------------------------------------


def test_a_likelihood_that_is_not_finite_stops_with_the_weights_restored(start):
    learner = make_learner(start, Constant(math.nan))
    before = copy_of(learner.policy.model)
    with pytest.raises(UserError, match="update 1: the reward of perturbation 0 is nan"):
        learner.update([])
    assert equal(before, copy_of(learner.policy.model)) and learner.done == 0


def test_outcomes_that_cannot_be_decided_are_no_zero(start):
    policy, task = load_policy({"kind": "tiny", "checkpoint": str(start)}), load_task(TASK)
    reward = OutcomeReward(policy, task, make_config(start), 0)
    problem = task.problems("train", 1, 0)[0].model_copy(update={"answers": ()})
    with pytest.raises(UserError, match="no problem of the batch has a gold answer"):
        reward.one([problem], 1)


def test_a_reference_that_is_missing_or_too_long_is_named(start):
    policy, task = load_policy({"kind": "tiny", "checkpoint": str(start)}), load_task(TASK)
    (problem,) = task.problems("train", 1, 0)
    bare = problem.model_copy(update={"answers": (), "meta": {}})
    with pytest.raises(UserError, match=f"problem {problem.id} has no gold solution to score"):
        reference_rows(policy, task, [bare], "solution")
    long = problem.model_copy(update={"prompt": "one and two " * 300})
    with pytest.raises(UserError, match=f"problem {problem.id}: .* exceed the context of 512"):
        reference_rows(policy, task, [long], "solution")


def test_a_checkpoint_of_other_weights_is_refused(start, tmp_path):
    learner = make_learner(start, Constant())
    learner.save(tmp_path)
    learner.weights.master.pop("model.norm.weight")
    with pytest.raises(UserError, match="the checkpoint is of other weights"):
        learner.load(tmp_path)
    assert evolution_update._STATE in {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 1}, "population 1 has nothing to compare its reward with"),
        ({"population": 5}, "population 5 is odd"),
        ({"samples": 2, "reward": "likelihood"}, "likelihood samples nothing"),
        ({"sigma": 0}, "greater than 0"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.model_validate({"name": "x", "objective": "evolution", "evolution": options})


def test_epochs_are_refused():
    config = RunConfig.model_validate(
        {"name": "x", "objective": "evolution", "train": {"epochs": 2}}
    )
    with pytest.raises(UserError, match="objective evolution learns from a batch once"):
        check_parts(config)
