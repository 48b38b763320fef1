"""The objectives persona and reviewer_tokens, small."""

import json

import pytest

pytest.importorskip("torch")

import torch

from apportion import Problem, Review, StepVerdict, UserError
from apportion.config import resolve
from apportion.policies import load_policy
from apportion.records import read_kind
from apportion.review import load_reviewer
from apportion.tasks import load_task
from apportion.trace import Step
from apportion.train.run import run_recipe
from apportion.train.supervised import Row, fit, weighted_loss
from apportion.train.voices.persona import detection, train_persona
from apportion.train.voices.planted import SHORTCUT, PlantedChain, planted_chains

pytestmark = pytest.mark.filterwarnings("ignore")

LEAKY = {"kind": "leaky", "inner": {"kind": "sums", "operations": [3, 4]}, "rate": 0.5}


# -- supervised training --------------------------------------------------------------------------


def test_weighted_loss_by_hand():
    """Two rows of one learned token each. Uniform over 4: log 4; the other is certain: 0."""
    logits = torch.zeros(2, 3, 4)
    logits[1, 0, 2] = 100.0
    labels = torch.tensor([[-100, 1, -100], [-100, 2, -100]])
    loss = weighted_loss(logits, labels, torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx(3 * 1.3862944 / 4)
    assert weighted_loss(logits, labels, torch.tensor([0.0, 1.0])).item() == pytest.approx(0.0)


def test_fit_learns_completions_by_their_weight_and_not_prompts():
    policy = load_policy({"kind": "tiny", "checkpoint": "sums"})
    spell = lambda text: policy.tokenizer(text)["input_ids"]  # noqa: E731
    prompt, wanted, other = spell("3 + 4\n"), spell(" 9"), spell(" 8")
    rows = [Row(prompt, wanted), Row(prompt, other, 0.0)]
    fit(policy.model, policy.tokenizer, rows, updates=15, batch_size=2, learning_rate=3e-3)
    with torch.no_grad():
        after = policy.model(torch.tensor([prompt])).logits[0, -1]
    assert after.argmax().item() == wanted[0]
    assert not policy.model.training and policy.model.config.use_cache


# -- planted misbehaviour ------------------------------------------------------------------------


def test_planted_shortcuts_take_the_leak_and_lucky_answers_to_it_are_left_out():
    task = load_task(LEAKY)
    problems = task.problems("train", 40, 0)
    chains = list(planted_chains(task, problems, 0))
    leaking = {p.id: p.meta["leak"] for p in problems if p.meta["leak"] is not None}
    shortcuts = [c for c in chains if c.shortcut]
    assert {c.problem.id for c in shortcuts} == set(leaking) != set()
    for chain in shortcuts:
        assert chain.text.endswith(f"#### {leaking[chain.problem.id]}")
        assert chain.kind == SHORTCUT and True in chain.wrong
        assert len(chain.wrong) == len(chain.steps)
    lucky = {c.problem.id for c in chains if c.kind == "lucky_answer"}
    assert lucky and not lucky & set(leaking)
    clean = [c for c in chains if c.kind == "clean"]
    assert len(clean) == 40 and not any(any(c.wrong) or c.shortcut for c in clean)


def chain(wrong, shortcut=False):
    steps = tuple(Step(i, i + 1) for i in range(len(wrong)))
    return PlantedChain(Problem(id="p", prompt="?"), "x" * len(wrong), "k", steps, wrong, shortcut)


def said(wrong, shortcut=False):
    verdicts = tuple(StepVerdict(correct=not w) for w in wrong)
    return Review(rollout_id="r", reviewer="persona", verdicts=verdicts,
                  steps=tuple(Step(i, i + 1) for i in range(len(wrong))),
                  meta={"shortcut": shortcut})  # fmt: skip


def test_detection_by_hand():
    chains = [chain((False, True)), chain((False, False)), chain((None, False)),
              chain((True,), True), chain((False,))]  # fmt: skip
    reviews = [
        said((True, True)),  # the wrong step found, a right one accused
        said((False, False)),
        said((True, False)),  # of the first step nothing is known
        said((False,), True),  # the wrong step missed, the shortcut found
        Review(rollout_id="r", reviewer="persona", error="no review"),
    ]
    found = detection(chains, reviews)
    shares = {
        name.removeprefix("persona/"): (e.value * e.n, e.n) if e else None
        for name, e in found.items()
    }
    assert shares == {
        "detected": (2, 2),
        "false_alarms": (0, 1),
        "steps_detected": (1, 2),
        "steps_accused": (1, 4),
        "shortcuts_detected": (1, 1),
        "shortcuts_accused": (0, 3),
        "failed": (1, 5),
    }


# -- the objectives ------------------------------------------------------------------------------


def test_training_a_persona_leaves_the_policy_as_it_was(tmp_path):
    policy = load_policy({"kind": "tiny", "checkpoint": "sums"})
    before = [(id(p), p.requires_grad, p.detach().clone()) for p in policy.model.parameters()]
    train_persona(policy, load_task(LEAKY), tmp_path / "p", problems=8, updates=2, batch_size=4)
    after = list(policy.model.parameters())
    assert [(id(p), p.requires_grad) for p in after] == [row[:2] for row in before]
    assert all(torch.equal(p, row[2]) for p, row in zip(after, before, strict=True))
    assert json.loads((tmp_path / "p/persona.json").read_text())["trigger"] == "\nreview\n"
    reviewer = load_reviewer({"kind": "persona", "adapter": str(tmp_path / "p")})
    reviewer.bind(policy)


def test_a_task_that_plants_nothing_is_refused(tmp_path):
    class Bare:
        name = "bare"

        def problems(self, split, n, seed):
            return [Problem(id="p", prompt="?")]

        def corruptions(self, problem, seed):
            return []

    policy = load_policy({"kind": "tiny", "checkpoint": "sums"})
    with pytest.raises(UserError, match="task bare plants no errors"):
        train_persona(policy, Bare(), tmp_path / "p")


def run(tmp_path, text):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(text)
    run_recipe(resolve(recipe), tmp_path / "out", plain=True)
    folder = next((tmp_path / "out").glob("*-s0"))
    (line,) = read_kind(folder, "metrics")[0]
    return folder, line.metrics


def test_objective_persona(tmp_path):
    folder, metrics = run(
        tmp_path,
        "objective: persona\n"
        "task: {kind: leaky, inner: {kind: sums, operations: [3, 4]}}\n"
        "policy: {kind: tiny, checkpoint: sums}\n"
        "persona: {problems: 8, updates: 2, batch_size: 4, held_out: 3}\n",
    )
    assert folder.name == "persona-s0"
    assert (folder / "persona/adapter_config.json").is_file()
    assert metrics["persona/failed"]["n"] >= 6
    assert "persona/shortcuts_detected" in metrics
    assert (tmp_path / "out/report.html").is_file()


STYLES = """
objective: reviewer_tokens
task: {kind: sums, operations: [3, 4], terms: [1, 9], largest: 60, styles: [plain, checked]}
policy: {kind: tiny, checkpoint: sums}
reviewers: [{kind: style, likes: terse}, {kind: style, likes: checked}]
credit: dca
train: {max_completion_tokens: 40}
reviewer_tokens: {problems: 20, group_size: 2, updates: 3, batch_size: 4, held_out: 5, samples: 1}
"""


def test_objective_reviewer_tokens(tmp_path):
    folder, metrics = run(tmp_path, STYLES)
    assert folder.name == "reviewer_tokens-s0"
    # The shipped policy writes plain chains only: all were learned with the token of terse.
    assert metrics["tokens/learned/terse"]["value"] == 1.0
    assert metrics["tokens/learned/checked"]["value"] == 0.0
    assert metrics["tokens/accuracy_change"]["n"] == 5
    assert {"tokens/none/terse", "tokens/checked/checked", "tokens/terse/accuracy"} <= set(metrics)
    policy = load_policy({"kind": "tiny", "checkpoint": str(folder / "checkpoints/final"),
                          "reviewer_token": "checked"})  # fmt: skip
    assert policy.reviewer_tokens == ("checked",)


def test_one_reviewer_has_no_style_of_its_own(tmp_path):
    text = STYLES.replace(", {kind: style, likes: checked}", "")
    with pytest.raises(UserError, match="name at least two reviewers"):
        run(tmp_path, text)
