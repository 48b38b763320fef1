"""The gradient of the forms on a model whose completions can be enumerated."""

import pytest

torch = pytest.importorskip("torch")

from apportion.credit.likelihood import load_form  # noqa: E402
from apportion.policies.scoring import token_logps  # noqa: E402
from apportion.train.likelihood.boundary import Boundary  # noqa: E402
from apportion.train.likelihood.reward import LikelihoodReward  # noqa: E402
from tests.train.likelihood.toy import (  # noqa: E402
    END,
    MARKER,
    PAD,
    PROBLEM,
    completions,
    toy_policy,
)

LONGEST = 2


class Toy:
    """All completions with their log-probabilities, and those of the answer after each."""

    def __init__(self):
        self.policy = toy_policy()
        self.found = completions(LONGEST)
        prompt = self.policy.prompt_ids(PROBLEM)
        self.logps = self.score([prompt] * len(self.found), self.found)
        boundary = Boundary(self.policy)
        self.spliced = [boundary.splice(ids, PROBLEM.answers) for ids in self.found]
        heads = [[*prompt, *one.kept] for one in self.spliced]
        answers = self.score(heads, [one.answers[0] for one in self.spliced])
        self.answers = torch.stack([row.sum() for row in answers])
        self.chances = torch.stack([row.sum() for row in self.logps]).exp()

    def score(self, before, after):
        return token_logps(self.policy.model, PAD, before, after)

    def gradient(self, value):
        self.policy.model.zero_grad()
        value.backward(retain_graph=True)
        return torch.cat([p.grad.flatten().clone() for p in self.policy.model.parameters()])

    def estimate(self, form, **options):
        """What the trainer's two terms give, in expectation over all groups of two: every pair of
        completions with its probability."""
        reward = LikelihoodReward(self.policy, load_form(form), group_size=2, **options)
        pairs = [(i, j) for i in range(len(self.found)) for j in range(len(self.found))]
        everyone = [i for pair in pairs for i in pair]
        reward(
            prompts=[PROBLEM.prompt] * len(everyone),
            completions=[""] * len(everyone),
            completion_ids=[self.found[i] for i in everyone],
            problem=[PROBLEM.model_dump_json()] * len(everyone),
        )
        batch = reward.take()
        chances = self.chances.tolist()
        policy, answer = [0.0] * len(self.found), [0.0] * len(self.found)
        trained = dict(zip(everyone, batch.trained_B, strict=True))
        for b, i in enumerate(everyone):
            chance = chances[i] * chances[everyone[b ^ 1]] / 2
            policy[i] += chance * batch.advantages_B[b]
            answer[i] += chance * batch.weights_BK[b][0]
        reasoning = sum(w * self.logps[i][: trained[i]].sum() for i, w in enumerate(policy))
        return self.gradient(reasoning + (torch.tensor(answer) * self.answers).sum())


@pytest.fixture(scope="module")
def toy():
    return Toy()


def same(estimate, exact):
    assert exact.norm() > 1e-2
    return torch.allclose(estimate, exact, rtol=1e-4, atol=1e-5 * float(exact.norm()))


def test_all_completions_have_probability_one(toy):
    assert toy.chances.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_the_probability_form_has_the_gradient_of_the_probability_of_the_answer(toy):
    chains = sorted({tuple(c[: c.index(MARKER) + 1]) for c in toy.found if MARKER in c})
    prompt = toy.policy.prompt_ids(PROBLEM)
    answer = [*toy.policy.tokenizer(" 1")["input_ids"], END]
    whole = [[*chain, *answer] for chain in chains if starts_a_line(chain)]
    likelihood = sum(row.sum().exp() for row in toy.score([prompt] * len(whole), whole))
    assert len(whole) == 3  # the marker at once, after a line, and after padding
    assert same(toy.estimate("verifree"), toy.gradient(likelihood))


def starts_a_line(chain):
    return all(token in (PAD, 2) for token in chain[:-1])  # padding is no text


def test_the_logarithmic_form_has_the_gradient_of_the_mean_log_probability(toy):
    exact = toy.gradient((toy.chances * toy.answers).sum())
    assert same(toy.estimate("logprob"), exact)


def test_jepo_has_the_gradient_of_the_mean_bound_of_two_samples(toy):
    bounds = torch.logaddexp(toy.answers[:, None], toy.answers[None, :]) - torch.log(
        torch.tensor(2.0)
    )
    exact = toy.gradient((toy.chances[:, None] * toy.chances[None, :] * bounds).sum())
    assert same(toy.estimate("jepo"), exact)


def test_without_its_answer_term_the_probability_form_is_off(toy):
    """The checks above notice a term that is missing."""
    exact = toy.gradient((toy.chances * toy.answers).sum())
    assert not same(toy.estimate("logprob", answer_term=False), exact)
