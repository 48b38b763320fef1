"""The supervised term of the credit trainer, by hand and through a whole update."""

import pytest
import torch

pytest.importorskip("trl")

from apportion import UserError
from apportion.config import RunConfig
from apportion.policies import load_policy
from apportion.tasks import load_task
from apportion.trace import Consensus, Rollout, StepConsensus
from apportion.train import CreditGRPOTrainer
from apportion.train.grpo.batch import CreditedBatch
from apportion.train.grpo.imitation import Chain, imitation_loss, imitation_tensors
from apportion.train.grpo.imitators import EditedChains, load_imitator, right_chains
from tests.train.tiny_setup import largest_difference, make_trainer, weights

pytestmark = pytest.mark.filterwarnings("ignore")


def fixed_log_probs(model, ids, mask, keep):
    """-1 for token 1, -2 for token 2 and so on."""
    return -ids[:, -keep:].float(), None, None


def whole(chains):
    inputs = imitation_tensors(chains, pad_id=0)
    inputs["prompt_ids"] = torch.ones(len(chains), 2, dtype=torch.long)
    inputs["prompt_mask"] = torch.ones(len(chains), 2, dtype=torch.long)
    return inputs


def config(**imitation):
    train = {"max_completion_tokens": 64}
    return RunConfig.model_validate({"name": "t", "credit": "dca", "train": train,
                                     "imitation": imitation})  # fmt: skip


CHAINS = [Chain([3, 5], [1.0, 1.0]), None, Chain([7, 2, 4], [0.0, 2.0, 0.0]), None]


def test_loss_is_the_weighted_mean_over_tokens() -> None:
    # (1*3 + 1*5 + 2*2) / (1 + 1 + 2)
    assert imitation_loss(fixed_log_probs, None, whole(CHAINS)).item() == pytest.approx(3.0)


def test_mean_over_micro_batches_is_the_loss_of_the_batch() -> None:
    inputs = whole(CHAINS)
    halves = [{k: v[i : i + 2] for k, v in inputs.items()} for i in (0, 2)]
    losses = [imitation_loss(fixed_log_probs, None, half) for half in halves]
    assert sum(losses).item() / 2 == pytest.approx(3.0)


def test_nothing_to_imitate_gives_zero_with_a_gradient() -> None:
    model = torch.nn.Linear(2, 2)
    loss = imitation_loss(fixed_log_probs, model, whole([None, None]))
    loss.backward()
    assert loss.item() == 0.0 and model.weight.grad is not None


def test_imitation_alone_raises_the_likelihood_of_the_chain(tmp_path) -> None:
    chain = Chain([5, 6, 7], [1.0, 1.0, 1.0])
    trainer = make_trainer(
        CreditGRPOTrainer, tmp_path, steps=4, credit="outcome",
        imitate=lambda batch: [chain] * len(batch.rollouts), policy_weight=0.0,
    )  # fmt: skip
    trainer.train()
    losses = [log["imitation/loss"] for log in trainer.state.log_history if "loss" in log]
    assert losses[-1] < losses[0] - 0.2


def test_weight_zero_is_plain_credit_training_to_the_bit(tmp_path) -> None:
    plain = make_trainer(CreditGRPOTrainer, tmp_path / "a", steps=2, credit="outcome")
    plain.train()
    ours = make_trainer(
        CreditGRPOTrainer, tmp_path / "b", steps=2, credit="outcome",
        imitate=lambda batch: [Chain([5], [1.0])] * len(batch.rollouts), imitation_weight=0.0,
    )  # fmt: skip
    ours.train()
    assert largest_difference(weights(plain), weights(ours)) == 0.0


