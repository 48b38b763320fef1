"""The whole idea in one file: sample, segment, review, credit, update.

    python examples/one_file_loop.py            # about a minute on two cores, offline

A tiny policy solves word problems. Each completion is cut into steps, a reviewer says which steps
are right, and the credit method turns the completion's one advantage into one per token. The
update is a plain policy gradient: no clipping, no KL term, one step per batch, written out here.
"""

import torch

from apportion.consensus import consensus
from apportion.credit import Group, Sample, group_advantage, load_method
from apportion.policies import load_policy
from apportion.review import load_reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.tasks import load_task
from apportion.trace import Problem, Rollout

PROMPTS_PER_UPDATE, GROUP_SIZE, UPDATES, MAX_TOKENS = 8, 8, 60, 40

torch.manual_seed(0)
task = load_task({"kind": "words", "operations": [1, 2], "largest": 300})
policy = load_policy("tiny")
reviewer = load_reviewer("arithmetic")
method = load_method({"method": "dca", "cap": 2.0})
optimizer = torch.optim.AdamW(policy.model.parameters(), lr=2e-4)


def sample(problems: list[Problem], update: int) -> list[Rollout]:
    """G completions of each problem; the outcome is frozen here, before anyone reviews."""
    rollouts = policy.sample(
        problems,
        n=GROUP_SIZE,
        max_tokens=MAX_TOKENS,
        seed=update,
        reasoning_end=task.reasoning_end,
    )
    return [r.model_copy(update={"outcome": task.score(r.problem, r.text)}) for r in rollouts]


def review(rollouts: list[Rollout]) -> list[Sample]:
    """What the reviewer says of each step, mapped to tokens."""
    items = [
        Item(r.problem, r.text, segment(r.text, r.reasoning_end), r.outcome, r.id) for r in rollouts
    ]
    samples = []
    for rollout, reviews in zip(rollouts, review_now([reviewer], items), strict=True):
        samples.append(
            Sample(
                rollout_id=rollout.id,
                outcome=float("nan") if rollout.outcome is None else rollout.outcome,
                mask_T=torch.ones(len(rollout.token_ids), dtype=torch.bool).numpy(),
                spans_T=torch.tensor(rollout.token_spans).numpy(),
                consensus=consensus(reviews, rollout.reasoning_end),
            )
        )
    return samples


def credit(samples: list[Sample]) -> list[torch.Tensor]:
    """One advantage per token: completions are compared within their group."""
    advantages = []
    for start in range(0, len(samples), GROUP_SIZE):
        members = tuple(samples[start : start + GROUP_SIZE])
        base_G = group_advantage(torch.tensor([s.outcome for s in members]).numpy())
        credits = method.assign(Group(members, base_G))
        advantages += [torch.from_numpy(c.advantages_T).float() for c in credits]
    return advantages


def update_policy(rollouts: list[Rollout], advantages: list[torch.Tensor]) -> float:
    """Raise the log-probability of each token by its advantage (dr_grpo's constant divisor)."""
    prompts = [policy.prompt_ids(r.problem) for r in rollouts]
    rows = [[*p, *r.token_ids] for p, r in zip(prompts, rollouts, strict=True)]
    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    attention_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    weight_BT = torch.zeros(len(rows), width)
    for b, (prompt, advantage_T) in enumerate(zip(prompts, advantages, strict=True)):
        weight_BT[b, len(prompt) : len(prompt) + len(advantage_T)] = advantage_T
    logits = policy.model(input_ids=ids_BT, attention_mask=attention_BT).logits[:, :-1]
    logp_BT = logits.log_softmax(-1).gather(-1, ids_BT[:, 1:, None]).squeeze(-1)
    loss = -(weight_BT[:, 1:] * logp_BT).sum() / (len(rows) * MAX_TOKENS)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


problems = task.problems("train", UPDATES * PROMPTS_PER_UPDATE, seed=0)
for update in range(UPDATES):
    batch = problems[update * PROMPTS_PER_UPDATE : (update + 1) * PROMPTS_PER_UPDATE]
    rollouts = sample(batch, update)
    advantages = credit(review(rollouts))
    loss = update_policy(rollouts, advantages)
    right = sum(r.outcome or 0 for r in rollouts) / len(rollouts)
    print(f"update {update + 1:2d}: {right:.0%} right, loss {loss:+.4f}")
