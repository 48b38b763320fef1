"""Reviews per second against an endpoint that answers after 200 ms, and what a cache saves.

    python benchmarks/review_throughput.py [--reviews 256] [--latency 0.2]

A server in a process of its own on loopback speaks enough of the OpenAI protocol to be asked for
critiques, and sleeps before each answer. With c calls in flight it could serve c / latency a
second at most; the printed share is of that. The last line repeats the run from the cache.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

from apportion.review import ReviewCache, load_reviewer
from apportion.review.panel import Item, review_now
from apportion.segment import segment
from apportion.trace import Problem

ANSWER = json.dumps(
    {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "sleeper",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": '{"wrong_steps": []}'},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 8, "total_tokens": 108},
    }
).encode()


async def answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, latency: float, calls: object
) -> None:
    """One keep-alive connection: read a request by its length, sleep, answer."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            calls.value += 1
            await asyncio.sleep(latency)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                + str(len(ANSWER)).encode()
                + b"\r\n\r\n"
                + ANSWER
            )
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


def serve(latency: float, port: object, calls: object) -> None:
    async def run() -> None:
        server = await asyncio.start_server(
            lambda r, w: answer(r, w, latency, calls), "127.0.0.1", 0
        )
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviews", type=int, default=2048)
    parser.add_argument("--latency", type=float, default=0.2)
    options = parser.parse_args()
    port, calls = multiprocessing.Value("i", 0), multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(options.latency, port, calls), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.01)
    with tempfile.TemporaryDirectory() as folder:
        cache = ReviewCache(Path(folder) / "cache.sqlite")
        measure(port.value, 1, 1, options.latency, "warm-up", None)
        for concurrency in (1, 8, 64):
            count = min(options.reviews, 32 * concurrency)
            measure(port.value, concurrency, count, options.latency, f"c{concurrency}", None)
        measure(port.value, 64, options.reviews, options.latency, "cached", cache)
        before = calls.value
        measure(port.value, 64, options.reviews, options.latency, "cached", cache)
        print(f"the repeat made {calls.value - before} calls")
        cache.close()
    server.terminate()


def measure(
    port: int, concurrency: int, count: int, latency: float, salt: str, cache: ReviewCache | None
) -> None:
    reviewer = load_reviewer(
        {
            "kind": "llm",
            "base_url": f"http://127.0.0.1:{port}/v1",
            "model": "sleeper",
            "prompt": "capo",
            "max_concurrency": concurrency,
        },
        cache=cache,
    )
    items = []
    for i in range(count):
        text = f"{salt} {i} + 1 = {i + 1}\nin all {i + 1} + 2 = {i + 3}\n"
        items.append(
            Item(Problem(id=str(i), prompt=f"{salt} {i}"), text, segment(text), 1.0, str(i))
        )
    started = time.perf_counter()
    reviews = review_now([reviewer], items)
    seconds = time.perf_counter() - started
    failed = [r.error for of_one in reviews for r in of_one if r.error]
    best = concurrency / latency
    print(
        f"concurrency {concurrency:3}: {count} reviews in {seconds:.2f} s, "
        f"{count / seconds:.1f}/s of {best:.0f}/s possible ({count / seconds / best:.2f}); "
        f"{len(failed)} failed {failed[:1]}"
    )


if __name__ == "__main__":
    main()