@pytest.fixture(scope="module")
def batch():
    """One wrong, one right and one right but rambling chain for problems of ``sums``."""
    policy = load_policy({"kind": "tiny", "checkpoint": "sums"})
    task = load_task("sums")
    rollouts, samples = [], []
    for index, problem in enumerate(task.problems("train", 3, 0)):
        text = task.gold_completion(problem)
        lead = 0
        if index == 0:
            text = text.rsplit(" ", 1)[0] + " 0"
        if index == 2:
            text, lead = "so 1 + 1 = 2\n" + text, len("so 1 + 1 = 2\n")
        ids = policy.tokenizer(text, return_offsets_mapping=True)
        rollout = Rollout(
            id=f"r{index}", problem=problem, text=text, reasoning_end=task.reasoning_end(text),
            token_ids=tuple(ids["input_ids"]), token_spans=tuple(ids["offset_mapping"]),
            outcome=task.score(problem, text),
        )  # fmt: skip
        cuts = [(0, lead, "irrelevant")] if lead else []
        cuts.append((lead, rollout.reasoning_end, "useful"))
        steps = tuple(
            StepConsensus(start=a, end=b, status="agreed", label=label) for a, b, label in cuts
        )
        rollouts.append(rollout)
        samples.append(
            type("S", (), {"consensus": Consensus(rollout_id=rollout.id, rule="majority",
                                                  steps=steps, valid_reviews=1)})
        )  # fmt: skip
    return policy, task, CreditedBatch(rollouts, [], samples, [], "dca", [], {})


def test_right_chains_are_imitated_as_sampled(batch) -> None:
    _, _, made = batch
    chains = right_chains(made)
    assert chains[0] is None
    assert chains[1].token_ids == made.rollouts[1].token_ids


def test_edited_chains_lose_the_irrelevant_step(batch) -> None:
    policy, task, made = batch
    chains = EditedChains(config(chains="edited", operations=("delete",)), policy, task, 0)(made)
    assert chains[0] is None
    assert chains[1].token_ids == made.rollouts[1].token_ids
    text = policy.tokenizer.decode(chains[2].token_ids, skip_special_tokens=True)
    assert made.rollouts[2].text == "so 1 + 1 = 2\n" + text
    assert made.metrics["imitation/edited"] == pytest.approx(1 / 3)
    assert made.metrics["imitation/kept"] == 1.0


def test_only_edits_weighs_what_moved(batch) -> None:
    policy, task, made = batch
    options = config(chains="edited", operations=("delete",), only_edits=True)
    chain = EditedChains(options, policy, task, 0)(made)[2]
    assert 0 < sum(w > 0 for w in chain.weights) < len(chain.weights)


def test_a_wrong_step_is_replaced_and_the_rest_written_again(batch) -> None:
    policy, task, _ = batch
    problem = task.problems("train", 1, 5)[0]
    lines = task.gold_completion(problem).splitlines()
    wrong = lines[0].rsplit(" ", 1)[0] + " 59"
    text = "\n".join([wrong, *lines[1:]])
    rollout = Rollout(id="w", problem=problem, text=text, reasoning_end=task.reasoning_end(text),
                      outcome=0.0)  # fmt: skip
    first = StepConsensus(start=0, end=len(wrong) + 1, status="agreed", label="harmful",
                          instead=lines[0])  # fmt: skip
    rest = StepConsensus(start=first.end, end=rollout.reasoning_end, status="unreviewed")
    agreed = Consensus(rollout_id="w", rule="majority", steps=(first, rest), valid_reviews=1)
    sample = type("S", (), {"consensus": agreed})
    made = CreditedBatch([rollout], [], [sample], [], "dca", [], {})
    [chain] = EditedChains(config(chains="edited", operations=("replace",)), policy, task, 0)(made)
    assert made.metrics["imitation/edited"] == 1.0
    if chain is not None:  # the policy may still fail to go on rightly: then it is not imitated
        written = policy.tokenizer.decode(chain.token_ids, skip_special_tokens=True)
        assert written.startswith(lines[0]) and task.score(problem, written) == 1.0


def test_edits_without_reviews_are_refused(batch) -> None:
    policy, task, _ = batch
    asked = RunConfig.model_validate(
        {"name": "t", "credit": "outcome", "imitation": {"chains": "edited"}}
    )
    with pytest.raises(UserError, match="needs reviews"):
        load_imitator(asked, policy, task, 0)
