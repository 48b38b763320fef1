"""Latent chains on the page, from records made by hand and from a real policy."""

import json
import math

import pytest

from apportion.records.latents import LatentChain, LatentStep
from apportion.report.data import load_run
from apportion.report.latent_chains import latent_chains
from apportion.report.page import write_report


def chain(name, outcome=1.0, update=None, decoded=None, gold="#### 7"):
    steps = (
        LatentStep(
            norm=3.0, nearest=((" <7", 0.5),), likeliest=(("\n", 0.9),), logprob=math.log(0.25)
        ),
        LatentStep(norm=6.0, decoded=decoded, logprob=math.log(0.75)),
    )  # fmt: skip
    return LatentChain(
        rollout_id=name, problem_id=name, prompt="3 + 4\n", gold=gold, text="#### 7",
        outcome=outcome, before=math.log(0.125), embedding_norm=2.0, steps=steps, update=update,
    )  # fmt: skip


def write(folder, *chains):
    folder.mkdir(parents=True, exist_ok=True)
    line = {"update": 1, "rollouts": 1, "split": "test", "metrics": {"eval/accuracy": 0.5}}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    text = "".join(one.model_dump_json() + "\n" for one in chains)
    (folder / "latents.jsonl").write_text(text)


def test_a_chain_by_hand(tmp_path):
    write(tmp_path / "codi-s0", chain("a"))
    (found,) = latent_chains(load_run(tmp_path))
    (card,) = found.cards
    assert (found.label, card.prompt, card.verdict) == ("codi-s0", "3 + 4", "right")
    assert not card.decoded
    assert card.before == pytest.approx(0.125)
    assert [step.p for step in card.steps] == pytest.approx([0.25, 0.75])
    assert [step.change for step in card.steps] == pytest.approx([0.125, 0.5])
    assert [step.norm for step in card.steps] == [1.5, 3.0]


def test_the_newest_are_shown_right_and_wrong_ones(tmp_path):
    old = [chain(f"old{i}", update=0) for i in range(3)]
    new = [chain(f"new{i}", outcome=float(i < 4), update=9) for i in range(7)]
    write(tmp_path / "codi-s0", *old, *new)
    (found,) = latent_chains(load_run(tmp_path))
    assert [card.verdict for card in found.cards] == ["right", "right", "wrong", "wrong"]
    assert found.total == 7
    write(tmp_path / "codi-s0", *old, *new[:4])
    (found,) = latent_chains(load_run(tmp_path))
    assert [card.verdict for card in found.cards] == ["right"] * 4


def test_the_page_shows_them_and_nothing_in_them_is_markup(tmp_path):
    write(tmp_path / "codi-s0", chain("a", decoded="<script>3 + 4 = 7", gold="<b>7"))
    write(tmp_path / "text-s0")
    html = write_report(tmp_path).read_text()
    section = html.split('<section id="latents"')[1].split("</section>")[0]
    assert "Latent chains" in section and "&lt;script&gt;3 + 4 = 7" in section
    assert "<script>3" not in section and "␣&lt;7" in section and "⏎" in section
    assert "+0.500" in section and "0.750" in section and "text-s0" not in section


def test_a_run_that_thinks_in_text_has_no_such_section(tmp_path):
    write(tmp_path / "text-s0")
    assert latent_chains(load_run(tmp_path)) == []
    assert 'id="latents"' not in write_report(tmp_path).read_text()


def test_chains_of_a_real_policy_are_those_that_it_answers_by():
    pytest.importorskip("torch")
    from apportion.faithfulness import Subject
    from apportion.faithfulness.latent.base import batch_of, chain_of
    from apportion.faithfulness.latent.chains import written_out
    from tests.faithfulness.test_latent import STEPS, TASK, latent_policy

    policy = latent_policy()
    rollouts = policy.sample(
        TASK.problems("test", 3, 0), temperature=0.0, max_tokens=16,
        reasoning_end=TASK.reasoning_end,
    )  # fmt: skip
    subject = Subject(policy, TASK)
    found = written_out(subject, rollouts)
    assert [(c.rollout_id, len(c.steps)) for c in found] == [(r.id, STEPS) for r in rollouts]
    batch = batch_of(subject, [chain_of(subject, r) for r in rollouts])  # type: ignore[misc]
    tokens = batch.mask_BA.sum(1).tolist()
    logits = policy.model(batch).logits_BAV.log_softmax(-1)
    for row, one in enumerate(found):
        picked = logits[row, range(tokens[row]), batch.ids_BA[row, : tokens[row]]]
        assert one.steps[-1].logprob == pytest.approx(picked.sum().item(), abs=1e-3)
        # What it would say after the last step is what it says first.
        assert one.text.startswith(one.steps[-1].likeliest[0][0]) or not one.text
        assert all(len(step.nearest) == 3 and step.decoded is None for step in one.steps)
