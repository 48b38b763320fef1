"""``apportion ask``: why a step stands in a chain, from what is known of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apportion.cli.console import SPEC_HELP, complain, note, say
from apportion.cli.options import Columns
from apportion.errors import UserError

if TYPE_CHECKING:
    from apportion.explain import Found
    from apportion.policies.language_model import LanguageModelPolicy


def ask(
    source: Annotated[Path, typer.Argument(metavar="FILE|RUN", help="Traces, best reviewed.")],
    record: Annotated[str, typer.Argument(help="Id, the beginning of one, or row number.")],
    question: Annotated[str, typer.Argument(help="Such as 'why step 3?'.")],
    policy: Annotated[
        str | None,
        typer.Option(help=f"To intervene with: {SPEC_HELP}; none. Default: the run's checkpoint."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help=f"Credit: {SPEC_HELP}; repeatable.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Of what is written anew.")] = 16,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a continuation.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
    llm: Annotated[
        str | None, typer.Option(help="URL of an endpoint to phrase the answer.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model at --llm.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key for --llm.")
    ] = None,
    map: Columns = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Everything, as one JSON object.")
    ] = False,
) -> None:
    """Say why a step got its credit, and what happens without it.

    Each sentence names the evidence that it rests on, and missing evidence is named.
    """
    from apportion.cli.specs import parse_map, parse_spec
    from apportion.explain import explain, find_record
    from apportion.explain.answer import lines_of

    options = _llm_options(llm, model, api_key_env)
    methods = [parse_spec(text, "method") for text in method or []]
    found = find_record(source, record, map=parse_map(map or []))
    complain(found.complaints)
    loaded, why_none = _policy(found, policy)
    explanation = explain(
        found,
        question,
        policy=loaded,
        no_policy=why_none,
        methods=methods,
        resamples=resamples,
        max_tokens=max_tokens,
        seed=seed,
    )
    failure: UserError | None = None
    if options is not None:
        from apportion.explain.phrase import phrase

        try:
            explanation = explanation.model_copy(update={"phrased": phrase(explanation, options)})
        except UserError as error:
            failure = error  # the evidence is there all the same
    if as_json:
        say(explanation.model_dump_json(indent=2))
    else:
        if explanation.phrased is not None:
            say(f"{model} makes of the evidence below:\n{explanation.phrased}\n")
        for line in lines_of(explanation, _outcome):
            say(line)
    if failure is not None:
        raise failure


def _outcome(outcome: float | None) -> str:
    if outcome is None:
        return "of unknown outcome"
    return "right" if outcome >= 0.5 else "wrong"


def _policy(found: Found, given: str | None) -> tuple[LanguageModelPolicy | None, str]:
    """The policy to intervene with; without one, the reason why. One that is named must load."""
    from apportion.cli.specs import parse_spec

    if given == "none":
        return None, "--policy none"
    if given is None and found.checkpoint is None:
        return None, "there is no checkpoint beside the record; name a policy with --policy"
    if importlib.util.find_spec("torch") is None:
        if given is None:
            return None, "torch is not installed: pip install 'apportion[train]'"
        raise UserError("--policy needs torch: pip install 'apportion[train]'")
    if given is not None:
        return _loaded(parse_spec(given, "kind")), ""
    assert found.checkpoint is not None
    settings = found.config.get("policy")
    kind = settings.get("kind", "tiny") if isinstance(settings, dict) else "tiny"
    folder = str(found.checkpoint)
    own = {"kind": "tiny", "checkpoint": folder}
    if kind == "pretrained":
        own = {"kind": "pretrained", "model": folder}
    try:
        loaded = _loaded({**own, "name": folder})
    except (UserError, OSError, ValueError) as error:  # the latter two for a damaged one
        return None, f"{folder} cannot be used: {str(error).splitlines()[0]}"
    when = (
        ""
        if found.rollout.update is None
        else f"; the record is from update {found.rollout.update}"
    )
    note(f"intervening with {folder}{when}")
    return loaded, ""


def _loaded(spec: dict[str, Any]) -> LanguageModelPolicy:
    from apportion.policies import load_policy
    from apportion.policies.language_model import LanguageModelPolicy

    policy = load_policy(spec)
    if not isinstance(policy, LanguageModelPolicy):
        raise UserError(
            f"policy {policy.name} cannot go on from the middle of a chain: use kind tiny or "
            "pretrained"
        )
    return policy


def _llm_options(url: str | None, model: str | None, api_key_env: str | None) -> Any:
    from pydantic import ValidationError

    from apportion.review.llm_options import LlmOptions

    if url is None and model is None:
        return None
    if url is None or model is None:
        raise UserError("--llm URL and --model NAME belong together")
    try:
        return LlmOptions(base_url=url, model=model, api_key_env=api_key_env, max_tokens=600)
    except ValidationError as error:
        raise UserError(
            f"--llm: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
        ) from None
