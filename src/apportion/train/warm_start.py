"""A tiny policy from nothing: a tokenizer, a model, and supervised training on gold solutions.

The point is a policy that has something left to learn: training stops as soon as held-out greedy
accuracy reaches a target.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

from apportion.errors import UserError
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.tiny import build_model, load_tiny, train_tokenizer
from apportion.tasks import Task
from apportion.trace import Problem
from apportion.train.measure.evaluate import greedy_accuracy


def warm_start(
    task: Task,
    out: Path,
    *,
    problems: int = 40_000,
    target_accuracy: float = 0.45,
    learning_rate: float = 2e-3,
    batch_size: int = 32,
    epochs: int = 3,
    check_every: int = 100,
    check_problems: int = 200,
    hidden_size: int = 128,
    layers: int = 4,
    initializer_range: float = 0.02,
    vocab_size: int = 768,
    numbers: Literal["digits", "whole"] = "digits",
    decay: bool = False,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> float:
    """Train on gold completions until ``target_accuracy`` on validation; save to ``out``.

    Writes float16 safetensors (half the size; loaded back as float32). Returns the accuracy of
    the saved model. The loss is on the completion only. Raises UserError for a task without gold
    solutions.
    """
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    train = task.problems("train", problems, seed)
    texts = [(problem.prompt, _gold(task, problem)) for problem in train]
    tokenizer = train_tokenizer(
        (prompt + gold for prompt, gold in texts[:5000]), vocab_size, numbers=numbers
    )
    model = build_model(
        tokenizer,
        hidden_size=hidden_size,
        layers=layers,
        initializer_range=initializer_range,
        seed=seed,
    )
    policy = LanguageModelPolicy(model, tokenizer, "tiny")
    held_out = task.problems("validation", check_problems, seed)
    trainer = Trainer(
        model=model,
        train_dataset=Dataset.from_list([_row(tokenizer, *text) for text in texts]),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        args=TrainingArguments(
            output_dir=str(out / "trainer"),
            per_device_train_batch_size=batch_size,
            train_sampling_strategy="group_by_length",
            num_train_epochs=epochs,
            learning_rate=learning_rate,
            lr_scheduler_type="linear" if decay else "constant_with_warmup",
            warmup_steps=50,
            weight_decay=0.01,
            adam_beta2=0.98,
            logging_steps=check_every,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            seed=seed,
        ),
        callbacks=[_stop_at(policy, task, held_out, target_accuracy, check_every, say)],
    )
    trainer.train()
    _save(model, tokenizer, out)
    return greedy_accuracy(load_tiny(str(out)), task, held_out)


def _gold(task: Task, problem: Problem) -> str:
    gold = task.gold_completion(problem)
    if gold is None:
        raise UserError(
            f"task {task.name}: problem {problem.id} has no gold solution to learn from"
        )
    return gold


def _row(tokenizer: Any, prompt: str, completion: str) -> dict[str, list[int]]:
    prompt_ids = tokenizer(prompt)["input_ids"]
    ids = [*prompt_ids, *tokenizer(completion)["input_ids"], tokenizer.eos_token_id]
    labels = [-100] * len(prompt_ids) + ids[len(prompt_ids) :]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def _stop_at(
    policy: LanguageModelPolicy,
    task: Task,
    held_out: list[Problem],
    target: float,
    every: int,
    say: Callable[[str], None],
) -> Any:
    from transformers import TrainerCallback

    class StopAtTarget(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step % every:
                return
            accuracy = greedy_accuracy(policy, task, held_out)
            say(f"step {state.global_step}: validation accuracy {accuracy:.3f}")
            control.should_training_stop = accuracy >= target

    return StopAtTarget()


def _save(model: Any, tokenizer: Any, out: Path) -> None:
    half = copy.deepcopy(model).half()
    half.config.use_cache = True  # training turns it off; sampling needs it
    half.save_pretrained(out)
    tokenizer.save_pretrained(out)
