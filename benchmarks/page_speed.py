"""How long a page of many long traces takes to open, scroll, filter and search, in Chromium.

    python benchmarks/page_speed.py --traces 1000 --steps 200

Needs chromium on PATH. "Main thread" is processor time of the page itself, which another load on
the machine changes less than the wall clock.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.report.chromium import BINARY, Page
from tests.report.synthetic import write_lines

from apportion.report import write_report
from apportion.trace import Credit, Probe, Problem, Review, Rollout, StepCredit, StepVerdict

METHODS = ("outcome", "dca")


def records(path: Path, traces: int, steps: int) -> Path:
    """A stage with reviews, credit by two methods, and probes of every trace."""
    path.mkdir(parents=True)
    for number in range(traces):
        made = trace(number, steps)
        for kind, lines in made.items():
            write_lines(path / f"{kind}.jsonl", lines)
    return path


def trace(number: int, steps: int) -> dict[str, list]:
    rng = random.Random(number)
    lines, values = [], [rng.randint(1, 99)]
    for step in range(steps):
        more = rng.randint(1, 99)
        values.append(values[-1] + more)
        lines.append(f"step {step}: {values[-2]} + {more} = {values[-1]}, so it goes on\n")
    text = "".join(lines) + f"#### {values[-1]}"
    cuts, at = [], 0
    for line in lines:
        cuts.append((at, at + len(line)))
        at += len(line)
    words = [(k, min(k + 5, len(text))) for k in range(0, len(text), 5)]
    name = f"t{number}"
    problem = Problem(id=f"p{number // 4}", prompt=f"What is the sum, case {number // 4}?")
    rollout = Rollout(
        id=name, problem=problem, text=text, token_ids=tuple(range(len(words))),
        token_spans=tuple(words), outcome=float(number % 3 > 0), reasoning_end=at,
        policy="one" if number % 2 else "two",
    )  # fmt: skip
    verdicts = tuple(
        StepVerdict(label=rng.choice(["useful", "useful", "irrelevant"]),
                    depends_on=(k - 1,) if k else (), reason="the equation holds")
        for k in range(steps)
    )  # fmt: skip
    review = Review(rollout_id=name, reviewer="arithmetic", steps=tuple(cuts), verdicts=verdicts)
    need = tuple(round(rng.random() ** 4, 3) for _ in cuts)
    rows = [[k / steps, 1 - k / steps] for k in range(steps + 1)]
    curve = tuple((k / steps, row[0]) for k, row in enumerate(rows))
    base = {"rollout_id": name, "problem_id": problem.id, "steps": tuple(cuts)}
    probes = [
        Probe(measure="step_deletion", value=max(need), by_step=need, **base),
        Probe(measure="step_mediation", value=0.1, by_step=need, **base),
        Probe(measure="forced_answer", value=0.9, curve=curve,
              meta={"answers": ["1", "2"], "distribution": rows}, **base),
    ]  # fmt: skip
    return {
        "rollouts": [rollout],
        "reviews": [review],
        "probes": probes,
        "credit": [credit(name, method, cuts, words, rng) for method in METHODS],
    }


def credit(name, method, cuts, words, rng) -> Credit:
    values = [round(rng.gauss(0, 1), 3) for _ in cuts]
    advantages, k = [], 0
    for a, _ in words:
        while k + 1 < len(cuts) and a >= cuts[k][1]:
            k += 1
        advantages.append(values[k])
    steps = tuple(
        StepCredit(start=a, end=b, value=v) for (a, b), v in zip(cuts, values, strict=True)
    )
    return Credit(rollout_id=name, method=method, values=tuple(advantages),
                  advantages=tuple(advantages), steps=steps)  # fmt: skip


def thread_seconds(page: Page) -> float:
    found = {m["name"]: m["value"] for m in page.call("Performance.getMetrics")["metrics"]}
    return float(found["TaskDuration"])


def opened(html: Path) -> tuple[float, float, Page]:
    """(wall seconds until it is drawn, seconds of its main thread, the page)."""
    page = Page()
    page.call("Performance.enable", timeDomain="threadTicks")
    before, started = thread_seconds(page), time.perf_counter()
    page.call("Page.navigate", url=html.resolve().as_uri())
    while not page.run("document.readyState === 'complete'"):
        time.sleep(0.02)
    page.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    return time.perf_counter() - started, thread_seconds(page) - before, page


def timed(page: Page, script: str) -> float:
    """Milliseconds of a script and of laying out what it changed."""
    layout = "document.body.offsetHeight; return performance.now() - t;"
    return float(page.run(f"(() => {{ const t = performance.now(); {script}; {layout} }})()"))


_LIST = "const l = document.getElementById('list')"
_SEARCH = "const s = document.getElementById('search'); s.value = '{}'"
_TYPED = "s.dispatchEvent(new Event('input'))"
ACTIONS = {
    "next trace": "document.querySelector('.turn button:last-of-type').click()",
    "scroll the list": f"{_LIST}; l.scrollTop += 4000; l.dispatchEvent(new Event('scroll'))",
    "scroll the page": "window.scrollBy(0, 3000)",
    "filter: wrong": "document.querySelector('#filter [data-value=wrong]').click()",
    "filter: all": "document.querySelector('#filter [data-value=all]').click()",
    "search, first": f"{_SEARCH.format('step 17: 9')}; {_TYPED}",
    "search, next": f"{_SEARCH.format('step 17: 99')}; {_TYPED}",
    "choose a step": "document.querySelector('.step[data-step=\"5\"]').click()",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--opens", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="write the records and the page here")
    given = parser.parse_args()
    if BINARY is None:
        raise SystemExit("page_speed: no chromium, chromium-browser or google-chrome on PATH")
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary) / "run"
        started = time.perf_counter()
        if not folder.exists():
            records(folder, given.traces, given.steps)
        print(f"records written in {time.perf_counter() - started:.1f} s", flush=True)
        started = time.perf_counter()
        html = write_report(folder, max_traces=given.traces)
        size = html.stat().st_size / 1e6
        print(f"page of {size:.1f} MB made in {time.perf_counter() - started:.1f} s", flush=True)
        walls, threads = [], []
        for turn in range(given.opens):
            wall, thread, page = opened(html)
            walls.append(wall)
            threads.append(thread)
            if turn + 1 == given.opens:
                for name, script in ACTIONS.items():
                    print(f"{name}: {timed(page, script):.0f} ms", flush=True)
                print(f"messages: {page.messages}")
            page.close()
        print(
            f"open: wall {statistics.median(walls):.2f} s (best {min(walls):.2f}), main thread "
            f"{statistics.median(threads):.2f} s, median of {given.opens}"
        )


if __name__ == "__main__":
    main()
