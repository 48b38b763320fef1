"""What ``apportion probe`` is pointed at, and where its records go."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from apportion.cli.specs import parse_spec
from apportion.errors import UserError
from apportion.records import RunDirectory, is_run
from apportion.trace import Rollout

if TYPE_CHECKING:
    from apportion.faithfulness import Measure, Subject
    from apportion.policies.base import Policy
    from apportion.tasks import Task


class Target(NamedTuple):
    """Chains, who wrote them, and whose problems they are. ``home`` is the run that they come from,
    None where there is none; ``name`` names a directory where none is given."""

    policy: Policy
    task: Task
    rollouts: list[Rollout]
    home: Path | None
    name: str


def find_target(
    source: str,
    policy: str | None,
    task: str | None,
    problems: int,
    split: str,
    max_tokens: int,
    seed: int,
) -> Target:
    """A trained arm and a model write greedy chains on fresh problems; of other runs and of traces
    the recorded chains are taken.

    Raises UserError where it is none of these, or policy or task are not known.
    """
    from apportion.policies import load_policy
    from apportion.policies.tiny import SHIPPED
    from apportion.tasks import load_task

    path = Path(source)
    config = _config(path)
    final = path / "checkpoints" / "final"
    model = source if source in SHIPPED else _model_folder(path) or _model_folder(final)
    spec = _policy(policy, model, config)
    chosen = parse_spec(task, "kind") if task is not None else config.get("task")
    if chosen is None:
        raise UserError(f"{source}: say by --task whose problems these are")
    built, checker = load_policy(spec), load_task(chosen)
    if model is not None:
        drawn = checker.problems(split, problems, seed)  # type: ignore[arg-type]
        rollouts = built.sample(
            drawn, temperature=0.0, max_tokens=max_tokens, seed=seed,
            reasoning_end=checker.reasoning_end,
        )  # fmt: skip
        scored = [
            r.model_copy(update={"outcome": checker.score(r.problem, r.text)}) for r in rollouts
        ]
    else:
        from apportion.cli.stage import read_input

        scored = read_input([path], []).rollouts
    home = path if path.is_dir() and is_run(path) else None
    return Target(built, checker, scored, home, path.stem or "model")


def _policy(given: str | None, model: str | None, config: dict[str, Any]) -> dict[str, Any]:
    if given is not None:
        return parse_spec(given, "kind")
    kind = (config.get("policy") or {}).get("kind")
    if model is not None and (Path(model) / "latent.json").is_file():
        return {"kind": "latent", "model": model}
    if model is not None:
        option = "checkpoint" if kind in (None, "tiny") else "model"
        return {"kind": kind or "tiny", option: model}
    found = config.get("policy")
    if not found:
        raise UserError(
            "say by --policy who wrote these traces, such as tiny or pretrained:model=…"
        )
    return {key: value for key, value in found.items() if value is not None}


def _model_folder(path: Path) -> str | None:
    return str(path) if (path / "config.json").is_file() else None


def _config(path: Path) -> dict[str, Any]:
    file = (path if path.is_dir() else path.parent) / "config.yaml"
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def open_out(target: Target, out: Path | None, clean: bool) -> RunDirectory:
    """The run that the chains come from, or a directory of their own with a copy of them."""
    folder = out or target.home or Path("runs") / f"probe-{target.name}"
    if not folder.exists() or not any(folder.iterdir()):
        run = RunDirectory(folder)
        run.write_manifest(sys.argv)
    else:
        run = RunDirectory(folder, resume=True)
    if clean:
        run.keep("probes", lambda record: False)
    if folder != target.home:
        present = run.ids("rollouts")
        run.append("rollouts", *(r for r in target.rollouts if r.id not in present))
    return run


def settings_of(measures: Sequence[Measure], subject: Subject) -> dict[str, str]:
    """For each measure a name for everything that its probes depend on."""
    shared = [subject.segmenter, subject.seed, subject.max_tokens, subject.scoring]
    return {
        measure.name: hashlib.sha256(
            json.dumps([measure.model_dump(mode="json"), *shared]).encode()
        ).hexdigest()[:12]
        for measure in measures
    }
