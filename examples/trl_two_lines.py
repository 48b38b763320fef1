"""A plain TRL script with the trainer swapped: the two lines marked below.

    python examples/trl_two_lines.py            # about a minute on two cores, offline

The model is the tiny policy that ships with Apportion; put any hub id or path in its place.
"""

from datasets import Dataset
from trl import GRPOConfig

from apportion.policies.tiny import SHIPPED
from apportion.tasks import load_task
from apportion.train import CreditGRPOTrainer  # line 1: instead of `from trl import GRPOTrainer`

words = load_task({"kind": "words", "operations": [1, 2], "largest": 300})
rows = [{"prompt": p.prompt, "answer": p.answers[0]} for p in words.problems("train", 320, seed=0)]


def right_answer(completions: list[str], answer: list[str], **_) -> list[float]:
    said = [text.rpartition("####")[2].strip() for text in completions]
    return [float(s == gold) for s, gold in zip(said, answer, strict=True)]


trainer = CreditGRPOTrainer(  # line 2: instead of `GRPOTrainer(`
    model=str(SHIPPED["shipped"]),
    reward_funcs=right_answer,
    args=GRPOConfig(
        output_dir="runs/trl_two_lines",
        max_steps=40,
        per_device_train_batch_size=64,
        num_generations=8,
        max_completion_length=40,
        learning_rate=2e-4,
        loss_type="dr_grpo",
        logging_steps=5,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        model_init_kwargs={"dtype": "float32"},
    ),
    train_dataset=Dataset.from_list(rows),
    # Optional, and these are the defaults: credit="dca", reviewers=["arithmetic"]
)
trainer.train()
