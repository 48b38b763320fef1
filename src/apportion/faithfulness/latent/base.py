"""A latent chain under study: the question, its steps, and the answer that belongs there.

_B rows   _K latent steps   _E size of an embedding
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from apportion.faithfulness.base import Measure, over_problems
from apportion.faithfulness.subject import Subject
from apportion.stats import Estimate
from apportion.trace import Probe, Problem, Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from apportion.policies.latent.batch import LatentBatch
    from apportion.policies.latent.model import Thought
    from apportion.policies.latent.policy import LatentPolicy


class Chain(NamedTuple):
    """Token ids of the question and of the gold answer (end of text included), and how many steps
    the policy took between them."""

    rollout: Rollout
    question: list[int]
    answer: list[int]
    steps: int


class Reply(NamedTuple):
    """What was answered: whether it is right (None: cannot be told), the text, and the natural
    log-probability of the gold answer. What is answered after a chain in text, into which a policy
    may fall back without its latents, is not right."""

    right: bool | None
    text: str
    logprob: float


class LatentMeasure(Measure):
    """Base of the measures of latent policies; a subclass writes ``probe_chains``.

    A rollout of no latent step, or of a problem without a gold answer, gets an error probe.
    """

    needs = frozenset({"latent"})

    def probe_chains(self, subject: Subject, chains: Sequence[Chain]) -> list[Probe]:
        """One probe for each chain, in order."""
        raise NotImplementedError

    def measure(self, subject: Subject, rollouts: Sequence[Rollout]) -> list[Probe]:
        """See Measure.measure. Raises UserError for a policy that does not think in vectors."""
        subject.require(self.name, self.needs)
        chains = [chain_of(subject, rollout) for rollout in rollouts]
        usable = [chain for chain in chains if not isinstance(chain, str)]
        found = iter(self.probe_chains(subject, usable) if usable else [])
        return [
            self.failed(rollout, chain) if isinstance(chain, str) else next(found)
            for rollout, chain in zip(rollouts, chains, strict=True)
        ]

    def estimate(self, subject: Subject, rollouts: Sequence[Rollout]) -> int:
        """See Measure.estimate: passes over question, steps and answers."""
        chains = [chain_of(subject, rollout) for rollout in rollouts]
        return sum(
            self.passes(chain) * positions(subject, chain)
            for chain in chains
            if not isinstance(chain, str)
        )

    def passes(self, chain: Chain) -> int:
        """How often a chain is thought and answered, or answered only."""
        return 1

    def told(self, chain: Chain, value: float | None, **rest: Any) -> Probe:
        """The probe of a chain; ``rest`` are further fields of :class:`Probe`."""
        rollout = chain.rollout
        return Probe(
            rollout_id=rollout.id,
            problem_id=rollout.problem.id,
            measure=self.name,
            value=value,
            scoring="probability",
            policy=rollout.policy,
            update=rollout.update,
            **rest,
        )

    def summarise(self, probes: Sequence[Probe]) -> dict[str, Estimate]:
        """The headline, and the mean of each part over problems."""
        names = dict.fromkeys(name for probe in probes for name in probe.parts)
        means = {n: over_problems([(p.problem_id, p.parts.get(n)) for p in probes]) for n in names}
        return super().summarise(probes) | {n: e for n, e in means.items() if e is not None}


def chain_of(subject: Subject, rollout: Rollout) -> Chain | str:
    """The chain, or why it cannot be measured."""
    policy: LatentPolicy = subject.policy
    steps = int(rollout.meta.get("latent_steps", policy.model.steps))
    if not steps:
        return "took no latent step"
    answer = gold_answer(subject, rollout.problem)
    if answer is None:
        return "its problem has no gold answer"
    context = getattr(policy.model.config, "max_position_embeddings", None)
    question = policy.prompt_ids(rollout.problem)
    longest = len(question) + steps + max(len(answer), subject.answer_tokens)
    if context and longest > context:
        return f"its {longest} positions exceed the context of {context}"
    return Chain(rollout, question, answer, steps)


def gold_answer(subject: Subject, problem: Problem) -> list[int] | None:
    """Token ids of the gold solution behind its reasoning, end of text included."""
    gold = subject.task.gold_completion(problem)
    text = gold[subject.task.reasoning_end(gold) :] if gold is not None else ""
    if not text:
        return None
    tokenizer = subject.policy.tokenizer
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def positions(subject: Subject, chain: Chain) -> int:
    """Positions that one pass over a chain takes at most."""
    return len(chain.question) + chain.steps + max(len(chain.answer), subject.answer_tokens)


def batch_of(subject: Subject, chains: Sequence[Chain]) -> LatentBatch:
    """Questions, steps and gold answers of the chains on the model's device."""
    from apportion.policies.latent.batch import pad_batch

    policy: LatentPolicy = subject.policy
    found = pad_batch(
        [chain.question for chain in chains],
        [chain.answer for chain in chains],
        [chain.steps for chain in chains],
        policy.tokenizer.pad_token_id,
    )
    return found.to(policy.model.device)


def replies(
    subject: Subject, chains: Sequence[Chain], batch: LatentBatch, thought: Thought
) -> list[Reply]:
    """What is answered after the thought; counts the positions."""
    from apportion.policies.latent.interventions import answer_logprobs, answers_of

    policy: LatentPolicy = subject.policy
    stop_ids = policy._stop_ids()
    ids = answers_of(
        policy.model,
        batch.questions,
        thought,
        max_tokens=subject.answer_tokens,
        stop_ids=stop_ids,
    )
    logprobs = answer_logprobs(policy.model, batch, thought).tolist()
    subject.tokens += sum(positions(subject, chain) for chain in chains)
    texts = [policy.decode(row)[0] for row in ids]
    return [
        Reply(_right(subject, chain.rollout.problem, text), text, logprob)
        for chain, text, logprob in zip(chains, texts, logprobs, strict=True)
    ]


def _right(subject: Subject, problem: Problem, text: str) -> bool | None:
    right = subject.right(problem, text)
    bare = not text[: subject.task.reasoning_end(text)].strip()
    return None if right is None else right and bare


def reference_inputs(subject: Subject, n: int) -> tuple[list[Problem], Tensor]:
    """``n`` training problems and the inputs (n, K, E) of the steps that the policy takes for them,
    as many as it may; computed once for a subject."""
    from apportion.policies.latent.batch import pad_questions
    from apportion.policies.latent.interventions import taken

    policy: LatentPolicy = subject.policy

    def compute() -> tuple[list[Problem], Tensor]:
        problems = subject.task.problems("train", n, subject.seed)
        questions = [policy.prompt_ids(problem) for problem in problems]
        padded = pad_questions(questions, policy.model.steps, policy.tokenizer.pad_token_id)
        return problems, taken(policy.model, padded.to(policy.model.device)).inputs_BKE

    return subject.once(("latent inputs", n), compute)
