"""Continuations from shared trunks against sampling each from scratch, one thread, paired.

    python benchmarks/continuation_speed.py [--pairs 5] [--chains 16] [--n 9] [--model PATH]

Beginnings of about 128 tokens (prompt included) that end at a line end, ``n`` continuations each.
"From scratch" is the model's own ``generate`` of transformers on every continuation's whole
beginning: one call per continuation ("alone"), one call per beginning ("copies": n copies of it in
a batch, as pipelines that resample do), and batches of 128 rows ("batched"). Greedy tokens are
compared first; the timed continuations are sampled. A ratio is a median over alternating pairs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch

from apportion.policies.continuation import Engine, Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.pretrained import load_pretrained
from apportion.policies.tiny import load_tiny
from apportion.tasks import load_task


def beginnings(policy: LanguageModelPolicy, wanted: int, length: int) -> list[Prefix]:
    """Problems with as many worked lines after them as fit into ``length`` tokens."""
    task = load_task({"kind": "words", "operations": [2, 4]})
    problems = task.problems("test", 4 * wanted, 0)
    lines = [
        line
        for problem in problems
        for line in (task.gold_completion(problem) or "").split("\n")
        if line and not line.startswith("####")
    ]
    found = []
    for i, problem in enumerate(problems[:wanted]):
        room = length - len(policy.prompt_ids(problem))
        text = ""
        for line in lines[5 * i :]:
            if len(policy.tokenizer(text + line + "\n").input_ids) > room:
                break
            text += line + "\n"
        found.append(Prefix(problem, text))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--n", type=int, default=9)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--model", help="hub id, folder or package:NAME instead of the tiny policy")
    options = parser.parse_args()
    torch.set_num_threads(1)
    policy = load_tiny()
    prefixes = beginnings(policy, options.chains, options.length)
    if options.model:
        policy = load_pretrained(options.model, chat=False)
    sizes = [len(policy.prompt_ids(p.problem)) + len(policy.tokenizer(p.text).input_ids)
             for p in prefixes]  # fmt: skip

    def run(temperature: float, engine: Engine, rows: int, n: int) -> list[list[str]]:
        groups = [prefixes] if rows > n else [[prefix] for prefix in prefixes]
        found = []
        for group in groups:
            found += continue_chains(policy, group, n=n, temperature=temperature, engine=engine,
                                     max_tokens=options.new, batch_size=rows)  # fmt: skip
        return found

    greedy = [run(0.0, engine, 128, 1) for engine in ("trunk", "simple")]
    same = sum(a == b for a, b in zip(*greedy, strict=True))
    assert same == len(prefixes), f"{len(prefixes) - same} of {len(prefixes)} chains differ"
    print(
        f"{len(prefixes)} beginnings of {statistics.mean(sizes):.0f} tokens, {options.n} "
        f"continuations of at most {options.new}; greedy tokens equal; "
        f"load {os.getloadavg()[0]:.1f}"
    )

    def clocked(work: Callable[[], object]) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    def ours() -> object:
        return run(1.0, "trunk", 4096, options.n)

    others = {
        "alone": lambda: run(1.0, "simple", 1, options.n),
        "copies": lambda: run(1.0, "simple", options.n, options.n),
        "batched": lambda: run(1.0, "simple", 128, options.n),
    }
    for name, theirs in others.items():
        times: list[tuple[float, float]] = []
        for pair in range(options.pairs):
            if pair % 2:
                other = clocked(theirs)
                times.append((clocked(ours), other))
            else:
                times.append((clocked(ours), clocked(theirs)))
        own, other = (statistics.median(column) for column in zip(*times, strict=True))
        ratios = sorted(theirs / mine for mine, theirs in times)
        print(
            f"{name:8} {other:.2f} s, trunks {own:.2f} s, ratio {statistics.median(ratios):.1f} "
            f"({ratios[0]:.1f} to {ratios[-1]:.1f}, {options.pairs} pairs, CPU seconds)"
        )


if __name__ == "__main__":
    main()
