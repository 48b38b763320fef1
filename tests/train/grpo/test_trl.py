"""The credit trainer against the stock trainer of TRL."""

import inspect
import json
from typing import ClassVar

import numpy as np
import pytest
import torch

pytest.importorskip("trl")

from trl.trainer.grpo_trainer import GRPOTrainer

from apportion import Review, StepVerdict, UserError
from apportion.credit import Method, TokenCredit
from apportion.train import CreditGRPOTrainer
from tests.train.tiny_setup import largest_difference, make_trainer, weights

pytestmark = pytest.mark.filterwarnings("ignore")


class StepsByParity:
    """Blames every second step; counts its calls."""

    name, critiques = "parity", 1

    def __init__(self):
        self.calls = 0

    async def review(self, problem, rollout_text, steps, outcome, *, rollout_id="", critique=0):
        self.calls += 1
        verdicts = tuple(
            StepVerdict(label="harmful" if i % 2 else "useful") for i in range(len(steps))
        )
        return Review(
            rollout_id=rollout_id, reviewer=self.name, steps=tuple(steps), verdicts=verdicts
        )


@pytest.mark.parametrize("name", ["_calculate_rewards", "_generate_and_score_completions",
                                  "_compute_loss", "_save_checkpoint"])  # fmt: skip
def test_contract_with_trl(name):
    expected = {
        "_calculate_rewards": ["inputs", "prompts", "completions", "completion_ids_list"],
        "_generate_and_score_completions": ["inputs"],
        "_compute_loss": ["model", "inputs"],
        "_save_checkpoint": ["model", "trial"],
    }
    theirs = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)[1:]
    assert theirs == expected[name], f"TRL moved: override {name} takes {theirs}"


@pytest.mark.parametrize("loss_type", ["dr_grpo", "dapo"])
def test_outcome_credit_is_stock_grpo_to_the_bit(tmp_path, loss_type):
    extra = {"loss_type": loss_type}
    stock = make_trainer(GRPOTrainer, tmp_path / "a", extra=extra)
    before = weights(stock)
    stock.train()
    ours = make_trainer(CreditGRPOTrainer, tmp_path / "b", extra=extra, credit="outcome")
    ours.train()
    assert largest_difference(weights(stock), weights(ours)) == 0.0
    assert largest_difference(before, weights(stock)) > 1e-4


def test_credit_changes_the_update_and_stays_aligned_with_its_tokens(tmp_path):
    seen = []

    class Spy(CreditGRPOTrainer):
        def _compute_loss(self, model, inputs):
            seen.append((inputs["advantages"].clone(), inputs["completion_ids"].clone()))
            return super()._compute_loss(model, inputs)

    batches = []
    trainer = make_trainer(
        Spy, tmp_path, steps=2, credit={"method": "random"}, reviewers=[StepsByParity()],
        on_credit=batches.append, segmenter="sentence",
    )  # fmt: skip
    trainer.train()
    by_ids = {
        tuple(r.token_ids): c.advantages_T
        for batch in batches
        for r, c in zip(batch.rollouts, batch.credits, strict=True)
    }
    assert len(seen) == 4
    for advantages_BT, ids_BT in seen:
        for advantage_T, ids_T in zip(advantages_BT, ids_BT.tolist(), strict=True):
            match = next(ids for ids in by_ids if ids == tuple(ids_T[: len(ids)]))
            expected = torch.tensor(by_ids[match], dtype=torch.float32)
            assert torch.equal(advantage_T[: len(match)], expected)
            assert not advantage_T[len(match) :].any()


def test_completion_log_and_metrics_tell_the_truth(tmp_path):
    reviewer = StepsByParity()
    batches = []
    trainer = make_trainer(
        CreditGRPOTrainer, tmp_path, steps=1, reviewers=[reviewer], credit="dca",
        on_credit=batches.append, extra={"log_completions": True},
    )  # fmt: skip
    trainer.train()
    rows = sorted((tmp_path / "completions").glob("*.parquet"))
    import pandas

    table = pandas.read_parquet(rows[-1])
    means = [float(c.advantages_T.mean()) for c in batches[0].credits]
    assert table["advantage"].tolist() == pytest.approx(means)
    steps = json.loads(table["credit"][0])
    assert {"start", "end", "value", "why"} <= set(steps[0])
    assert reviewer.calls == 16
    logged = trainer.state.log_history[0]
    assert logged["review/failed"] == 0.0 and "credit/agreed_tokens" in logged


def test_reviewers_are_not_called_in_evaluation(tmp_path):
    reviewer = StepsByParity()
    trainer = make_trainer(CreditGRPOTrainer, tmp_path, steps=1, reviewers=[reviewer])
    trainer.eval_dataset = trainer.train_dataset.select(range(4))
    trainer.model.eval()
    trainer.evaluate()
    assert reviewer.calls == 0


def test_reviewer_that_is_down_leaves_outcome_grpo(tmp_path):
    class Down(StepsByParity):
        async def review(self, problem, rollout_text, steps, outcome, *, rollout_id="", critique=0):
            return Review(rollout_id=rollout_id, reviewer="down", error="connection refused")

    stock = make_trainer(GRPOTrainer, tmp_path / "a")
    stock.train()
    for credit in ("dca", "capo"):
        ours = make_trainer(CreditGRPOTrainer, tmp_path / credit, credit=credit, reviewers=[Down()])
        ours.train()
        assert largest_difference(weights(stock), weights(ours)) == 0.0
        assert ours.state.log_history[0]["review/failed"] == 1.0


def test_lora_trains_only_the_adapter(tmp_path):
    from peft import LoraConfig

    trainer = make_trainer(
        CreditGRPOTrainer, tmp_path, steps=2, credit="random", reviewers=[StepsByParity()],
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )  # fmt: skip
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    trainer.train()
    moved = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all("lora" in name for name in moved)


def test_all_equal_rewards_move_nothing(tmp_path):
    trainer = make_trainer(CreditGRPOTrainer, tmp_path, steps=1, reviewers=[StepsByParity()])
    trainer.reward_funcs = [lambda completion_ids, **_: [1.0] * len(completion_ids)]
    before = weights(trainer)
    trainer.train()
    assert largest_difference(before, weights(trainer)) == 0.0


def test_loss_that_is_not_finite_is_refused(tmp_path):
    class Broken(Method):
        reads_reviews: ClassVar[bool] = False

        def assign(self, group):
            nothing = [np.full(len(s.mask_T), np.nan) for s in group.samples]
            return [TokenCredit(values_T, values_T) for values_T in nothing]

    trainer = make_trainer(CreditGRPOTrainer, tmp_path, steps=2, credit=Broken())
    with pytest.raises(UserError, match=r"loss is nan at update 0: lower the learning rate"):
        trainer.train()


def test_checkpoints_between_generations_are_refused(tmp_path):
    extra = {"num_iterations": 2, "save_strategy": "steps", "save_steps": 3}
    with pytest.raises(UserError, match="save_steps 3 is not a multiple of 2"):
        make_trainer(CreditGRPOTrainer, tmp_path, extra=extra)


def test_the_last_checkpoint_may_fall_anywhere(tmp_path):
    extra = {"num_iterations": 2, "save_strategy": "steps", "save_steps": 2}
    trainer = make_trainer(
        CreditGRPOTrainer, tmp_path, steps=3, extra=extra, reviewers=[StepsByParity()]
    )
    trainer.train()
    assert {p.name for p in tmp_path.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-3"}
    trainer.state.global_step = 1
    with pytest.raises(UserError, match="update 1 lies between two generations"):
        trainer._save_checkpoint(trainer.model, None)
