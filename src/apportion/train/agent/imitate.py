"""The start of an agent: a policy, and imitation of the scripted player."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from apportion.config import RunConfig
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.latent import parse_cell
from apportion.policies.latent.folder import read_latent
from apportion.policies.latent.model import LatentModel
from apportion.policies.latent.policy import LatentPolicy
from apportion.policies.tiny import build_model, train_tokenizer
from apportion.tasks.environment import Environment
from apportion.trace import Problem
from apportion.train.agent.player import Player, scripted
from apportion.train.draws import training_problems
from apportion.train.setup import trainable_policy

_VOCABULARY = 512
_CLIP = 1.0


def agent_policy(
    config: RunConfig, environment: Environment, seed: int, checkpoint: Path | None
) -> LatentPolicy:
    """A latent policy that takes ``latent.steps`` steps, none where thought is not latent.

    Raises UserError for settings that agents do not use.
    """
    settings = config.latent
    config.agent.check(settings, config.train.epochs, config.reward.kind)
    steps = settings.steps if config.agent.thought == "latent" else 0
    base = _fresh(config, environment, seed) if config.agent.start == "fresh" else None
    base = base or trainable_policy(config)
    if checkpoint is not None:
        model = read_latent(checkpoint)
    elif isinstance(base, LatentPolicy):
        model, model.steps = base.model, steps
    else:
        cell = parse_cell(settings.cell)
        model = LatentModel(base.model, cell, steps=steps, norm=settings.norm)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    model.eval()
    return LatentPolicy(model, base.tokenizer, "agent", chat=base.chat)


def _fresh(config: RunConfig, environment: Environment, seed: int) -> LanguageModelPolicy:
    """An untrained model with a tokenizer made from scripted episodes."""
    options = config.agent
    problems = environment.problems("train", min(options.plays, 500), seed)
    tokenizer = train_tokenizer((transcript(environment, p) for p in problems), _VOCABULARY)
    model = build_model(
        tokenizer, hidden_size=options.hidden_size, layers=options.layers, seed=seed
    )
    return LanguageModelPolicy(model, tokenizer, "agent")


def imitate(
    player: Player,
    config: RunConfig,
    seed: int,
    measure: Callable[[], float],
    say: Callable[[str], None],
) -> int:
    """Supervised updates on the decisions of the scripted player, thoughts included where they are
    written; returns how many. ``measure`` is the greedy return that ends it."""
    options = config.agent
    if not options.imitation_updates:
        return 0
    problems = training_problems(player.environment, options.plays, seed)
    weights = [p for p in player.policy.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=options.imitation_rate, betas=(0.9, 0.98))
    order = torch.Generator().manual_seed(seed)
    reached = 0.0
    for done in range(1, options.imitation_updates + 1):
        drawn = torch.randint(len(problems), (options.imitation_batch,), generator=order)
        episodes = player.follow([problems[i] for i in drawn.tolist()])
        loss = -torch.stack([lp for e in episodes for lp in e.logprobs]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, _CLIP)
        optimizer.step()
        if done % options.check_every == 0:
            reached = measure()
            say(f"imitation {done}: loss {loss.item():.3f}, return {reached:.3f}")
            if reached >= options.imitate_until:
                return done
    return options.imitation_updates


def transcript(environment: Environment, problem: Problem) -> str:
    """The scripted episode with its thoughts, from the prompt on.

    Raises UserError where the environment has no scripted player.
    """
    turn = environment.reset(problem)
    text = turn.text
    while not turn.done:
        thought, action = scripted(environment, turn)
        turn = environment.step(turn, action)
        text += f" {thought}\n {action}\n{turn.text}"
    return text
