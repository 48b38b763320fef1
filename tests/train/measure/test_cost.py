"""FLOPs from sizes and token counts, against torch's counter and against counts by hand."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from apportion.config import RunConfig
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.train.measure.cost_meter import CostMeter
from apportion.train.measure.flops import (
    ModelSizes,
    forward_flops,
    generation_flops,
    sizes_of,
    training_flops,
)
from apportion.train.self_training.chain_learner import ChainLearner, WeightedChain

TOLERANCE = 0.01


@pytest.fixture
def policy():
    policy = load_tiny("sums")
    # The fused attention of the CPU is unknown to torch's counter; the plain one is counted.
    policy.model.set_attn_implementation("eager")
    return policy


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_a_forward_by_hand():
    # 2 rows x 3 tokens after 4: 12 x (5 + 7) of the weights, 24 x 7 x 11 of attention.
    sizes = ModelSizes(body=5, head=7, attention=11)
    assert forward_flops(sizes, 2, 3, past=4) == 12 * 12 + 24 * 7 * 11
    # With logits of the last position alone: the head meets 2 positions.
    assert forward_flops(sizes, 2, 3, past=4, logits=1) == 12 * 5 + 4 * 7 + 24 * 7 * 11
    assert generation_flops(sizes, 1, 3, 0) == 0
    # The prompt (3 x 3 keys), then two tokens that see 4 and 5 keys.
    assert generation_flops(sizes, 1, 3, 3) == (30 + 14 + 396) + 2 * 24 + 4 * 9 * 11


def test_formulas_agree_with_torchs_counter(policy):
    sizes, meter = sizes_of(policy.model), CostMeter(policy.model)
    ids_BT = torch.randint(4, 60, (3, 40))

    def forward():
        with torch.no_grad():
            policy.model(input_ids=ids_BT)

    def backward():
        policy.model(input_ids=ids_BT, labels=ids_BT).loss.backward()

    def generate():
        mask_BT = torch.ones_like(ids_BT)
        lengths = {"min_new_tokens": 30, "max_new_tokens": 30, "do_sample": False}
        policy.model.generate(input_ids=ids_BT, attention_mask=mask_BT, **lengths)

    for run, formula in (
        (forward, forward_flops(sizes, 3, 40)),
        (backward, training_flops(sizes, 3, 40)),
        (generate, generation_flops(sizes, 3, 40, 30)),
    ):
        before = meter.flops
        assert counted(run) == pytest.approx(formula, rel=TOLERANCE)
        assert meter.flops - before == formula
    assert meter.tokens == 90


def test_sampled_tokens_are_counted_to_their_end(policy):
    meter = CostMeter(policy.model)
    problems = load_task({"kind": "sums"}).problems("train", 4, 0)
    rollouts = []

    def sample():
        rollouts.extend(policy.sample(problems, n=2, temperature=1.0, max_tokens=40, seed=0))

    assert counted(sample) == pytest.approx(meter.flops, rel=TOLERANCE)
    assert meter.tokens == sum(len(rollout.token_ids) for rollout in rollouts)
    assert len({len(rollout.token_ids) for rollout in rollouts}) > 1  # some end early


def test_an_update_of_chains(policy):
    meter = CostMeter(policy.model)
    config = RunConfig.model_validate({"name": "x", "objective": "trice"})
    learner = ChainLearner(policy, config)
    chains = [WeightedChain(i, [5] * 9, [7] * (6 + i), 1.0) for i in range(4)]
    assert counted(lambda: learner.update(chains, 4)) == pytest.approx(meter.flops, rel=TOLERANCE)
    assert meter.flops == training_flops(sizes_of(policy.model), 4, 18)


def test_an_update_of_evolution_counts_every_perturbation():
    from apportion.train.evolution.arm import _EvolutionWatcher
    from apportion.train.evolution.evolution_update import EvolutionLearner
    from apportion.train.evolution.fitness import load_reward

    task, found = load_task({"kind": "sums"}), []
    problems = task.problems("train", 3, 0)
    for parallel in (1, 4):
        policy = load_tiny("sums")
        options = {"reward": "likelihood", "population": 8, "parallel": parallel}
        config = RunConfig.model_validate(
            {"name": "x", "objective": "evolution", "evolution": options}
        )
        meter = _EvolutionWatcher._make_meter(SimpleNamespace(_config=config, _policy=policy))  # type: ignore[arg-type]
        EvolutionLearner(policy, load_reward(config, policy, task, 0), config, 0).update(problems)
        found.append(meter.flops)
    assert found[0] == found[1] > 0


def test_measuring_is_free_and_copies_share_the_meter(policy):
    meter, ids_BT = CostMeter(policy.model), torch.tensor([[5, 6, 7]])
    with meter.paused(), torch.no_grad():
        policy.model(input_ids=ids_BT)
    assert meter.flops == 0
    with torch.no_grad():
        copy.deepcopy(policy.model)(input_ids=ids_BT)
    assert meter.flops == forward_flops(sizes_of(policy.model), 1, 3)


def test_totals_go_on_from_what_was_recorded(policy):
    meter = CostMeter(policy.model)
    meter.go_on_from({"reward/mean": 1.0})
    assert meter.metrics(3) == {
        "cost/flops": 0.0,
        "cost/generated_tokens": 0.0,
        "cost/examples": 3.0,
    }
    meter.go_on_from({"cost/flops": 12.0, "cost/generated_tokens": 5.0})
    assert (meter.flops, meter.tokens) == (12.0, 5)


LATENT_WAYS = [
    {},
    {"steps": 0},
    {"cell": "identity"},
    {"cell": "lstm"},
    {"cell": "hrpo"},
    {"cell": "soft"},
    {"learning": "text"},
    {"learning": "codi"},
    {"learning": "halting"},
    {"learning": "stop_bit"},
    {"learning": {"kind": "coconut", "updates_per_stage": 1}},
    {"learning": "outcome"},
    {"step_decoder": {"weight": 1.0}},
]


@pytest.mark.parametrize("way", LATENT_WAYS, ids=str)
def test_an_update_of_each_way_of_latent_learning(way):
    from apportion.train.latent.arm import latent_policy
    from apportion.train.latent.latent_update import LatentLearner
    from apportion.train.latent.methods import load_learning
    from apportion.train.latent.methods.example import examples_of

    settings = {
        "name": "x",
        "objective": "latent",
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "latent": {"steps": 3} | way,
        "train": {"group_size": 2, "max_completion_tokens": 6},
    }
    config = RunConfig.model_validate(settings)
    task, policy = load_task({"kind": "sums"}), latent_policy(config)
    policy.model.network.set_attn_implementation("eager")
    meter = CostMeter(policy.model)
    learner = LatentLearner(policy, config, load_learning(config, policy, task))
    examples = examples_of(policy, task, task.problems("train", 3, 0))
    assert counted(lambda: learner.update(examples)) == pytest.approx(meter.flops, rel=TOLERANCE)
