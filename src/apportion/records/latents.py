"""A chain of latent steps as far as it can be shown."""

from __future__ import annotations

from apportion.trace import Record


class LatentStep(Record):
    """One latent step. ``norm`` is that of the vector it is made of, its input; ``nearest`` are the
    tokens whose embeddings lie closest to it, with their cosine. ``likeliest`` are the tokens that
    would be said after the step, with their probability, and ``decoded`` what a step decoder
    writes from it. ``logprob`` is that of the gold answer, in nats, if it were given now."""

    norm: float
    nearest: tuple[tuple[str, float], ...] = ()
    likeliest: tuple[tuple[str, float], ...] = ()
    decoded: str | None = None
    logprob: float


class LatentChain(Record):
    """What a policy thought about one problem. ``before`` is the gold answer's log-probability
    without a step, ``embedding_norm`` the mean norm of a token's embedding. Of the latents that
    share one written step of the decoder, the last has its text."""

    rollout_id: str
    problem_id: str
    prompt: str
    gold: str
    text: str
    outcome: float | None = None
    before: float
    embedding_norm: float
    steps: tuple[LatentStep, ...]
    policy: str = ""
    update: int | None = None
