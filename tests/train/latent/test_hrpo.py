"""Hybrid thought: the gradient of the expected outcome by enumeration, and writing as text."""

import json
from itertools import product

import pytest
import torch

from apportion.config import RunConfig, TrainConfig
from apportion.config.latent_methods import HrpoMethod
from apportion.errors import UserError
from apportion.policies.latent.gradient import Bptt
from apportion.policies.latent.policy import LatentPolicy
from apportion.train.latent.methods import load_learning
from apportion.train.latent.methods.example import Example, Target
from apportion.train.latent.methods.hrpo import Hrpo
from tests.policies.latent.small import latent, llama
from tests.train.agent.toy import Tokenizer

CELL = {"kind": "hrpo", "sampled": True, "low": 0.3, "high": 0.7}
END, WORDS = 3, range(4)  # token 3 ends a thought; two tokens are thought at most


class Four(torch.nn.Module):
    """A head of which only the first four tokens can be drawn."""

    def __init__(self, head):
        super().__init__()
        self.head, self.weight = head, head.weight

    def forward(self, hidden):
        logits = self.head(hidden)
        return logits.masked_fill(torch.arange(logits.shape[-1]) >= 4, -1e9)


@pytest.fixture
def policy():
    network = llama()
    model = latent(CELL, network, steps=2)
    model.generation_config.eos_token_id = None
    network.lm_head = Four(network.lm_head)
    made = LatentPolicy(model, Tokenizer(), "toy")
    model.sampler.ending = (END,)
    return made


def target():
    return Target([5, 6, 7], [0], 2, Example([5, 6, 7], [0]))


def thoughts():
    """All that can be thought: the end at once, or one token and any other."""
    return [(END,), *(pair for pair in product(WORDS, WORDS) if pair[0] != END)]


def outcome(thought, answer):
    return float((sum(thought) + answer) % 3) / 2


def slow_probability(policy, thought, answer):
    """By the formulas of the paper, the sequence run anew for each token."""
    model, decoder = policy.model, policy.model.decoder
    embeds = [*decoder.embed(torch.tensor([5, 6, 7]))]
    total = torch.zeros((), dtype=torch.float64)
    for token in (*thought, answer):
        hidden = model.network.base_model(inputs_embeds=torch.stack(embeds)[None])
        p = decoder.logits(hidden.last_hidden_state[0, -1]).softmax(-1)
        total = total + p[token].log()
        e = decoder.embed(torch.tensor(token))
        s = (p[:, None] * decoder.embeddings()).sum(0) / p.square().sum().sqrt()
        r, i = model.cell.remember(e).sigmoid(), model.cell.admit(e).sigmoid()
        a = torch.exp(-8 * torch.nn.functional.softplus(-model.cell.decay) * r)
        embeds.append(a * e + (1 - a**2 + 1e-8).sqrt() * (i * s))
    return total.exp()


def test_the_gradient_is_that_of_the_expected_outcome(policy, monkeypatch):
    train = TrainConfig(prompts_per_update=1, group_size=2, scale_rewards="none")
    method = Hrpo(policy, HrpoMethod(), None, train)
    weights = [p for p in policy.model.parameters() if p.requires_grad]
    ways = list(product(thoughts(), WORDS))
    chances = [slow_probability(policy, *way) for way in ways]
    assert sum(c.item() for c in chances) == pytest.approx(1.0, abs=1e-9)
    mean = sum(c * outcome(*way) for c, way in zip(chances, ways, strict=True))
    exact = torch.autograd.grad(mean, weights, allow_unused=True)
    # Against the zero return of a partner the advantage of a group of two is half the return, so
    # weighting each way by its chance gives half the gradient; all ways are one batch.
    monkeypatch.setattr(
        "apportion.train.latent.methods.hrpo.group_advantages",
        lambda outcomes, group, *, scale: torch.tensor(outcomes, dtype=torch.float64),
    )
    rows = [target() for _ in ways]
    gains = [c.item() * outcome(*way) for c, way in zip(chances, ways, strict=True)]
    written = [list(thought) for thought, _ in ways]
    answers = [[answer] for _, answer in ways]
    monkeypatch.setattr(method, "_figures", lambda *_: {})
    output = method._hybrid_loss(rows, written, answers, gains, Bptt())
    tokens = sum(map(len, written)) + len(answers)
    found = torch.autograd.grad(output.loss * tokens, weights, allow_unused=True)
    assert output.figures["latent/steps"] == pytest.approx(sum(map(len, written)) / len(ways))
    largest = 0.0
    for got, wanted in zip(found, exact, strict=True):
        if wanted is not None:
            assert got is not None
            torch.testing.assert_close(-got, wanted, rtol=1e-6, atol=1e-9)
            largest = max(largest, wanted.abs().max().item())
    assert largest > 1e-3


def test_without_through_the_mixed_in_part_is_a_constant(policy):
    train = TrainConfig(prompts_per_update=1, group_size=2)
    gradients = []
    for through in (True, False):
        method = Hrpo(policy, HrpoMethod(through=through), None, train)
        rows, written, answers = [target(), target()], [[1, 2], [0, END]], [[1], [2]]
        loss = method._hybrid_loss(rows, written, answers, [1.0, 0.0], Bptt()).loss
        gradients.append(torch.autograd.grad(loss, policy.model.cell.parameters()))
    pairs = list(zip(*gradients, strict=True))
    assert all(one.abs().max() > 0 and other.abs().max() > 0 for one, other in pairs)
    assert any(not torch.allclose(one, other) for one, other in pairs)


