"""Reading JSONL that may be broken: every bad line is named, every good one kept."""

import re
from pathlib import Path

import pytest

from apportion import Problem, UserError
from apportion.records import read_jsonl

GOOD = Problem(id="a", prompt="x\u2028y").model_dump_json().encode()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"id": "b", "prompt":}', "not JSON: Expecting value at column"),
        (b'{"id": "b", "prompt": "\xff\xfe"}', "not UTF-8 at byte 23"),
        (b"[1, 2]", "not a JSON object but list"),
        (b"id,prompt", "not JSON"),
        (b'{"id": "b"}', "not a Problem: prompt: Field required"),
        (b'{"id": "b", "prompt": "", "x": 1, "y": 2}', r"Problem: x: Extra.*\(and 1 more\)"),
        (b'{"schema_version": 99, "id": "b", "prompt": ""}', "upgrade apportion"),
        (b"\x00\x01\x02", "not JSON"),
        (b"[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_a_bad_line_is_named_and_the_good_ones_kept(
    tmp_path: Path, line: bytes, complaint: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"\n".join([GOOD, line, b"", GOOD, b""]))
    records, complaints = read_jsonl(file, Problem)
    assert [record.id for record in records] == ["a", "a"]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{file}:2: ")
    assert re.search(complaint, complaints[0])


def test_a_cut_off_last_line_is_called_unfinished(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(GOOD + b"\n" + GOOD[:-5])
    records, complaints = read_jsonl(file, Problem)
    assert len(records) == 1
    assert complaints == [f"{file}:2: unfinished: the file ends inside this record"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD + b"\r\n" + GOOD)
    records, complaints = read_jsonl(file, Problem)
    assert len(records) == 2 and not complaints


def test_missing_file_and_directory_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_jsonl(tmp_path / "none.jsonl", Problem)
    with pytest.raises(UserError, match="cannot be read"):
        read_jsonl(tmp_path, Problem)


def test_half_a_surrogate_pair_becomes_one_character(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"id": "a", "prompt": "1\\ud83d2 \\uD83D\\uDE00"}\n')
    records, complaints = read_jsonl(file, Problem)
    assert not complaints
    assert records[0].prompt == "1?2 \U0001f600"
