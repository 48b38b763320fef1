"""The chains remembered of training problems: in memory, and as records that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence

from apportion.errors import UserError
from apportion.records import RunDirectory
from apportion.records.memory import Remembered, RememberedChain
from apportion.tasks import Task
from apportion.trace import Problem, Rollout
from apportion.train.measure.evaluate import score_rollouts


class ChainMemory:
    """The newest record of each problem, read from the run directory and written through to it.

    ``directory`` has to be rewound to its checkpoint before, so that nothing is remembered from a
    later update than the weights are of.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._newest: dict[str, Remembered] = {}
        self._costs: list[tuple[int, int]] = []
        for record in directory.read("memory")[0]:
            self._hold(record)

    def put(self, record: Remembered) -> None:
        """Remember, and write one line. Raises UserError where the disk refuses."""
        self._directory.append("memory", record)
        self._hold(record)

    def of(self, problem: Problem, since: int = 0) -> Remembered | None:
        """The newest record of a problem, if it is of update ``since`` or later."""
        record = self._newest.get(problem.id)
        return record if record is not None and record.update >= since else None

    def chain(self, problem: Problem) -> RememberedChain | None:
        """The last right chain remembered of a problem."""
        record = self._newest.get(problem.id)
        return record.chains[-1] if record is not None and record.chains else None

    def drawn(self, update: int) -> int:
        """Completions that the records account for, of those drawn for ``update`` and before."""
        return sum(count for at, count in self._costs if at < update)

    def coverage(self, problems: Sequence[Problem]) -> dict[str, float]:
        """Share of the problems with a right chain, and of those chains the guide's."""
        chains = [chain for problem in problems if (chain := self.chain(problem)) is not None]
        hinted = sum(chain.source == "guide" for chain in chains)
        found = {"chains/coverage": len(chains) / len(problems)}
        return found | ({"chains/hinted": hinted / len(chains)} if chains else {})

    def _hold(self, record: Remembered) -> None:
        self._newest[record.problem_id] = record
        self._costs.append((record.update, record.tried + record.hinted))


def graded(task: Task, rollouts: Sequence[Rollout]) -> tuple[list[Rollout], list[bool]]:
    """The rollouts with their outcome, and which of them are right. A chain without an answer is
    wrong. Raises UserError for a problem whose gold answer cannot be read."""
    scored = score_rollouts(task, rollouts)
    for rollout in scored:
        if rollout.outcome is None:
            raise UserError(
                f"problem {rollout.problem.id}: its gold answer cannot be read, so no chain of it "
                "is known to be right: leave it out of the task"
            )
    return scored, [bool(r.outcome and r.outcome > 0.5) for r in scored]


def remembered_chain(rollout: Rollout, *, hinted: bool) -> RememberedChain:
    return RememberedChain(
        token_ids=rollout.token_ids, text=rollout.text, source="guide" if hinted else "policy"
    )


def chain_figures(task: Task, rollouts: Sequence[Rollout]) -> dict[str, float]:
    """What the policy's own completions of an update look like; by the names of docs/metrics.md."""
    n = len(rollouts)
    unanswered = sum(task.reasoning_end(r.text) >= len(r.text) for r in rollouts)
    return {
        "reward/mean": sum(r.outcome or 0.0 for r in rollouts) / n,
        "chains/unanswered": unanswered / n,
        "train/length": sum(len(r.token_ids) for r in rollouts) / n,
        "train/unfinished": sum(r.finish == "length" for r in rollouts) / n,
    }
