"""A trainer small enough for tests: an untrained model of 30 thousand parameters."""

from pathlib import Path

from apportion.tasks import load_task


def make_task():
    return load_task({"kind": "words", "operations": [1, 2]})


def make_tokenizer():
    from apportion.policies.tiny import train_tokenizer

    task = make_task()
    return train_tokenizer(
        [p.prompt + str(task.gold_completion(p)) for p in task.problems("train", 300, 0)], 500
    )


def length_reward(completion_ids, **_):
    """Differs between completions of an untrained model, which are never right."""
    return [float(sum(ids) % 3) for ids in completion_ids]


def make_trainer(cls, out: Path, *, steps=4, prompts=4, callbacks=None, extra=None, **options):
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig

    from apportion.policies.tiny import build_model
    from apportion.train.rows import row_of_problem

    task, tokenizer = make_task(), make_tokenizer()
    problems = task.problems("train", steps * prompts, 0)
    settings = {
        "output_dir": str(out),
        "max_steps": steps,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "num_generations": 4,
        "max_completion_length": 16,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "loss_type": "dr_grpo",
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "seed": 1,
        "shuffle_dataset": False,
    }
    trainer = cls(
        model=build_model(tokenizer, hidden_size=32, layers=2, heads=2),
        processing_class=tokenizer,
        reward_funcs=[length_reward],
        args=GRPOConfig(**(settings | (extra or {}))),
        train_dataset=Dataset.from_list([row_of_problem(p, p.prompt) for p in problems]),
        callbacks=callbacks,
        **options,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def weights(trainer):
    return [p.detach().clone() for p in trainer.model.parameters()]


def largest_difference(one, other):
    return max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))
