"""Rollouts of the verifiers library: ``results.jsonl`` of an evaluation, and ``traces.jsonl``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def is_result(row: Row) -> bool:
    """Whether it is a line of ``results.jsonl``: a rollout with its reward and its example."""
    return {"prompt", "completion", "reward", "example_id"} <= row.keys()


def is_episode(row: Row) -> bool:
    """Whether it is a line of ``traces.jsonl``: an episode with the traces of its agents."""
    return isinstance(row.get("traces"), list) and isinstance(row.get("task"), Mapping)


def row_of_result(row: Row) -> dict[str, Any]:
    """The reward is the outcome; the other columns stay as they are."""
    more = {key: value for key, value in row.items() if key not in ("reward", "answer")}
    # An absent answer is written as an empty text.
    given = {"answer": row["answer"]} if row.get("answer") not in (None, "") else {}
    return more | given | {"outcome": row["reward"]}


def rows_of_episode(row: Row) -> list[dict[str, Any]]:
    """A row for each trace of an episode: the messages that a model wrote are its completion,
    what stood before them its prompt. Where the messages branch, the last branch counts.

    Raises ValueError for a trace without messages.
    """
    return [_row_of_trace(trace, row) for trace in row["traces"]]


def _row_of_trace(trace: Any, episode: Row) -> dict[str, Any]:
    if not isinstance(trace, Mapping) or not isinstance(trace.get("nodes"), list):
        raise ValueError("a trace of the episode has no nodes")
    path = _last_branch(trace["nodes"])
    first = next((i for i, node in enumerate(path) if node.get("sampled")), None)
    if first is None:
        raise ValueError(f"trace {trace.get('id')}: no message in it was sampled")
    messages = [node["message"] for node in path]
    task = trace.get("task") or episode["task"]
    found = task.get("data") if isinstance(task.get("data"), Mapping) else task
    agent = trace.get("agent")
    row = {
        "prompt": messages[:first],
        "completion": messages[first:],
        "outcome": _reward(trace.get("rewards")),
        "policy": _model(agent if isinstance(agent, Mapping) else {}),
    }
    if trace.get("id"):
        row["id"] = str(trace["id"])
    answer = found.get("answer") if isinstance(found, Mapping) else None
    return row | ({"answer": answer} if isinstance(answer, str | int | float) else {})


def _last_branch(nodes: Sequence[Any]) -> list[Mapping[str, Any]]:
    """From the root to the last sampled message, else to the last of all."""
    known = [node for node in nodes if isinstance(node, Mapping)]
    if len(known) < len(nodes) or any(not isinstance(n.get("message"), Mapping) for n in known):
        raise ValueError("a node of the trace has no message")
    sampled = [i for i, node in enumerate(known) if node.get("sampled")]
    at: int | None = (sampled or range(len(known)))[-1] if known else None
    path: list[Mapping[str, Any]] = []
    while at is not None:
        if not 0 <= at < len(known) or len(path) > len(known):
            raise ValueError("the parents of the trace's nodes lead nowhere")
        path.append(known[at])
        at = known[at].get("parent")
    return path[::-1]


def _reward(rewards: Any) -> float | None:
    """The weighted sum; None where one of them was not scored."""
    if not isinstance(rewards, Mapping) or not rewards:
        return None
    total = 0.0
    for reward in rewards.values():
        if not isinstance(reward, Mapping) or not isinstance(reward.get("score"), int | float):
            return None
        total += reward["score"] * reward.get("weight", 1.0)
    return total


def _model(agent: Mapping[str, Any]) -> str:
    model = agent.get("model") or agent.get("name") or ""
    return model if isinstance(model, str) else str(model.get("name", ""))
