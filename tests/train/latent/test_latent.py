"""Training a latent policy: what is learned, recorded, resumed and refused."""

import json
from itertools import islice

import pytest
import torch

from apportion import Problem, UserError
from apportion.config import RunConfig, check_parts
from apportion.policies import load_policy
from apportion.policies.tiny import build_model
from apportion.tasks import load_task
from apportion.train.draws import batches
from apportion.train.latent.arm import latent_policy
from apportion.train.latent.latent_update import LatentLearner
from apportion.train.latent.methods.example import examples_of
from apportion.train.run import run_recipe
from tests.train.tiny_setup import make_tokenizer


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with an untrained model of 30 thousand parameters."""
    folder = tmp_path_factory.mktemp("start")
    tokenizer = make_tokenizer()
    build_model(tokenizer, hidden_size=32, layers=2, heads=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_config(start, latent=None, train=None, **changes):
    settings = {
        "name": "latent",
        "objective": "latent",
        "task": {"kind": "words", "operations": [1, 1]},
        "policy": {"kind": "tiny", "checkpoint": str(start)},
        "latent": {"cell": "mlp", "steps": 3} | (latent or {}),
        "train": {
            "updates": 6,
            "prompts_per_update": 4,
            "learning_rate": 1e-3,
            "max_completion_tokens": 6,
            "record_every": 3,
            "threads": 1,
        }
        | (train or {}),
        "eval": {"every": 3, "problems": 4, "final_problems": 4, "showcase": 2},
        "alarm": {"enabled": False},
    }
    return RunConfig.model_validate(settings | changes)


def make_learner(config, seed=0):
    torch.manual_seed(seed)
    policy = latent_policy(config)
    task = load_task(config.task)
    return LatentLearner(policy, config), examples_of(policy, task, task.problems("train", 8, 0))


def weights(learner):
    return {n: p.detach().clone() for n, p in learner.policy.model.named_parameters()}


def lines(path):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for line in found:
        line.get("metrics", {}).pop("train/seconds", None)
    return found


def test_only_the_answer_is_learned(start):
    learner, examples = make_learner(make_config(start))
    task = load_task({"kind": "words", "operations": [1, 1]})
    tokenizer = learner.policy.tokenizer
    for problem, example in zip(task.problems("train", 8, 0), examples, strict=True):
        assert tokenizer.decode(example.question) == problem.prompt
        assert example.answer[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(example.answer[:-1]) == f"#### {problem.answers[0]}"


def test_it_fits_a_handful_of_answers(start):
    learner, examples = make_learner(make_config(start, train={"learning_rate": 5e-3}))
    losses = [learner.update(examples[:4])["train/loss"] for _ in range(25)]
    assert losses[-1] < 0.3 * losses[0]


def test_without_latent_steps_an_update_is_supervised_training_to_the_bit(start):
    config = make_config(start, {"steps": 0, "clip": 0.0, "weight_decay": 0.0})
    learner, examples = make_learner(config)
    # Of one length, so that supervised training needs no padding.
    length = len(examples[0].question)
    same = [e._replace(question=(e.question * 9)[:length]) for e in examples]
    same = [e for e in same if len(e.answer) == len(examples[0].answer)][:3]
    network = load_policy({"kind": "tiny", "checkpoint": str(start)}).model
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.0)
    ids = torch.tensor([e.question + e.answer for e in same])
    labels = ids.clone()
    labels[:, :length] = -100
    for _ in range(3):
        figure = learner.update(same)["train/loss"]
        loss = network.train()(input_ids=ids, labels=labels).loss
        assert figure == loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ours, theirs = learner.policy.model.network.state_dict(), network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_parts_of_a_batch_add_up_to_the_whole(start):
    whole, examples = make_learner(make_config(start))
    parts, _ = make_learner(make_config(start, train={"prompts_per_update": 8, "micro_batch": 2}))
    first, second = whole.update(examples), parts.update(examples)
    assert first["train/loss"] == pytest.approx(second["train/loss"], rel=1e-5)
    assert first["train/grad_norm"] == pytest.approx(second["train/grad_norm"], rel=1e-4)
    assert first["latent/state_norm/3"] == pytest.approx(second["latent/state_norm/3"], rel=1e-4)


def test_recomputation_makes_the_same_update(start):
    kept, examples = make_learner(make_config(start))
    again, _ = make_learner(make_config(start, {"recompute": 1}))
    first, second = kept.update(examples), again.update(examples)
    assert first["train/grad_norm"] == pytest.approx(second["train/grad_norm"], rel=1e-5)
    for step in (1, 2, 3):
        name = f"latent/gradient_norm/{step}"
        assert first[name] == pytest.approx(second[name], rel=1e-4)


def test_truncation_shows_in_the_curve(start):
    learner, examples = make_learner(make_config(start, {"truncate": 2}))
    figures = learner.update(examples)
    assert [f"latent/gradient_norm/{t}" in figures for t in (1, 2, 3)] == [False, True, True]


def test_a_run_is_recorded_and_its_model_answers(start, tmp_path, monkeypatch):
    out = tmp_path / "run"
    report = run_recipe(make_config(start), out, plain=True)
    arm = out / "latent-s0"
    train = [line for line in lines(arm / "metrics.jsonl") if line["split"] == "train"]
    assert [line["rollouts"] for line in train] == [4, 8, 12, 16, 20, 24]
    curves = ["latent/gradient_norm/3" in line["metrics"] for line in train]
    assert curves == [True, False, True, False, False, True]
    assert all("latent/gradient_reach" in line["metrics"] for line in train)
    evaluated = [
        (line["update"], line["split"])
        for line in lines(arm / "metrics.jsonl")
        if "eval/accuracy" in line["metrics"]
    ]
    assert evaluated == [(0, "validation"), (3, "validation"), (6, "validation"), (6, "test")]
    rollouts = lines(arm / "rollouts.jsonl")
    assert [r["meta"]["latent_steps"] for r in rollouts] == [3, 3]
    assert all(r["outcome"] in (0.0, 1.0) for r in rollouts)
    assert report.is_file()

    policy = load_policy({"kind": "latent", "model": str(arm / "checkpoints" / "final")})
    problem = Problem.model_validate(rollouts[0]["problem"])
    (again,) = policy.sample([problem], temperature=0.0, max_tokens=6)
    assert again.text == rollouts[0]["text"]


def test_an_interrupted_run_resumes_to_the_same_bits(start, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    train = {"updates": 6, "checkpoint_every": 2}
    # Fewer problems than are needed, so that the order of later passes matters as well.
    config = make_config(start, {"cell": "lstm", "problems": 7, "schedule": "cosine"}, train)
    run_recipe(config, tmp_path / "straight", plain=True)

    update = LatentLearner.update

    def interrupted(self, examples):
        if self.done == 5:
            raise KeyboardInterrupt
        return update(self, examples)

    monkeypatch.setattr(LatentLearner, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(config, tmp_path / "killed", plain=True)
    monkeypatch.setattr(LatentLearner, "update", update)
    run_recipe(config, tmp_path / "killed", resume=True, plain=True)

    arms = [tmp_path / name / "latent-s0" for name in ("straight", "killed")]
    for file in ("model.safetensors", "cell.safetensors"):
        one, two = (load_file(arm / "checkpoints" / "final" / file) for arm in arms)
        assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
    assert lines(arms[0] / "metrics.jsonl") == lines(arms[1] / "metrics.jsonl")
    kept = sorted(path.name for path in (arms[0] / "checkpoints").iterdir())
    assert kept == ["checkpoint-4", "checkpoint-6", "final"]


def test_the_stream_visits_every_example_once_a_pass():
    examples = [*"abcdefg"]
    drawn = [x for batch in islice(batches(examples, 3, seed=1), 7) for x in batch]
    assert drawn[:7] == examples
    assert sorted(drawn[7:14]) == sorted(drawn[14:21]) == examples
    assert drawn[7:14] != drawn[14:21]


# -- faults --------------------------------------------------------------------------------------


def test_a_hidden_state_that_is_not_finite_is_named_by_its_step(start):
    learner, examples = make_learner(make_config(start, {"steps": 64}))
    cell, calls = learner.policy.model.cell, []
    forward = cell.forward

    def broken(hidden_BD, carried_BE):
        calls.append(None)
        latent_BE, carried_BE = forward(hidden_BD, carried_BE)
        return (latent_BE * float("nan") if len(calls) == 40 else latent_BE), carried_BE

    cell.forward = broken
    message = "update 1: the hidden state of latent step 40 of 64 is not finite"
    before = weights(learner)
    with pytest.raises(UserError, match=message):
        learner.update(examples)
    assert all(torch.equal(before[n], p) for n, p in weights(learner).items())


def test_a_gradient_that_is_not_finite_is_named_by_its_step(start):
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, tensor):
            return tensor.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * float("inf")

    learner, examples = make_learner(make_config(start, {"steps": 8}))
    cell, calls = learner.policy.model.cell, []
    forward = cell.forward

    def broken(hidden_BD, carried_BE):
        calls.append(None)
        # What comes out of step 5 goes into the cell of step 6.
        hidden_BD = Broken.apply(hidden_BD) if len(calls) == 6 else hidden_BD
        return forward(hidden_BD, carried_BE)

    cell.forward = broken
    with pytest.raises(UserError, match="the gradient of latent step 5 of 8 is not finite"):
        learner.update(examples)


def test_a_problem_without_gold_answer(start):
    learner, _ = make_learner(make_config(start))
    task = load_task("words")
    problem = task.problems("train", 1, 0)[0].model_copy(update={"answers": ()})
    with pytest.raises(UserError, match=f"problem {problem.id} has no gold answer to learn"):
        examples_of(learner.policy, task, [problem])


def test_more_latent_steps_than_positions(start):
    with pytest.raises(UserError, match=r"512 latent steps and answer take .* positions of 512"):
        make_learner(make_config(start, {"steps": 512}))


def test_a_latent_policy_goes_on_only_with_its_own_cell(start, tmp_path):
    learner, _ = make_learner(make_config(start))
    learner.policy.save(tmp_path)
    policy = {"kind": "latent", "model": str(tmp_path)}
    again = latent_policy(make_config(start, {"steps": 5}, policy=policy))
    assert again.model.steps == 5
    with pytest.raises(UserError, match=r"made with latent\.cell .*'mlp'.* ask for the same"):
        latent_policy(make_config(start, {"cell": "lstm"}, policy=policy))
    assert again.model.halting is None
    halting = latent_policy(make_config(start, {"learning": "halting"}, policy=policy)).model
    assert halting.halting is not None
    assert not halting.halting.read.weight.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": {"cell": "mpl"}}, "unknown cell 'mpl'"),
        ({"latent": {"cell": {"kind": "soft", "topk": 3}}}, "unknown option 'topk'"),
        ({"train": {"epochs": 2}}, "train.epochs: objective latent"),
        ({"policy": {"kind": "pretrained", "model": "x", "lora": {"r": 4}}}, "policy.lora: obj"),
        ({"objective": "credit", "policy": {"kind": "latent", "model": "x"}}, "trains text"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_anything_is_loaded(changes, message):
    with pytest.raises(UserError, match=message):
        check_parts(RunConfig.model_validate({"name": "x", "objective": "latent"} | changes))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"kind": "latent"}, "kind latent needs a model"),
        ({"kind": "tiny", "steps": 3}, "steps is an option of kind latent, not of tiny"),
        ({"kind": "latent", "model": "x", "gguf_file": "y"}, "gguf_file is an option of kind pre"),
    ],
)
def test_policy_options_of_other_kinds(policy, message):
    with pytest.raises(ValueError, match=message):
        RunConfig.model_validate({"name": "x", "policy": policy})
