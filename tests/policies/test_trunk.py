"""Shared trunks against the plain forward pass, over several model families."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, LlamaConfig, MistralConfig

from apportion.errors import UserError
from apportion.policies.continuation import Prefix, continue_chains, score_texts, why_simple
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.tiny import load_tiny
from apportion.policies.trunk import Sampling, sample_from_trunks, score_on_trunks, uniforms
from apportion.policies.trunk_plan import batches_of, common_length, plan_trunks
from apportion.policies.trunk_run import unserved_because
from apportion.tasks import load_task

SIZES = {"vocab_size": 60, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
FAMILIES = {
    "llama": lambda: LlamaConfig(**SIZES, intermediate_size=64),
    "llama, grouped heads": lambda: LlamaConfig(
        **SIZES, intermediate_size=64, num_key_value_heads=2
    ),
    "gpt2": lambda: GPT2Config(vocab_size=60, n_embd=32, n_head=4, n_layer=2),
    "gpt-neox": lambda: GPTNeoXConfig(**SIZES, intermediate_size=64),
}


def build(config) -> torch.nn.Module:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(8)  # so that greedy choices are no near ties
    return model


def chains(rng, n: int) -> list[list[int]]:
    """Cuts of three traces, one of which shares the beginning of another."""
    base = [rng.integers(0, 60, 50).tolist() for _ in range(2)]
    base.append(base[0][:20] + rng.integers(0, 60, 40).tolist())
    found = []
    for _ in range(n):
        trace = base[rng.integers(3)]
        found.append(trace[: rng.integers(1, len(trace))] + rng.integers(0, 60, 3).tolist())
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_tokens_and_scores_are_those_of_a_whole_forward_pass(family) -> None:
    model = build(FAMILIES[family]())
    assert unserved_because(model, 100) == ""
    before = chains(np.random.default_rng(0), 9)
    how = Sampling(2, 0.0, 6, 0, frozenset({59}), 0)
    found = sample_from_trunks(model, before, ["a"] * 9, how, 8)
    for ids, (first, second) in zip(before, found, strict=True):
        alone = []
        while len(alone) < 6 and 59 not in alone:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids + alone])).logits[0, -1]
            alone.append(int(logits.argmax()))
        assert first == second == alone
    after = [[1, 2, 3][: 1 + i % 3] for i in range(9)]
    scores = score_on_trunks(model, before, after, ["a"] * 9, pad=0, batch_size=4)
    for ids, tail, score in zip(before, after, scores, strict=True):
        with torch.no_grad():
            logps = model(input_ids=torch.tensor([ids + tail])).logits[0].log_softmax(-1)
        wanted = [float(logps[len(ids) - 1 + k, token]) for k, token in enumerate(tail)]
        assert score.tolist() == pytest.approx(wanted, abs=1e-3)


def test_the_model_is_left_as_it_was() -> None:
    model = build(FAMILIES["llama"]()).train()
    before = model.config._attn_implementation
    sample_from_trunks(model, [[1, 2, 3]], ["a"], Sampling(1, 1.0, 2, 0, frozenset(), 0), 8)
    assert model.training and model.config._attn_implementation == before
    assert not any(p.grad is not None for p in model.parameters())


def test_models_that_cannot_share_say_why() -> None:
    narrow = build(
        MistralConfig(**SIZES, num_key_value_heads=4, intermediate_size=64, sliding_window=16)
    )
    assert "reaches back 16 tokens" in unserved_because(narrow, 40)
    penalised = build(FAMILIES["llama"]())
    penalised.generation_config.repetition_penalty = 1.3
    assert "repetition_penalty" in unserved_because(penalised, 40)


def test_samples_follow_the_distribution_of_the_model() -> None:
    """Chi-square of the second token over 4000 continuations at 0.1 %, seeds fixed."""
    model = build(FAMILIES["llama"]())
    with torch.no_grad():
        model.lm_head.weight.div_(8)
    ids = [5, 6, 7, 8]
    found = sample_from_trunks(
        model, [ids], ["a"], Sampling(4000, 1.5, 2, 3, frozenset(), 0), 4096
    )[0]
    with torch.no_grad():
        first_V = (model(input_ids=torch.tensor([ids])).logits[0, -1] / 1.5).softmax(-1)
        rows = torch.tensor([[*ids, token] for token in range(60)])
        second_VV = (model(input_ids=rows).logits[:, -1] / 1.5).softmax(-1)
    wanted_V = (first_V @ second_VV).numpy() * 4000
    seen = Counter(tokens[1] for tokens in found)
    big = [token for token in range(60) if wanted_V[token] >= 5]
    rest = 4000 - wanted_V[big].sum()
    chi = sum((seen[token] - wanted_V[token]) ** 2 / wanted_V[token] for token in big)
    seen_rest = 4000 - sum(seen[token] for token in big)
    chi += (seen_rest - rest) ** 2 / max(rest, 1e-9)
    freedom = len(big)
    # Wilson and Hilferty's approximation of the 99.9 % point.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    assert freedom > 10
    assert chi < limit


def test_a_chain_depends_on_seed_and_place_alone() -> None:
    model = build(FAMILIES["llama"]())
    before = chains(np.random.default_rng(1), 6)

    def drawn(n: int, batch: int, seed: int = 0) -> list[list[list[int]]]:
        how = Sampling(n, 1.0, 8, seed, frozenset({3, 4, 5}), 0)
        return sample_from_trunks(model, before, ["a"] * 6, how, batch)

    whole = drawn(4, 64)
    assert drawn(4, 3) == whole
    assert [some[:2] for some in whole] == drawn(2, 64)
    assert drawn(4, 64, seed=1) != whole


@pytest.mark.parametrize("t", [0, 1, 77])
def test_random_numbers_are_uniform_and_independent(t: int) -> None:
    u = uniforms(5, np.repeat(np.arange(100), 100), np.tile(np.arange(100), 100), t)
    assert u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert ((counts - 500) ** 2 / 500).sum() < 43.8  # 99.9 % point of chi-square with 19
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.04
    later = uniforms(5, np.repeat(np.arange(100), 100), np.tile(np.arange(100), 100), t + 1)
    assert abs(np.corrcoef(u, later)[0, 1]) < 0.04


def test_cuts_of_one_chain_hang_on_one_trunk() -> None:
    chain = list(range(40))
    found = plan_trunks([chain[:10], chain, [*chain[:20], 99, 98]], ["p"] * 3)
    [trunk] = found
    assert trunk.ids == chain[:-1]
    assert sorted(trunk.members) == [(0, 9), (1, 39), (2, 20)]
    assert len(plan_trunks([chain, chain], ["p", "q"])) == 2
    assert len(plan_trunks([chain, [*chain[:5], *range(50, 90)]], ["p"] * 2)) == 2


def test_a_batch_has_no_more_rows_than_asked_unless_one_trunk_has() -> None:
    chains = [[i] * 30 for i in range(5)] + [[9] * k for k in range(10, 30)]
    trunks = plan_trunks(chains, ["p"] * len(chains))
    for batch in batches_of(trunks, 2, 8):
        most = max(len(trunk.members) for trunk in batch)
        assert len(batch) == 1 or most * len(batch) * 2 <= 8


def test_common_length() -> None:
    assert common_length([1, 2, 3], [1, 2, 4]) == 2
    assert common_length([1, 2], [1, 2, 3]) == 2
    assert common_length([], [1]) == 0
    assert common_length([0, 1], [1, 1]) == 0


def test_both_engines_say_the_same_of_the_shipped_policy() -> None:
    policy = load_tiny("sums")
    task = load_task({"kind": "sums", "operations": [5, 8]})
    prefixes = []
    for problem in task.problems("test", 4, 0):
        lines = task.gold_completion(problem).splitlines(keepends=True)
        prefixes += [Prefix(problem, "".join(lines[:k])) for k in range(len(lines))]
    assert why_simple(policy) == ""
    one, other = (
        continue_chains(policy, prefixes, temperature=0.0, max_tokens=60, engine=engine)
        for engine in ("trunk", "simple")
    )
    assert one == other
    texts = [f"#### {prefix.problem.answers[0]}" for prefix in prefixes]
    one, other = (
        score_texts(policy, prefixes, texts, engine=engine) for engine in ("trunk", "simple")
    )
    assert one == pytest.approx(other, abs=1e-3)


def test_a_policy_that_generates_in_its_own_way_is_not_overruled() -> None:
    tiny = load_tiny("sums")

    class Own(LanguageModelPolicy):
        def generate_ids(self, prompts, temperature, max_tokens):
            return [[self.tokenizer.eos_token_id] for _ in prompts]

    own = Own(tiny.model, tiny.tokenizer, "own")
    [problem] = load_task("sums").problems("test", 1, 0)
    assert continue_chains(own, [Prefix(problem, "")], n=2) == [["", ""]]
    with pytest.raises(UserError, match="a way of its own"):
        continue_chains(own, [Prefix(problem, "")], engine="trunk")
