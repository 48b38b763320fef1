"""Episodes: the gradient of the expected return by enumeration, padding, written thoughts."""

from itertools import product

import pytest
import torch

from apportion.errors import UserError
from apportion.train.agent.learner import gradient_variance, group_losses
from apportion.train.agent.player import Player, choose
from apportion.train.latent.methods.outcome import group_advantages
from tests.train.agent.toy import ENDINGS, TOKENS, Game, options, policy, problem, slow_probability

WAYS = list(ENDINGS)
RETURNS = [ENDINGS[way] for way in WAYS]


def weights_of(policy):
    return [p for p in policy.model.parameters() if p.requires_grad]


def gradient(value, weights):
    found = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


@pytest.mark.parametrize("carry", ["none", "latents", "memory"])
@pytest.mark.parametrize("cell", ["mlp", "lstm"])
def test_the_gradient_is_that_of_the_expected_return(cell, carry):
    toy = policy(cell)
    player, weights = Player(toy, Game(), options(carry=carry)), weights_of(toy)
    chances = [slow_probability(toy, way, carry) for way in WAYS]
    assert sum(chance.item() for chance in chances) == pytest.approx(1.0, abs=1e-12)
    expected = sum(chance * gain for chance, gain in zip(chances, RETURNS, strict=True))
    exact = gradient(expected, weights)
    # All groups of two episodes, each as likely as its episodes are.
    groups = list(product(range(len(WAYS)), repeat=2))
    members = [i for group in groups for i in group]
    episodes = player.follow([problem(WAYS[i]) for i in members])
    for episode, i in zip(episodes, members, strict=True):
        assert episode.logprob.exp().item() == pytest.approx(chances[i].item(), rel=1e-9)
    advantages = group_advantages([RETURNS[i] for i in members], 2, scale=False)
    losses = group_losses(episodes, advantages, 2)
    shares = [(chances[i] * chances[j]).item() for i, j in groups]
    loss = sum(share * loss for share, loss in zip(shares, losses, strict=True))
    found = [-part for part in gradient(loss, weights)]
    # A baseline that holds the episode itself takes 1/G of it; advantages are float32.
    for got, wanted in zip(found, exact, strict=True):
        torch.testing.assert_close(got, wanted / 2, rtol=1e-5, atol=1e-7)
    assert max(g.abs().max().item() for g in exact) > 1e-3
    cell_weights = list(toy.model.cell.parameters())
    reached = gradient(expected, cell_weights)
    assert all(g.abs().max() > 0 for g in reached)


def test_written_thoughts_are_decisions_with_their_log_probabilities():
    toy = policy("identity", steps=0)
    player = Player(toy, Game(), options(thought="text", thought_tokens=3))
    torch.manual_seed(4)
    episodes = player.play([problem("x")] * 12, temperature=1.0)
    lengths = {episode.thoughts for episode in episodes}
    assert len(lengths) > 2 and {len(e.actions) for e in episodes} == {1, 2}
    tokenizer = toy.tokenizer
    for episode in episodes:
        # Written as read: a thought that does not end its line is ended for it.
        ids, decided = tokenizer("a\n")["input_ids"], []
        turn = Game().reset(problem("x"))
        rest = episode.text
        for action in episode.actions:
            thought, rest = rest.split("\n", 1)
            tokens = _tokens(thought)
            written = tokens if len(tokens) == 3 else [*tokens, 0]
            for token in written:
                decided.append((list(ids), token, None))
                ids.append(token)
            if len(tokens) == 3:
                ids.append(0)
            firsts = [TOKENS.index(f" {one}") for one in turn.actions]
            decided.append((list(ids), TOKENS.index(f" {action}"), firsts))
            turn = Game().step(turn, action)
            rest = rest.removeprefix(f" {action}\n{turn.text}")
            ids += tokenizer(f" {action}\n{turn.text}")["input_ids"]
        assert len(decided) == episode.decisions
        for (given, token, allowed), logprob in zip(decided, episode.logprobs, strict=True):
            logits = toy.model.network(torch.tensor([given])).logits[0, -1]
            if allowed is not None:
                kept = torch.full_like(logits, -torch.inf)
                kept[allowed] = logits[allowed]
                logits = kept
            assert logprob.item() == pytest.approx(logits.log_softmax(-1)[token].item(), rel=1e-8)


