"""Answer tokens, one after the other, after the latent steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from apportion.policies.latent.batch import Questions
from apportion.policies.latent.cache import cache_of
from apportion.policies.latent.gradient import Bptt
from apportion.policies.latent.halting import choose_steps, likely_stopped
from apportion.policies.latent.model import LatentModel, Thought
from apportion.policies.latent.sampled import TokenSampler
from apportion.policies.latent.stopping import stopped


def halted(model: LatentModel, questions: Questions) -> tuple[Thought, Tensor]:
    """The thought at which each row halts, and how many steps it took, (B,).

    Without a head that halts all steps are taken. With one a row stops at the first step at which
    it is as likely as not to have stopped, and the batch with its last row. Where tokens are
    sampled a row stops at the end of what it wrote. To be used under ``torch.no_grad``.
    """
    if model.sampler is not None and questions.longest:
        return _written(model, model.sampler, questions)
    head = model.halting
    if head is None or not questions.longest:
        return model.think(questions), questions.steps_B

    def enough(states_BKD: Tensor) -> bool:
        return bool(likely_stopped(head.read(states_BKD)[..., 0]).all())

    # Stretches of one step, so that the batch can stop after any.
    thought = model.think(questions, Bptt(recompute=1), enough=enough)
    chosen_B = choose_steps(head(thought.states_BKD), sample=False)
    steps_B = torch.minimum(chosen_B, questions.steps_B)
    return stopped(model, questions, thought, steps_B), steps_B


def _written(
    model: LatentModel, sampler: TokenSampler, questions: Questions
) -> tuple[Thought, Tensor]:
    sampler.begin()
    thought = model.think(questions, Bptt(recompute=1), enough=lambda _: sampler.all_ended())
    lengths = torch.tensor([len(ids) for ids in sampler.drawn()], device=model.device)
    steps_B = torch.minimum(lengths, questions.steps_B)
    return stopped(model, questions, thought, steps_B), steps_B


def answer_tokens(
    model: LatentModel,
    questions: Questions,
    *,
    max_tokens: int,
    temperature: float = 0.0,
    stop_ids: Collection[int] = (),
    thought: Thought | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (token (B,), logits it was chosen from (B, V)) until all rows have stopped.

    Temperature 0 is greedy. A row that has stopped goes on until the last one does: cut it. Every
    token is fed back with the question and all latent steps in the cache, so the logits are those
    of the answer read as a whole. ``thought`` is where the latent steps led, if they have been
    taken already. To be used under ``torch.no_grad``.
    """
    thought = thought or model.think(questions)
    cache, mask_BL = cache_of(thought.past), thought.visible_BL
    hidden_BD, position_B = thought.hidden_BD, thought.position_B
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=hidden_BD.device)
    done_B = torch.zeros(len(hidden_BD), dtype=torch.bool, device=hidden_BD.device)
    for index in range(max_tokens):
        logits_BV = model.decoder.logits(hidden_BD)
        token_B = _choose(logits_BV, temperature)
        yield token_B, logits_BV
        done_B |= torch.isin(token_B, stops)
        if bool(done_B.all()) or index + 1 == max_tokens:
            return
        mask_BL = torch.cat([mask_BL, torch.ones_like(mask_BL[:, :1])], dim=1)
        embeds_B1E = model.decoder.embed(token_B[:, None])
        positions_B1 = (position_B + index)[:, None]
        hidden_BD = model.decoder.run(embeds_B1E, mask_BL, positions_B1, cache)[:, 0]


def _choose(logits_BV: Tensor, temperature: float) -> Tensor:
    if temperature <= 0:
        return logits_BV.argmax(-1)
    probabilities_BV = (logits_BV.float() / temperature).softmax(-1)
    return torch.multinomial(probabilities_BV, 1)[:, 0]