def test_recomputing_replays_the_same_tokens(policy):
    train = TrainConfig(prompts_per_update=1, group_size=2)
    method = Hrpo(policy, HrpoMethod(), None, train)
    rows, written, answers = [target(), target()], [[1, 2], [0, END]], [[1], [2]]
    found = []
    for bptt in (Bptt(), Bptt(recompute=1)):
        policy.model.zero_grad()
        method._hybrid_loss(rows, written, answers, [1.0, 0.0], bptt).loss.backward()
        found.append([p.grad.clone() for p in policy.model.cell.parameters() if p.grad is not None])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_what_is_written_is_part_of_the_completion(policy):
    torch.manual_seed(3)
    completions = list(policy._generate([[5, 6, 7]] * 30, 1.0, 1))
    lengths = {len(ids) for ids, *_ in completions}
    assert lengths == {2, 3}
    for ids, logprobs, _ in completions:
        assert (len(ids) == 2) == (ids[0] == END)
        chance = slow_probability(policy, tuple(ids[:-1]), ids[-1])
        assert sum(logprobs) == pytest.approx(chance.log().item(), abs=1e-5)
    assert len({tuple(ids) for ids, *_ in completions}) > 5
    greedy = [ids for ids, *_ in policy._generate([[5, 6, 7]] * 2, 0.0, 1)]
    assert greedy[0] == greedy[1]
    best = max(
        WORDS,
        key=lambda w: sum(
            slow_probability(policy, t, a).item() for t in thoughts() if t[0] == w for a in WORDS
        ),
    )
    assert greedy[0][0] == best


def settings(**changes):
    found = {
        "name": "hrpo",
        "objective": "latent",
        "task": {"kind": "sums", "operations": [1, 1], "terms": [1, 9]},
        "policy": {"kind": "tiny", "checkpoint": "sums"},
        "latent": {"learning": "hrpo", "steps": 20, "cell": {"kind": "hrpo", "sampled": True}},
        "train": {
            "updates": 2,
            "prompts_per_update": 2,
            "group_size": 2,
            "threads": 1,
            "max_completion_tokens": 6,
            "record_every": 1,
        },
        "eval": {"every": 0, "problems": 4, "final_problems": 4, "showcase": 1},
        "alarm": {"enabled": False},
    }
    found |= {"reward": changes.pop("reward")} if "reward" in changes else {}
    found["latent"] = found["latent"] | changes
    return RunConfig.model_validate(found)


def test_with_a_carry_of_nearly_one_it_writes_what_the_text_policy_writes():
    from apportion.policies import load_policy
    from apportion.tasks import load_task
    from apportion.train.latent.arm import latent_policy

    task = {"kind": "sums", "operations": [3, 5], "terms": [1, 9], "largest": 60}
    problems = load_task(task).problems("test", 6, 0)
    text = load_policy({"kind": "tiny", "checkpoint": "sums"})
    almost = {"kind": "hrpo", "sampled": True, "low": 0.999999, "high": 0.999999}
    hybrid = latent_policy(settings(cell=almost, steps=72))
    one, other = (p.sample(problems, temperature=0.0, max_tokens=72) for p in (text, hybrid))
    assert [r.text for r in one] == [r.text for r in other]
    assert all("####" in r.text for r in one)
    for a, b in zip(one, other, strict=True):
        assert a.token_ids == b.token_ids
        assert a.logprobs == pytest.approx(b.logprobs, abs=0.02)
        assert b.meta["latent_steps"] == b.token_ids.index(272) + 1  # up to the mark


def test_a_whole_run(tmp_path):
    from apportion.policies import load_policy
    from apportion.train.run import run_recipe

    run_recipe(settings(), tmp_path / "run", plain=True)
    arm = tmp_path / "run" / "latent-s0"
    written = [json.loads(line) for line in (arm / "metrics.jsonl").read_text().splitlines()]
    train = [w for w in written if w["split"] == "train"]
    assert [w["rollouts"] for w in train] == [4, 8]
    assert all(0 < w["metrics"]["latent/steps"] <= 20 for w in train)
    model = load_policy({"kind": "latent", "model": str(arm / "checkpoints" / "final")}).model
    assert model.sampler is not None and model.sampler.ending == (272,)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"cell": "hrpo"}, "it samples tokens while it thinks: use latent.cell"),
        (
            {"learning": "answer"},
            "latent.learning answer: tokens that latent.cell hrpo samples",
        ),
        ({"steps": 0}, "latent.steps: hrpo thinks for at most so many tokens"),
        ({"reward": "likelihood"}, "reward.kind likelihood: a latent chain is a function"),
        (
            {"learning": "answer", "cell": "mlp", "reward": "likelihood"},
            "reward.kind likelihood: latent.learning answer learns from gold answers",
        ),
        (
            {"learning": "text", "cell": "mlp", "step_decoder": {"weight": 0.5}},
            "latent.step_decoder: learning text writes its steps",
        ),
    ],
)
def test_settings_that_do_not_fit(changes, complaint):
    from apportion.tasks import load_task
    from apportion.train.latent.arm import latent_policy

    config = settings(**changes)
    with pytest.raises(UserError, match=complaint):
        load_learning(config, latent_policy(config), load_task(config.task))
