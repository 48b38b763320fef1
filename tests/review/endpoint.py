"""An OpenAI-compatible endpoint on loopback that does what a test tells it to.

It is a real HTTP server: what the reviewer meets here it meets with its own client, retries and
timeouts. A behaviour is a function from the request to an :class:`Answer`; by default every given
step is judged useful.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MARK = re.compile(r"===== BEGIN SOLUTION (\w+) =====\n(.*)\n===== END SOLUTION \1 =====", re.DOTALL)


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


Behaviour = Callable[[dict[str, Any], int], Answer]


def says(content: str, *, usage: bool = True, finish: str = "stop", delay: float = 0.0) -> Answer:
    """A well-formed chat completion with this text."""
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": finish,
            }
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    return Answer(body=json.dumps(body).encode(), delay=delay)


def step_numbers(request: dict[str, Any]) -> list[int]:
    """The numbers of the steps that the request shows."""
    shown = MARK.search(request["messages"][1]["content"])
    assert shown is not None
    return [int(number) for number in re.findall(r"^\[(\d+)\] ", shown[2], re.MULTILINE)]


def all_useful(request: dict[str, Any], number: int = 0) -> Answer:
    return says(judged(dict.fromkeys(step_numbers(request), "useful")))


def judged(labels: dict[int, str], **more: Any) -> str:
    steps = [
        {"step": i, "reason": "r", "label": label, "correct": label.lower() != "harmful", **more}
        for i, label in labels.items()
    ]
    return json.dumps({"steps": steps})


class FakeEndpoint:
    """``requests`` are the bodies received, ``times`` when, ``at_once`` the most open together."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.at_once, self._open = 0, 0
        self._lock = threading.Lock()
        self.url = ""

    def handle(self, request: dict[str, Any], headers: dict[str, str]) -> Answer:
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self._open += 1
            self.at_once = max(self.at_once, self._open)
        try:
            answer = self.behaviour(request, number)
            time.sleep(answer.delay)
        finally:
            with self._lock:
                self._open -= 1
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is part of the tests."""


@contextmanager
def serving(behaviour: Behaviour = all_useful) -> Iterator[FakeEndpoint]:
    fake = FakeEndpoint(behaviour)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            request = json.loads(self.rfile.read(length))
            answer = fake.handle(request, {k.lower(): v for k, v in self.headers.items()})
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
