"""Run a small recipe; with a number as third argument, die by SIGKILL after that update.

python resume_script.py CHECKPOINT OUT [DIE_AFTER]
"""

import os
import signal
import sys
from pathlib import Path

from apportion.config import RunConfig
from apportion.train.callbacks import Watcher
from apportion.train.grpo import rewards
from apportion.train.run import run_recipe

NOISY = {"kind": "noisy", "inner": "arithmetic", "tpr": 0.8, "fpr": 0.1}


def parity(task):
    """An untrained model is never right; this reward gives it something to learn."""
    return lambda completion_ids, **_: [float(sum(ids) % 2) for ids in completion_ids]


def main(checkpoint: str, out: str, die_after: str | None = None) -> None:
    rewards.outcome_reward = parity
    if die_after is not None:
        keep_on = Watcher.on_step_end

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step > int(die_after):
                os.kill(os.getpid(), signal.SIGKILL)
            return keep_on(self, args, state, control, **kwargs)

        Watcher.on_step_end = on_step_end
    config = RunConfig.model_validate(
        {
            "name": "resume",
            "task": {"kind": "words", "operations": [1, 1]},
            "policy": {"kind": "tiny", "checkpoint": checkpoint},
            "reviewers": ["arithmetic", NOISY],
            "credit": {"method": "random"},
            "consensus": {"rates": "measured"},
            "metalearning": {"every": 3, "problems": 4, "samples": 2, "cycles": 2},
            "train": {
                "updates": 6,
                "prompts_per_update": 2,
                "group_size": 4,
                "learning_rate": 1e-3,
                "max_completion_tokens": 12,
                "checkpoint_every": 2,
                "record_every": 1,
                "threads": 1,
            },
            "eval": {"every": 3, "problems": 4, "final_problems": 4, "showcase": 1},
            "alarm": {"enabled": False},
        }
    )
    run_recipe(config, Path(out), resume=Path(out).exists(), plain=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
