"""Latent reasoning: Coconut's published code in its own environment against the latent policy.

    git clone https://github.com/facebookresearch/coconut PATH
    python -m venv ENV && ENV/bin/pip install torch transformers==4.46.2 "numpy<2.3"
    python benchmarks/race_coconut.py --peer PATH --python ENV/bin/python [--steps 6,32] [--pairs 7]
    python benchmarks/race_coconut.py --peer PATH --python ENV/bin/python --size smollm2 --pairs 3

Two processes, one thread each, hold the same untrained weights and take turns. A training step is
forward and backward pass of a batch (question, latent steps, answer), of 32 rows as in their
args/*.yaml; generation is 64 greedy tokens for each of 16 questions, which theirs does one by one.
Losses, the gradient's norm and greedy tokens are compared first. Memory is the largest resident set
of each process, and that less what it held before its first training step (Linux). On an
accelerator (--device cuda) time is that on the clock, and memory the device's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from racing import race_seconds

WORKER = Path(__file__).with_name("coconut_worker.py")
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {
        "family": "GPT2",
        "model": "GPT2LMHeadModel",
        "config": {
            "vocab_size": 512, "n_positions": 512, "n_embd": 128, "n_layer": 4, "n_head": 4,
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "initializer_range": 0.1,
        },
        "rows": 32, "question": 97, "answer": 32, "asked": 16, "new": 64,
    },
    "smollm2": {
        "family": "Llama",
        "model": "LlamaForCausalLM",
        "config": {
            "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
            "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
            "max_position_embeddings": 2048, "tie_word_embeddings": True,
            "initializer_range": 0.02,
        },
        "rows": 4, "question": 49, "answer": 16, "asked": 4, "new": 16,
    },
}  # fmt: skip
TARGETS = {"gpt2": {"train": 8, "generate": 15}, "smollm2": {"train": 2, "generate": 2}}


class Side:
    """A worker process."""

    def __init__(self, python: str, spec: dict, *peer: str) -> None:
        self.process = subprocess.Popen(
            [python, str(WORKER), json.dumps(spec), *peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )
        self._answer()

    def ask(self, what: str) -> dict:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} {WORKER.name} ended: run it to see why")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(ours: Side, theirs: Side) -> None:
    mine, other = ours.ask("train"), theirs.ask("train")
    gap = abs(mine["result"] - other["result"])
    assert gap <= 1e-5 * other["result"], f"losses {mine['result']} and {other['result']}"
    norms = mine["gradient"], other["gradient"]
    assert abs(norms[0] - norms[1]) <= 1e-3 * norms[1], f"gradient norms {norms}"
    assert ours.ask("generate")["result"] == theirs.ask("generate")["result"], "other tokens"
    print(f"losses equal to {gap:.0e}, gradient norms to {abs(norms[0] / norms[1] - 1):.0e}, "
          "greedy tokens equal", flush=True)  # fmt: skip


def memory(side: Side) -> tuple[float, float]:
    """MiB that the process's first two training steps take at most, and without the model."""
    first, second = side.ask("train"), side.ask("train")
    peak = max(first["peak"], second["peak"])
    return peak, peak - first["held"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--python", required=True, help="interpreter of their environment")
    parser.add_argument("--size", choices=tuple(SIZES), default="gpt2")
    parser.add_argument("--steps", default="6,32")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--what", default="train,generate")
    parser.add_argument("--recompute", type=int, default=0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--keep-memory", action="store_true", help="theirs keeps what it frees too")
    parser.add_argument("--vocabulary", type=int)
    parser.add_argument("--rows", type=int, help="of a training step; 32, or 4 of smollm2")
    options = parser.parse_args()
    for steps in map(int, options.steps.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            spec = SIZES[options.size] | {"steps": steps, "recompute": options.recompute, "seed": 0}
            spec |= {"keep_memory": options.keep_memory, "device": options.device}
            spec["weights"] = str(Path(folder) / "weights.pt")
            if options.rows:
                spec |= {"rows": options.rows, "asked": min(options.rows, spec["asked"])}
            if options.vocabulary:
                spec["config"] = spec["config"] | {"vocab_size": options.vocabulary}
            sides = [Side(sys.executable, spec), Side(options.python, spec, str(options.peer))]
            print(f"{options.size}, {steps} latent steps, {spec['rows']} rows of "
                  f"{spec['question']} + {steps} + {spec['answer'] + 1} tokens")  # fmt: skip
            (own, added), (other, other_added) = (memory(side) for side in sides)
            print(f"training takes at most: theirs {other:.0f} MiB ({other_added:.0f} beyond the "
                  f"loaded model), ours {own:.0f} MiB ({added:.0f})")  # fmt: skip
            compare(*sides)
            for what in options.what.split(","):
                target = TARGETS[options.size][what]
                mine, their = (lambda s=s, w=what: s.ask(w)["seconds"] for s in sides)
                race_seconds(what, mine, their, pairs=options.pairs, target=target)
            for side in sides:
                side.close()


if __name__ == "__main__":
    main()
