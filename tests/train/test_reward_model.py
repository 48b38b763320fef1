"""Reward models: what they see, what they are fitted to, and training against one."""

import math

import pytest
import torch

from apportion import UserError
from apportion.config import RunConfig
from apportion.policies.reward_model import Answered, RewardModel
from apportion.policies.tiny import build_model, load_tiny
from apportion.records import RunDirectory
from apportion.tasks import load_task
from apportion.trace import Problem
from apportion.train.grpo.model_reward import ProxyReward
from apportion.train.reward_fit import Graded, RewardModelLearner, measure, squared_error
from apportion.train.reward_model import good_answers
from apportion.train.run import run_recipe
from tests.train.tiny_setup import make_tokenizer

PROBLEM = Problem(id="p", prompt="3 + 4 - 2\n", answers=("5",))
GOOD = "so 3 + 4 = 7\nso 7 - 2 = 5\n#### 5"
OTHER_CHAIN = "so 4 + 3 = 9\n#### 5"
OTHER_ANSWER = "so 3 + 4 = 7\nso 7 - 2 = 5\n#### 6"


def answered(text, problem=PROBLEM):
    return Answered(problem, text, load_task({"kind": "sums"}).reasoning_end(text))


def make_config(**changes):
    settings = {
        "name": "rm",
        "objective": "reward_model",
        "task": {"kind": "words", "operations": [1, 1]},
        "train": {
            "updates": 2,
            "prompts_per_update": 2,
            "group_size": 2,
            "learning_rate": 1e-2,
            "max_completion_tokens": 6,
            "checkpoint_every": 1,
            "record_every": 1,
            "threads": 1,
        },
        "eval": {"every": 0, "problems": 3, "final_problems": 3, "showcase": 0},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings | changes)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with an untrained model of 30 thousand parameters."""
    folder = tmp_path_factory.mktemp("start")
    tokenizer = make_tokenizer()
    build_model(tokenizer, hidden_size=32, layers=2, heads=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_model(*, blind, head=0.3):
    model = RewardModel.on_policy(load_tiny("sums"), blind_to_reasoning=blind)
    with torch.no_grad():  # the new head says 0 to everything
        model.model.score.weight.copy_(head * torch.linspace(-1, 1, model.model.score.in_features))
    return model


def test_a_blind_model_sees_no_token_of_the_reasoning():
    blind = make_model(blind=True)
    assert blind.token_ids(answered(GOOD)) == blind.token_ids(answered(OTHER_CHAIN))
    good, other_chain, other_answer = (
        blind.score([answered(text)])[0] for text in (GOOD, OTHER_CHAIN, OTHER_ANSWER)
    )
    assert good == other_chain
    assert good != other_answer


def test_a_seeing_model_tells_chains_apart():
    seeing = make_model(blind=False)
    good, other = seeing.score([answered(GOOD), answered(OTHER_CHAIN)])
    assert good != other


def test_a_completion_without_an_answer_is_the_question_alone():
    blind = make_model(blind=True)
    ids = blind.token_ids(answered("so 3 + 4 = 7"))
    assert ids == load_tiny("sums").prompt_ids(PROBLEM)


def test_scores_do_not_depend_on_the_batch():
    seeing = make_model(blind=False)
    together = seeing.score([answered(GOOD), answered("#### 5")])
    alone = [seeing.score([answered(text)])[0] for text in (GOOD, "#### 5")]
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_head_reads_where_transformers_reads():
    seeing = make_model(blind=False)
    ids = torch.tensor([seeing.token_ids(answered(GOOD))])
    with torch.no_grad():
        theirs = seeing.model(input_ids=ids).logits.item()
    assert seeing.score([answered(GOOD)])[0] == pytest.approx(theirs, abs=1e-5)


def test_saved_and_loaded_it_scores_the_same(tmp_path):
    seeing = make_model(blind=False)
    seeing.save(tmp_path)
    again = RewardModel.load(tmp_path)
    assert not again.blind_to_reasoning
    assert again.score([answered(GOOD)]) == seeing.score([answered(GOOD)])


def test_a_folder_without_a_reward_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="no reward model in"):
        RewardModel.load(tmp_path)


def test_too_long_a_completion_is_refused():
    with pytest.raises(UserError, match="tokens, a reward model reads"):
        make_model(blind=False).token_ids(answered("so 1 + 1 = 2\n" * 500))


def test_a_score_that_is_not_finite_is_refused():
    broken = make_model(blind=True, head=math.nan)
    with pytest.raises(UserError, match="problem p: the reward model says nan"):
        broken.score([answered(GOOD)])


def test_squared_error_by_hand():
    # (0.2 - 0)^2 = 0.04, (0.5 - 1)^2 = 0.25, (1.5 - 1)^2 = 0.25; mean 0.18
    scores, grades = torch.tensor([0.2, 0.5, 1.5]), torch.tensor([0.0, 1.0, 1.0])
    assert squared_error(scores, grades).item() == pytest.approx(0.18)


def test_an_empty_set_and_a_grade_that_is_not_finite_are_refused():
    with pytest.raises(UserError, match="no graded completion"):
        squared_error(torch.zeros(0), torch.zeros(0))
    with pytest.raises(UserError, match="squared error is nan"):
        squared_error(torch.zeros(1), torch.tensor([math.nan]))
    with pytest.raises(UserError, match="no held-out completion could be graded"):
        measure(make_model(blind=True), [])
    learner = RewardModelLearner(make_model(blind=True), make_config(), 0)
    with pytest.raises(UserError, match="no graded completion"):
        learner.step([])
    assert learner.done == 0


def test_it_is_measured_by_hand():
    class Says:
        def score(self, rows):
            return [0.9, 0.6, 0.4, 0.2]

    graded = [
        Graded(answered(GOOD, PROBLEM.model_copy(update={"id": f"p{i}"})), grade)
        for i, grade in enumerate([1.0, 0.0, 1.0, 0.0])
    ]
    found = measure(Says(), graded)
    # errors 0.01, 0.36, 0.36, 0.04; two of four on the right side; 3 of 4 pairs in order
    assert found["reward_model/mse"].value == pytest.approx(0.1925)
    assert found["reward_model/constant_mse"].value == pytest.approx(0.25)
    assert found["reward_model/accuracy"].value == 0.5
    assert found["reward_model/auc"].value == 0.75
    assert "reward_model/auc" not in measure(Says(), [graded[0]] * 4)


def test_it_learns_which_answer_is_right():
    learner = RewardModelLearner(
        RewardModel.on_policy(load_tiny("sums")), make_config(reward_model={"clip": 0.0}), 0
    )
    both = [Graded(answered(GOOD), 1.0), Graded(answered(OTHER_ANSWER), 0.0)]
    assert learner.step(both)["train/loss"] == pytest.approx(0.5)  # a new head says 0
    for _ in range(12):
        learner.step(both)
    right, wrong = learner.reward_model.score([one.answered for one in both])
    assert right > wrong + 0.2


def test_good_answers_are_worth_one():
    task = load_task({"kind": "sums"})
    (one,) = good_answers(task, task.problems("train", 1, 0))
    assert one.grade == task.score(one.answered.problem, one.answered.text) == 1.0
    assert good_answers(task, [PROBLEM]) == []  # no steps are known


def test_the_reward_is_the_models_score_of_text_and_of_chats():
    blind = make_model(blind=True)
    reward = ProxyReward(blind, load_task({"kind": "sums"}).reasoning_end)
    rows = [PROBLEM.model_dump_json()] * 2
    wanted = blind.score([answered(GOOD), answered(OTHER_ANSWER)])
    assert reward([GOOD, OTHER_ANSWER], rows) == wanted
    chats = [[{"role": "assistant", "content": text}] for text in (GOOD, OTHER_ANSWER)]
    assert reward(chats, rows) == wanted


def test_kind_model_needs_a_path():
    with pytest.raises(ValueError, match="kind model needs a path"):
        make_config(reward="model")


def lines(folder, split):
    with RunDirectory(folder, resume=True) as directory:
        return [line for line in directory.read("metrics")[0] if line.split == split]


def test_a_run_is_recorded_resumes_to_the_same_bits_and_serves_as_reward(
    start, tmp_path, monkeypatch
):
    policy = {"kind": "tiny", "checkpoint": str(start)}
    config = make_config(policy=policy)
    run_recipe(config, tmp_path / "whole", plain=True)
    arm = tmp_path / "whole" / "reward_model-s0"
    assert [line.update for line in lines(arm, "train")] == [1, 2]
    assert lines(arm, "test")[-1].metrics["reward_model/mse"]["n"] == 3

    step = RewardModelLearner.step

    def killed(learner, graded):
        if learner.done == 1:
            raise KeyboardInterrupt
        return step(learner, graded)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RewardModelLearner, "step", killed)
        run_recipe(config, tmp_path / "killed", plain=True)
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)
    final = tmp_path / "killed" / "reward_model-s0" / "checkpoints" / "final"
    ours, theirs = (
        RewardModel.load(f).model.state_dict() for f in (arm / "checkpoints" / "final", final)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    against = make_config(
        objective="credit",
        policy=policy,
        reviewers=[],
        reward={"kind": "model", "path": str(final)},
        train=config.train.model_dump() | {"checkpoint_every": 0},
    )
    run_recipe(against, tmp_path / "against", plain=True)
    for line in lines(tmp_path / "against" / "outcome-s0", "train"):
        assert line.metrics["reward/gold"] == 0.0  # an untrained policy is never right
        assert line.metrics["reward/proxy"] == pytest.approx(line.metrics["reward/mean"])
        assert line.metrics["reward/proxy"] != 0.0
