"""Train a few updates on completions that depend on prompt and position only; save the weights.

Run alone or under torchrun: python two_process_script.py OUT PER_DEVICE_BATCH CREDIT
"""

import sys
from pathlib import Path

import torch

from apportion.train import CreditGRPOTrainer
from tests.train.grpo.test_trl import StepsByParity
from tests.train.tiny_setup import make_trainer

COMPLETIONS = [
    "pens cost 3 * 4 = 12\nin all 12 + 1 = 13\n#### 13",
    "in all 2\n#### 2",
    "bags 9 / 3 = 3\nall 3 + 3 = 7\nless 7 - 1 = 6\n#### 6",
    "#### 5",
]


def rollout(prompts, trainer):
    tokenizer = trainer.processing_class
    first = trainer.accelerator.process_index * len(prompts)
    texts = [COMPLETIONS[(first + i) % len(COMPLETIONS)] for i in range(len(prompts))]
    ids = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for text in texts]
    return {
        "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
        "completion_ids": ids,
        "logprobs": None,
    }


def main(out: str, per_device: str, credit: str) -> None:
    trainer = make_trainer(
        CreditGRPOTrainer,
        Path(out),
        credit=credit,
        reviewers=[StepsByParity()],
        rollout_func=rollout,
        extra={
            "per_device_train_batch_size": int(per_device),
            "gradient_accumulation_steps": 1,
            "max_completion_length": 64,
            "dataloader_num_workers": 0,
            "max_grad_norm": 0.0,
        },
    )
    trainer.train()
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        torch.save(model.state_dict(), Path(out) / "weights.pt")
    # Threads of a group that is still there when the interpreter ends abort the process.
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(*sys.argv[1:])
