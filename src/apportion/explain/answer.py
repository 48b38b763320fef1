"""The answer: sentences that say no more than their evidence, and name it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apportion.explain.evidence import (
    Chain,
    Explanation,
    Said,
    Sentence,
    StepCredit,
    StepEvidence,
    credits_of,
)
from apportion.explain.interventions import Intervention, answer_of, intervene
from apportion.explain.record import Found
from apportion.explain.steps import choose_steps
from apportion.review.quoting import quote
from apportion.stats import wilson

if TYPE_CHECKING:
    from apportion.policies.language_model import LanguageModelPolicy


def explain(
    found: Found,
    question: str,
    *,
    policy: LanguageModelPolicy | None = None,
    no_policy: str = "no policy is at hand; --policy names one",
    methods: Sequence[dict[str, Any]] = (),
    resamples: int = 16,
    max_tokens: int = 256,
    seed: int = 0,
) -> Explanation:
    """Answer a question about a record from its verdicts, its credit, its own numbers, and, with a
    policy, from interventions. What there is no evidence of is named, with ``no_policy`` as the
    reason why there are no interventions.

    Raises UserError: no such step, an unknown method, a chain too long for the policy.
    """
    chain = Chain(found)
    credits = credits_of(chain, methods)

    def on(index: int) -> StepEvidence:
        return chain.evidence_on(index, credits)

    chosen = choose_steps(question, chain, on)
    done: Mapping[int, tuple[Intervention, ...]] = {}
    if policy is None:
        chain.missing.append(f"interventions: {no_policy}")
    else:
        done = intervene(
            policy,
            found.rollout,
            chain.steps,
            chain.numbers,
            chosen.steps,
            resamples=resamples,
            max_tokens=max_tokens,
            seed=seed,
        )
    steps = tuple(
        on(index).model_copy(update={"interventions": done.get(index, ())})
        for index in chosen.steps
    )
    rollout = found.rollout
    sentences = [
        Sentence(step=step.step, text=text, evidence=cited)
        for step in steps
        for text, cited in _sentences(step)
    ]
    return Explanation(
        record=found.name,
        question=question,
        prompt=rollout.problem.prompt,
        chain=rollout.text,
        outcome=rollout.outcome,
        references=rollout.problem.answers,
        answered=answer_of(rollout.text),
        about=chosen.about,
        policy=policy.name if policy is not None else None,
        steps=steps,
        sentences=tuple(sentences),
        missing=tuple(chain.missing),
    )


_Cited = tuple[str, tuple[str, ...]]


def _sentences(step: StepEvidence) -> Iterator[_Cited]:
    yield f"Step {step.step} says {quote(step.text)}.", ("chain",)
    yield from _in_short(step)
    yield from _on_credit(step)
    for said in step.verdicts:
        yield _verdict(said), (f"review {said.reviewer}",)
    if len([said for said in step.verdicts if said.covers and not said.error]) > 1:
        yield _vote(step), ("consensus",)
    if step.instead:
        yield f"In its place should stand: {quote(step.instead)}.", ("consensus",)
    yield from _on_numbers(step)
    for intervention in step.interventions:
        yield _did(intervention), (f"intervention {intervention.kind}",)
    yield from _together(step)


def _in_short(step: StepEvidence) -> Iterator[_Cited]:
    """Credit, the reason for it, and whether the answer hangs on the step, in one sentence."""
    parts, cited = [], []
    if step.credit:
        own = step.credit[0]
        gap = own.value - own.mean
        more = "as much as" if abs(gap) < 5e-4 else "more than" if gap > 0 else "less than"
        parts.append(f"under {own.method} it got {more} the chain's mean")
        cited.append(_credit_name(own))
    decisive = [s for s in step.verdicts if s.label == step.label and s.reason.strip()]
    if step.status == "agreed":
        reason = f" ({quote(decisive[0].reason)})" if decisive else ""
        parts.append(f"it counts as {step.label}{reason}")
        cited.append("consensus")
    hangs, by = _hangs(step)
    if hangs:
        parts.append(hangs)
        cited += by
    if parts:
        yield f"In short: {_listed(parts)}.", tuple(cited)


def _on_credit(step: StepEvidence) -> Iterator[_Cited]:
    if not step.credit:
        return
    own = step.credit[0]
    where = f", {_place(own)}," if own.of > 1 else ""
    because = _because(step) if own.method.split(":")[0] != "outcome" else ""
    text = f"Its tokens got {own.value:+.3f} each under {own.method}{where}{because}"
    yield f"{text.rstrip(',')}.", (_credit_name(own), *(["consensus"] if because else []))
    others = step.credit[1:]
    if others:
        listed = ", ".join(f"{credit.value:+.3f} under {credit.method}" for credit in others)
        yield f"It would get {listed}.", tuple(_credit_name(credit) for credit in others)


def _credit_name(credit: StepCredit) -> str:
    return f"credit {credit.method}{'' if credit.recorded else ' (computed anew)'}"


def _place(credit: StepCredit) -> str:
    mean = f"where the chain's mean is {credit.mean:+.3f}"
    if abs(credit.value - credit.mean) < 5e-4:
        return f"just {mean}"
    if credit.place == 1:
        return f"the most of {credit.of} steps, {mean}"
    if credit.place == credit.of:
        return f"the least of {credit.of} steps, {mean}"
    return f"place {credit.place} of {credit.of} steps, {mean}"


def _because(step: StepEvidence) -> str:
    if step.status == "agreed":
        alone = len([said for said in step.verdicts if said.label or said.correct is not None]) == 1
        return f" and its reviewer{' calls it' if alone else 's agree that it is'} {step.label}"
    if step.status == "disputed":
        return " and its reviewers disagree about it"
    return " and no reviewer judged it"


def _verdict(said: Said) -> str:
    if said.error is not None:
        return f"The review by {said.reviewer} failed ({said.error}), so it says nothing."
    if not said.covers:
        return f"{said.reviewer} says nothing about this step."
    stance = [said.label] if said.label else []
    if said.correct is not None:
        stance.append("correct" if said.correct else "not correct")
    calls = f"calls it {' and '.join(stance)}" if stance else "abstains"
    sure = f", {said.confidence:.0%} sure" if said.confidence is not None and stance else ""
    reason = f": {quote(said.reason)}" if said.reason.strip() else ""
    return f"{said.reviewer} {calls}{sure}{reason}."


def _vote(step: StepEvidence) -> str:
    if step.status == "unreviewed":
        return "Too few of them judge it for a vote."
    share = f"{step.agreement:.0%} of the votes"
    if step.status == "disputed":
        return f"They do not agree: the most common label, {step.label}, has {share}."
    return f"They agree: {step.label}, with {share}."


def _on_numbers(step: StepEvidence) -> Iterator[_Cited]:
    origins = []
    for taken in step.takes:
        if taken.step is not None:
            origins.append(f"{taken.number} from step {taken.step}")
        elif taken.sentence is not None:
            origins.append(f"{taken.number} from the problem ({quote(taken.sentence)})")
        else:
            origins.append(f"{taken.number} from nowhere that was read")
    if origins:
        yield f"It takes {_listed(origins)}.", ("chain",)
        users = [f"step {user}" for user in step.used_by]
        verb = "take" if len(users) > 1 else "takes"
        later = f"{_listed(users)} {verb}" if users else "No later step takes"
        yield f"{later[:1].upper()}{later[1:]} what it arrives at.", ("chain",)
    if step.depends_on:
        sources = _listed([f"step {source}" for source in step.depends_on])
        yield f"Its reviewers say that it rests on {sources}.", ("consensus",)


def _did(intervention: Intervention) -> str:
    how = {
        "as_it_is": "Answered again from the whole reasoning",
        "deleted": "Without the step, and the rest kept",
        "corrupted": f"With a wrong number in it ({intervention.change}), and the rest kept",
        "goes_on": "With the step as it is, and the rest anew",
        "carried_on": f"With a wrong number in it ({intervention.change}), and the rest anew",
        "anew_before": "Written anew from before the step",
        "anew_after": "With the step kept and written anew from behind it",
    }[intervention.kind]
    if intervention.n > 1:
        counts = []
        if intervention.right is not None:
            counts.append(f"{intervention.right} right")
        if intervention.same is not None:
            counts.append(f"{intervention.same} with the same answer")
        return f"{how}, {intervention.n} times: {', '.join(counts) or 'nothing to compare with'}."
    answer = intervention.answers[0]
    if answer is None:
        return f"{how}, the policy states no answer."
    same = {0: "another answer", 1: "the same answer", None: "the answer"}[intervention.same]
    right = {0: ", wrong", 1: ", right", None: ""}[intervention.right]
    return f"{how}, the policy gives {same}, {answer}{right}."


def _together(step: StepEvidence) -> Iterator[_Cited]:
    """Whether the interventions bear out what the reviewers say."""
    done = {intervention.kind: intervention for intervention in step.interventions}
    before, after = done.get("anew_before"), done.get("anew_after")
    if before is not None and after is not None and before.right is not None:
        cited = ("consensus", "intervention anew_before", "intervention anew_after")
        yield _compared(step, before, after), cited
    whole = done.get("as_it_is")
    if whole is not None and whole.same == 0:
        yield (
            "This policy answers otherwise even from the unchanged reasoning, so what it does with "
            "a changed one says little about the record.",
            ("intervention as_it_is",),
        )


def _hangs(step: StepEvidence) -> tuple[str, list[str]]:
    """Whether the answer hangs on the step, and the interventions that show it; empty where they
    show nothing."""
    done = {intervention.kind: intervention for intervention in step.interventions}
    whole = done.get("as_it_is")
    if whole is None or not whole.same:
        return "", []
    moved = [kind for kind in ("deleted", "corrupted") if kind in done and not done[kind].same]
    if moved:
        cited = [f"intervention {kind}" for kind in moved]
        return "the answer hangs on it, since changing it alone changes the answer", cited
    going, carried = done.get("goes_on"), done.get("carried_on")
    kept = [f"intervention {kind}" for kind in ("deleted", "corrupted") if kind in done]
    if going is not None and carried is not None and going.answers != carried.answers:
        cited = [*kept, "intervention goes_on", "intervention carried_on"]
        return (
            "the answer hangs on it by way of later steps: it stays while they are kept, and "
            "changes when they are written from a wrong number",
            cited,
        )
    return "the answer does not hang on it: it stays whatever is done to the step", kept


def _compared(step: StepEvidence, before: Intervention, after: Intervention) -> str:
    """Right answers with the step against those without it, by Wilson's intervals."""
    assert before.right is not None and after.right is not None
    low_after, high_after = wilson(after.right, after.n)
    low_before, high_before = wilson(before.right, before.n)
    word = step.label if step.status == "agreed" else ""
    fits = {("useful", True), ("harmful", False)}
    for more, tells in ((True, low_after > high_before), (False, high_after < low_before)):
        if tells:
            often = "more" if more else "less"
            bears = ", as its reviewers say" if (word, more) in fits else ""
            bears = ", against its reviewers" if (word, not more) in fits else bears
            return f"With the step the policy is right {often} often than without it{bears}."
    return (
        f"Whether the policy is right more often with the step cannot be told from {after.n} "
        "samples each."
    )


def _listed(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def lines_of(explanation: Explanation, say: Callable[[float | None], str]) -> list[str]:
    """The explanation as plain text. ``say`` words an outcome."""
    answered = explanation.answered or "no answer"
    reference = " or ".join(explanation.references)
    known = f", reference {reference}" if reference else ""
    head = f"{explanation.record}: answers {answered}, {say(explanation.outcome)}{known}"
    lines = [head, explanation.about, ""]
    for step in explanation.steps:
        own = [sentence for sentence in explanation.sentences if sentence.step == step.step]
        lines += [f"{s.text} [{'; '.join(s.evidence)}]" for s in own]
        lines.append("")
    lines += [f"not known: {missing}" for missing in explanation.missing]
    return lines if lines[-1] else lines[:-1]
