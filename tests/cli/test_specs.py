"""Reviewers and methods as they are written on a command line."""

from pathlib import Path
from typing import Any

import pytest

from apportion import UserError
from apportion.cli.specs import label_of, parse_map, parse_spec


@pytest.mark.parametrize(
    ("text", "selector", "spec"),
    [
        ("arithmetic", "kind", {"kind": "arithmetic"}),
        ("dca:cap=3", "method", {"method": "dca", "cap": 3}),
        ("dca:cap=3e0,signed=true", "method", {"method": "dca", "cap": 3.0, "signed": True}),
        ("words:operations=[2,5],x=1", "kind", {"kind": "words", "operations": [2, 5], "x": 1}),
        ("noisy:inner={kind: human, file: a}", "kind",
         {"kind": "noisy", "inner": {"kind": "human", "file": "a"}}),
        ("{kind: noisy, tpr: 0.8}", "kind", {"kind": "noisy", "tpr": 0.8}),
        ("llm:org/name@http://localhost:8000/v1", "kind",
         {"kind": "llm", "model": "org/name", "base_url": "http://localhost:8000/v1"}),
        ("llm:small:q4@http://h/v1?a=b,critiques=3", "kind",
         {"kind": "llm", "model": "small:q4", "base_url": "http://h/v1?a=b", "critiques": 3}),
        ("llm:model=x,critiques=2", "kind", {"kind": "llm", "model": "x", "critiques": 2}),
        ("llm:gpt", "kind", {"kind": "llm", "model": "gpt"}),
    ],
)  # fmt: skip
def test_specs(text: str, selector: str, spec: dict[str, Any]) -> None:
    assert parse_spec(text, selector) == spec


def test_a_spec_can_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kind: noisy\ntpr: 0.8\n")
    assert parse_spec(str(file), "kind") == {"kind": "noisy", "tpr": 0.8}
    file.write_text("tpr: 0.8\n")
    with pytest.raises(UserError, match=r"mine.yaml: a mapping with 'kind' is needed"):
        parse_spec(str(file), "kind")
    with pytest.raises(UserError, match="No such file"):
        parse_spec(str(tmp_path / "none.yaml"), "kind")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names nothing"),
        (":cap=3", "names nothing"),
        ("dca:", "names nothing"),
        ("dca:cap", "'cap' is no option"),
        ("dca:=3", "'=3' is no option"),
        ("dca:cap=[1", "not YAML"),
        ("{tpr: 1}", "a mapping with 'kind' is needed"),
    ],
)
def test_specs_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_spec(text, "kind")
    assert "\n" not in str(caught.value)


def test_labels_tell_variants_apart() -> None:
    assert label_of({"method": "dca"}, "method") == "dca"
    assert (
        label_of({"method": "dca", "cap": 3, "signed": True}, "method") == "dca:cap=3,signed=True"
    )


def test_maps() -> None:
    assert parse_map(["question=prompt", "a b=completion"]) == {
        "question": "prompt",
        "a b": "completion",
    }
    for text in ("question", "=prompt", "question="):
        with pytest.raises(UserError, match="write COLUMN=field"):
            parse_map([text])
