"""A reward model reads what a latent policy writes, and never a latent step."""

import pytest
import torch

from apportion.config import RunConfig
from apportion.config.latent_methods import OutcomeMethod
from apportion.policies.reward_model import RewardModel
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task
from apportion.train.latent.arm import latent_policy
from apportion.train.latent.latent_update import LatentLearner
from apportion.train.latent.methods import load_learning
from apportion.train.latent.methods.example import examples_of
from apportion.train.latent.methods.outcome import Outcome
from apportion.train.latent.methods.reward import CompletionReward

TASK = {"kind": "sums", "operations": [2, 3], "terms": [1, 9], "largest": 60}
HYBRID = {"kind": "hrpo", "sampled": True, "low": 0.99, "high": 0.999}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Reward models that see the answer alone, and the reasoning too, with a head of noise."""
    found = {}
    for name in ("blind", "seeing"):
        model = RewardModel.on_policy(load_tiny("sums"), blind_to_reasoning=name == "blind")
        torch.manual_seed(0)
        torch.nn.init.normal_(model.model.score.weight)
        found[name] = tmp_path_factory.mktemp(name)
        model.save(found[name])
    return found


def make_config(folder, **latent):
    return RunConfig.model_validate(
        {
            "name": "reward",
            "objective": "latent",
            "task": TASK,
            "policy": {"kind": "tiny", "checkpoint": "sums"},
            "latent": {"learning": "outcome", "steps": 3} | latent,
            "reward": {"kind": "model", "path": str(folder)},
            "train": {
                "updates": 2,
                "prompts_per_update": 2,
                "group_size": 4,
                "max_completion_tokens": 6,
                "threads": 1,
            },
        }
    )


def learner_of(config):
    task, policy = load_task(config.task), latent_policy(config)
    method = load_learning(config, policy, task)
    examples = examples_of(policy, task, task.problems("train", 2, 0), method.positions)
    return LatentLearner(policy, config, method), examples


@pytest.mark.parametrize(
    "latent", [{}, {"learning": "hrpo", "cell": HYBRID, "steps": 40}], ids=["latents", "hybrid"]
)
def test_it_is_given_text_alone(folders, monkeypatch, latent):
    """All that reaches the reward model's network is made of the prompt and of the text."""
    seen, entered = [], []
    score, forward = RewardModel.score, RewardModel.forward
    monkeypatch.setattr(
        RewardModel, "score", lambda self, answered: seen.extend(answered) or score(self, answered)
    )

    def watched(self, answered):
        hook = self.model.base_model.register_forward_pre_hook(
            lambda _module, args, kwargs: entered.append((args, kwargs)), with_kwargs=True
        )
        try:
            return forward(self, answered)
        finally:
            hook.remove()

    monkeypatch.setattr(RewardModel, "forward", watched)
    learner, examples = learner_of(make_config(folders["seeing"], **latent))
    metrics = learner.update(examples)
    assert {"reward/proxy", "reward/gold"} <= metrics.keys()
    assert metrics["reward/mean"] == pytest.approx(metrics["reward/proxy"], abs=1e-6)
    tokenizer = learner.policy.tokenizer
    assert len(seen) == 8 and all(type(one.text) is str for one in seen)
    ((args, kwargs),) = entered
    assert args == () and kwargs.keys() == {"input_ids", "attention_mask"}
    for one, ids, mask in zip(seen, kwargs["input_ids"], kwargs["attention_mask"], strict=True):
        expected = tokenizer(one.problem.prompt)["input_ids"] + tokenizer(one.text)["input_ids"]
        assert ids[mask.bool()].tolist() == expected
    if not latent:  # nothing was written but the answer
        assert all(len(tokenizer(one.text)["input_ids"]) <= 6 for one in seen)


def test_other_latents_with_the_same_answer_are_worth_the_same(folders, monkeypatch):
    config = make_config(folders["seeing"])
    task = load_task(config.task)
    problems = task.problems("train", 1, 0)
    texts = ["#### 5", "#### 6"]
    worth = []
    for noise in ("none", "gaussian"):
        policy = latent_policy(config)
        reward = CompletionReward(config, task, policy.model.device)
        method = Outcome(policy, OutcomeMethod(noise=noise, strength=1.0), reward, config.train)
        ids = [policy.tokenizer(text)["input_ids"] for text in texts]
        monkeypatch.setattr(method, "_sample", lambda rows, ids=ids: [ids[i % 2] for i in range(8)])
        rows = method.targets(examples_of(policy, task, problems) * 2)
        called = []
        monkeypatch.setattr(
            method, "_reward", lambda p, t, r=reward, c=called: c.append(r(p, t)) or c[-1]
        )
        method.learn(rows, LatentLearner(policy, config, method)._bptt)
        worth.append(called[0])
    assert worth[0] == worth[1]
    assert worth[0][0][0] != worth[0][0][1]


def test_a_blind_one_does_not_see_a_hybrid_thought(folders):
    config = make_config(folders["blind"], learning="hrpo", cell=HYBRID, steps=40)
    task = load_task(config.task)
    problems = task.problems("train", 1, 0) * 3
    texts = ["so 1 + 1 = 2\n#### 5", "so 9 - 3 = 6\n#### 5", "so 1 + 1 = 2\n#### 6"]
    blind, figures = CompletionReward(config, task, torch.device("cpu"))(problems, texts)
    assert blind[1] == pytest.approx(blind[0], abs=1e-4)
    assert abs(blind[2] - blind[0]) > 1e-3
    assert figures["reward/proxy"] == pytest.approx(sum(blind) / 3)
    seeing = make_config(folders["seeing"])
    found, _ = CompletionReward(seeing, task, torch.device("cpu"))(problems, texts)
    assert min(abs(found[i] - found[j]) for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3
