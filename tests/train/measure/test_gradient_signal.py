"""The cosine of successive gradients, and the gap between trained and new problems."""

import gc
import json

import pytest
import torch
from torch.optim import optimizer as torch_optimizer

from apportion.config import RunConfig
from apportion.report.signals import per_rollout
from apportion.stats import unpaired_bootstrap
from apportion.tasks import load_task
from apportion.train.measure.gap import gap_metrics
from apportion.train.measure.gradient_signal import GradientSignal
from tests.train.latent.test_latent import make_config


def step(optimizer, model, gradient):
    model.weight.grad = torch.tensor([gradient])
    optimizer.step()


def test_cosines_by_hand_and_other_weights_are_not_watched():
    model, other = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)
    signal = GradientSignal(model)
    ours = torch.optim.SGD(model.parameters(), lr=0.1)
    theirs = torch.optim.SGD(other.parameters(), lr=0.1)
    step(ours, model, [1.0, 0.0])
    assert signal.metrics() == {}
    step(theirs, other, [-1.0, 0.0])
    step(ours, model, [3.0, 3.0])
    step(ours, model, [0.0, -5.0])
    half = 0.5**0.5
    assert signal.metrics()["train/gradient_cosine"] == pytest.approx((half - half) / 2)
    step(ours, model, [0.0, 0.0])
    assert signal.metrics() == {}


def test_signal_per_rollout_is_found_from_noise():
    torch.manual_seed(0)
    model = torch.nn.Linear(50, 1, bias=False)
    signal, optimizer = GradientSignal(model), torch.optim.SGD(model.parameters(), lr=0.0)
    true, rollouts, noise = torch.full((1, 50), 0.2), 16, 1.5
    for _ in range(600):
        model.weight.grad = true + noise / rollouts**0.5 * torch.randn(1, 50)
        optimizer.step()
    cosine = signal.metrics()["train/gradient_cosine"]
    expected = float(true.square().sum()) / (50 * noise**2)
    assert per_rollout(cosine, rollouts) == pytest.approx(expected, rel=0.1)


def test_what_no_longer_watches_leaves_no_hook():
    before = len(torch_optimizer._global_optimizer_pre_hooks)
    signal = GradientSignal(torch.nn.Linear(1, 1))
    assert len(torch_optimizer._global_optimizer_pre_hooks) == before + 1
    del signal
    gc.collect()
    assert len(torch_optimizer._global_optimizer_pre_hooks) == before


class Remembers:
    """Right about training problems and one in two of the others."""

    def __init__(self, task):
        self._task = task

    def sample(self, problems, **_):
        from tests.faithfulness.rules import gold_rollouts

        gold = {r.problem.id: r for r in gold_rollouts(self._task, 8)}
        found = []
        for place, problem in enumerate(problems):
            text = str(self._task.gold_completion(problem))
            wrong = "test" in problem.id and place % 2
            text = "#### 0" if wrong else text
            template = next(iter(gold.values()))
            found.append(
                template.model_copy(
                    update={
                        "id": problem.id,
                        "problem": problem,
                        "text": text,
                        "reasoning_end": self._task.reasoning_end(text),
                        "token_ids": (),
                        "token_spans": (),
                        "logprobs": None,
                    }
                )
            )
        return found


def test_the_gap_of_a_policy_that_learned_by_heart():
    from apportion.train.measure.evaluate import score_rollouts

    task = load_task({"kind": "sums"})
    policy = Remembers(task)
    settings = {"name": "x", "eval": {"trained_problems": 20}}
    config = RunConfig.model_validate(settings)
    new = score_rollouts(task, policy.sample(task.problems("test", 40, 0)))
    found = gap_metrics(config, 0, task, policy, new)  # type: ignore[arg-type]
    assert found["gap/trained_accuracy"].value == 1.0
    assert found["gap/accuracy"].value == pytest.approx(0.5)
    expected = unpaired_bootstrap([float(i % 2 == 0) for i in range(40)], [1.0] * 20)
    assert expected is not None and found["gap/accuracy"].low == pytest.approx(expected.low)
    assert gap_metrics(RunConfig(name="x"), 0, task, policy, new) == {}  # type: ignore[arg-type]


def test_a_run_records_both(tmp_path):
    from apportion.policies.tiny import build_model
    from apportion.train.run import run_recipe
    from tests.train.tiny_setup import make_tokenizer

    start = tmp_path / "start"
    tokenizer = make_tokenizer()
    build_model(tokenizer, hidden_size=32, layers=2, heads=2).save_pretrained(start)
    tokenizer.save_pretrained(start)
    config = make_config(start, train={"updates": 3, "gradient_signal": True})
    evaluation = config.eval.model_copy(update={"trained_problems": 4, "every": 0})
    run_recipe(config.model_copy(update={"eval": evaluation}), tmp_path / "run", plain=True)
    (latents,) = tmp_path.glob("run/*/latents.jsonl")
    assert len(latents.read_text().splitlines()) == config.eval.showcase == 2
    (file,) = tmp_path.glob("run/*/metrics.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    cosines = [m["metrics"].get("train/gradient_cosine") for m in lines if m["split"] == "train"]
    assert cosines[0] is None and all(-1 <= c <= 1 for c in cosines[1:])
    assert lines[-1]["metrics"]["gap/trained_accuracy"]["n"] == 4
