"""What the races share: an untrained model to run, one chain with its cuts, and paired times.

One thread; the two sides alternate, so that what else the machine does falls on both. CPU seconds.
"""

from __future__ import annotations

import argparse
import ast
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from apportion.policies.language_model import LanguageModelPolicy
from apportion.policies.pretrained import load_pretrained
from apportion.policies.tiny import train_tokenizer
from apportion.stats import stratified_bootstrap
from apportion.tasks import load_task
from apportion.trace import Problem
from apportion.train.run import quiet_libraries


class Chain(NamedTuple):
    """A problem and, one for each cut, the beginnings of a chain that answers it."""

    problem: Problem
    beginnings: list[str]


def cut_options(
    doc: str, *, batch_size: int, target: float, **count: int
) -> argparse.ArgumentParser:
    """Options of a race over the cuts of a chain; ``count`` is one more, with its default."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--model", help="hub id, folder or package:NAME; default: untrained GPT-2")
    parser.add_argument("--batch-size", type=int, default=batch_size, help="of theirs")
    parser.add_argument("--target", type=float, default=target)
    numbers = {"pairs": 7, "cuts": 30, "length": 384, "new": 24} | count
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser


def start() -> None:
    """One thread, no progress bars."""
    torch.set_num_threads(1)
    quiet_libraries()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def untrained(hidden: int = 128, layers: int = 4, vocabulary: int = 512, context: int = 1024):
    """A policy over a GPT-2 with random weights; a tokenizer that knows the task words."""
    lines = [p.prompt + gold for p, gold in _solved(200)]
    tokenizer = train_tokenizer(lines, vocabulary)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_embd=hidden,
        n_layer=layers,
        n_head=4,
        # With the usual 0.02 all logits are alike, and rounding decides which is the largest.
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LanguageModelPolicy(GPT2LMHeadModel(config).eval(), tokenizer, "untrained")


def policy_of(model: str | None) -> LanguageModelPolicy:
    """The untrained one, or a hub id, folder or ``package:NAME``."""
    if model is None:
        return untrained()
    policy = load_pretrained(model, chat=False)
    if policy.tokenizer.pad_token_id is None:
        policy.tokenizer.pad_token = policy.tokenizer.eos_token
    policy.tokenizer.padding_side = "left"
    return policy


def saved(policy: LanguageModelPolicy) -> tuple[str, tempfile.TemporaryDirectory]:
    """A folder with the policy, for peers that load a model by its path."""
    folder = tempfile.TemporaryDirectory()
    policy.model.save_pretrained(folder.name)
    policy.tokenizer.save_pretrained(folder.name)
    AutoTokenizer.from_pretrained(folder.name)
    return folder.name, folder


def chain_with_cuts(policy: LanguageModelPolicy, length: int, cuts: int) -> Chain:
    """A chain of at most ``length`` tokens, problem included, cut at ``cuts`` of its lines.

    Beginnings end without the line's end, and their tokens are the same whether problem and
    beginning are read together or apart.
    """
    solved = _solved(length)
    problem = solved[0][0]
    count = len(policy.prompt_ids(problem))
    text, found = "", []
    for line in (line for _, gold in solved for line in gold.split("\n") if line):
        whole = text + line
        ids = policy.tokenizer(whole, add_special_tokens=False).input_ids
        if count + len(ids) > length:
            break
        assert policy.tokenizer(problem.prompt + whole).input_ids[count:] == ids
        found.append(whole)
        text = whole + "\n"
    assert len(found) >= cuts, f"{len(found)} lines fit into {length} tokens: fewer cuts"
    places = np.linspace(len(found) - 1, 0, cuts)[::-1].round().astype(int)
    return Chain(problem, [found[i] for i in places])


def _solved(n: int) -> list[tuple[Problem, str]]:
    task = load_task({"kind": "words", "operations": [2, 4]})
    return [(p, task.gold_completion(p) or "") for p in task.problems("test", n, 0)]


def functions_of(file: Path, names: list[str], globals_: dict[str, Any]) -> dict[str, Any]:
    """The functions ``names`` of a peer's file, without running the rest of it."""
    tree = ast.parse(file.read_text())
    kept = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    assert len(kept) == len(names), f"{file} does not define {', '.join(names)}"
    space = dict(globals_)
    exec(compile(ast.Module(kept, []), str(file), "exec"), space)
    return {name: space[name] for name in names}


def same_greedy(mine: list[list[str]], theirs: list[list[str]], new: int) -> None:
    """Stops a race whose sides do not go on from all cuts with the same tokens."""
    different = sum(a != b for a, b in zip(mine, theirs, strict=True))
    assert not different, f"greedy continuations of {different} of {len(mine)} cuts differ"
    print(f"greedy continuations of {len(mine)} cuts are equal, {new} tokens at most")


def clocked(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def race(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    pairs: int,
    target: float,
) -> float:
    """Prints and returns the median over pairs of their time over ours."""
    return race_seconds(
        what, lambda: clocked(ours), lambda: clocked(theirs), pairs=pairs, target=target
    )


def race_seconds(
    what: str, ours: Callable[[], float], theirs: Callable[[], float], *, pairs: int, target: float
) -> float:
    """As :func:`race`, with functions that say how long they took."""
    if pairs < 2:
        raise SystemExit("--pairs: an interval takes 2 at least")
    times = []
    for pair in range(pairs):
        if pair % 2:
            other = theirs()
            times.append((ours(), other))
        else:
            times.append((ours(), theirs()))
    own, other = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = [theirs / mine for mine, theirs in times]
    spread = stratified_bootstrap(ratios, np.median)
    assert spread is not None
    print(
        f"{what}: theirs {other:.3f} s, ours {own:.3f} s, ratio {spread.value:.1f} "
        f"[{spread.low:.1f}, {spread.high:.1f}] ({pairs} pairs, {min(ratios):.1f} to "
        f"{max(ratios):.1f}; target {target:g}; load {os.getloadavg()[0]:.1f})",
        flush=True,
    )
    return spread.value