def _tokens(text):
    found = []
    while text:
        size = 2 if text[0] == " " else 1
        found.append(TOKENS.index(text[:size]))
        text = text[size:]
    return found


def test_reciting_a_thought_is_reading_it_token_by_token():
    toy = policy("identity", steps=0)
    player = Player(toy, Game(), options(thought="text"))
    ways = [problem("yz", thought="a b"), problem("x", thought="c")]
    episodes = player.follow(ways)
    assert [e.decisions for e in episodes] == [8, 3]
    assert episodes[0].text == " a b\n y\nb a\n a b\n z\nc\n"
    ids, total = toy.tokenizer("a\n")["input_ids"], 0.0
    for token in toy.tokenizer(" c\n")["input_ids"]:
        logits = toy.model.network(torch.tensor([ids])).logits[0, -1]
        total += logits.log_softmax(-1)[token].item()
        ids.append(token)
    logits = toy.model.network(torch.tensor([ids])).logits[0, -1]
    total += logits[[TOKENS.index(" x"), TOKENS.index(" y")]].log_softmax(-1)[0].item()
    assert episodes[1].logprob.item() == pytest.approx(total, rel=1e-9)


def test_greedy_play_takes_the_likeliest_actions():
    toy = policy("mlp")
    (episode,) = Player(toy, Game(), options()).play([problem("x")], temperature=0.0)
    chances = {way: slow_probability(toy, way).item() for way in WAYS}
    first = "x" if chances["x",] > 0.5 else "y"
    second = max(chances[first, a] for a in "xyz") if first == "y" else chances["x",]
    assert chances[tuple(episode.actions)] == pytest.approx(second)


def test_actions_that_begin_alike_are_refused():
    class Alike(Game):
        def reset(self, problem):
            turn = super().reset(problem)
            return type(turn)(turn.text, (" x a", " x b"), 0.0, False, turn.state)

    toy = policy()
    with pytest.raises(UserError, match="begin with the same token"):
        Player(toy, Alike(), options()).play([problem("x")], temperature=1.0)


def test_an_episode_has_to_fit():
    toy = policy(steps=40)
    with pytest.raises(UserError, match="the model has 64"):
        Player(toy, Game(), options()).follow([problem("yx")])


def test_the_variance_of_the_gradient_by_hand():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    losses = [(weight * torch.tensor(g)).sum() for g in ([1.0, 0.0], [3.0, 0.0], [2.0, 3.0])]
    found = gradient_variance(losses, [weight, torch.ones(1, requires_grad=True)])
    # Mean (2, 1): squared distances 2, 2 and 4, over M - 1 = 2.
    assert found["agent/gradient_variance"] == pytest.approx(4.0)
    assert found["agent/gradient_signal"] == pytest.approx(5.0 - 4.0 / 3)


def test_choose():
    logits = torch.tensor([[0.0, 2.0, -torch.inf], [1.0, 0.0, 0.0]])
    assert choose(logits, 0.0)[0].tolist() == [1, 0]
    _, logprob = choose(logits, 2.0, [0, 2])
    assert logprob.tolist() == pytest.approx((logits / 2).log_softmax(-1)[[0, 1], [0, 2]].tolist())
    torch.manual_seed(0)
    drawn = torch.stack([choose(logits, 1.0)[0] for _ in range(50)])
    assert set(drawn[:, 0].tolist()) == {0, 1} and set(drawn[:, 1].tolist()) == {0, 1, 2}
