"""A game of at most two turns for a model of a few hundred weights, and its play done slowly."""

import re
from dataclasses import dataclass
from itertools import count

import torch

from apportion.config.agent import AgentConfig
from apportion.policies.latent.policy import LatentPolicy
from apportion.tasks.environment import Turn
from apportion.trace import Problem
from tests.policies.latent.small import latent

TOKENS = ["\n", "a", "b", "c", "d", " a", " b", " c", " x", " y", " z", *"efghijklm"]
# Actions to the end of the episode, and its return.
ENDINGS = {("x",): 0.3, ("y", "x"): 1.0, ("y", "y"): 0.0, ("y", "z"): 0.5}


class Tokenizer:
    pad_token_id, eos_token_id, padding_side = 1, None, "left"

    def __call__(self, text, **_):
        pieces = re.findall(r" ?\S|\n", text)
        return {"input_ids": [TOKENS.index(p if p in TOKENS else "m") for p in pieces]}

    def decode(self, ids, **_):
        return "".join(TOKENS[i] for i in ids)


@dataclass(frozen=True)
class Game:
    """``meta["script"]`` of a problem is what its scripted player does."""

    name: str = "game"
    max_turns: int = 2

    def reset(self, problem):
        return Turn(problem.prompt, ("x", "y"), 0.0, False, (problem, ()))

    def step(self, turn, action):
        problem, done = turn.state
        state = (problem, (*done, action))
        if state[1] in ENDINGS:
            return Turn("c\n", (), ENDINGS[state[1]], True, state)
        return Turn("b a\n", ("x", "y", "z"), 0.0, False, state)

    def expert(self, turn):
        problem, done = turn.state
        return (problem.meta["thought"], problem.meta["script"][len(done)])


def problem(script, thought="a"):
    return Problem(id="p", prompt="a\n", meta={"script": list(script), "thought": thought})


def policy(cell="mlp", steps=2):
    model = latent(cell, steps=steps)
    model.generation_config.eos_token_id = None
    return LatentPolicy(model, Tokenizer(), "toy")


def options(**changes):
    return AgentConfig.model_validate({"start": "policy"} | changes)


def slow_probability(policy, actions, carry="latents"):
    """p of these actions: the whole episode run anew for each of them, without cache or padding."""
    model, tokenizer = policy.model, policy.tokenizer
    seen, position, carried = [], count(), None
    total = torch.ones((), dtype=torch.float64)

    def add(embed_E, private=False):
        seen.append((embed_E, next(position), private))

    def hidden():
        embeds_TE = torch.stack([embed for embed, _, _ in seen])
        places_T = torch.tensor([place for _, place, _ in seen])
        found = model.network.base_model(inputs_embeds=embeds_TE[None], position_ids=places_T[None])
        return found.last_hidden_state[0, -1:]

    text, game = "a\n", Game()
    turn = game.reset(problem(actions))
    for action in actions:
        for token in tokenizer(text)["input_ids"]:
            add(model.decoder.embed(torch.tensor(token)))
        if carried is None or carry != "memory":
            carried = model.cell.start(seen[-1][0][None])
        for step in range(model.steps):
            latent_1E, carried = model.next_input(hidden(), carried, step)
            add(latent_1E[0], True)
        firsts = [tokenizer(f" {one}")["input_ids"][0] for one in turn.actions]
        scores = model.decoder.logits(hidden())[0, firsts].log_softmax(-1)
        total = total * scores[turn.actions.index(action)].exp()
        turn = game.step(turn, action)
        text = f" {action}\n{turn.text}"
        if carry == "none":
            seen[:] = [one for one in seen if not one[2]]
    return total
