"""Finding a record by its id, the beginning of it, its arm, or its row."""

import json
import shutil

import pytest

from apportion.errors import UserError
from apportion.explain import find_record
from tests.explain.runs import write_run


def test_by_id_prefix_and_row(tmp_path):
    run = write_run(tmp_path / "run")
    for name in ("u7/0/1", "u7/0/1", "2", "#2"):
        found = find_record(run, name)
        assert found.name == found.rollout.id == "u7/0/1"
    assert [rollout.id for rollout in found.group] == ["u7/0/0", "u7/0/1"]
    assert {review.rollout_id for review in found.reviews} == {"u7/0/1"}
    assert len(found.group_reviews) == 6 and list(found.credit) == ["dca"]
    assert found.voting["rule"] == "majority" and found.checkpoint is None


def test_in_several_arms_the_arm_is_named(tmp_path):
    for arm in ("dca-s0", "outcome-s0"):
        write_run(tmp_path / "run" / arm)
    found = find_record(tmp_path / "run", "outcome-s0/u7/0/0")
    assert found.name == "outcome-s0/u7/0/0" and len(found.group) == 2
    assert found.rollout.id == "u7/0/0"
    with pytest.raises(UserError, match="may be dca-s0/u7/0/0, outcome-s0/u7/0/0: write more"):
        find_record(tmp_path / "run", "u7/0/0")
    assert find_record(tmp_path / "run", "#3").name == "outcome-s0/u7/0/0"


def test_the_last_checkpoint_of_the_arm_is_at_hand(tmp_path):
    run = write_run(tmp_path / "run")
    for name in ("best", "final"):
        (run / "checkpoints" / name).mkdir(parents=True)
        (run / "checkpoints" / name / "config.json").write_text("{}")
    assert find_record(run, "1").checkpoint == run / "checkpoints" / "final"
    shutil.rmtree(run / "checkpoints" / "final")
    assert find_record(run, "1").checkpoint == run / "checkpoints" / "best"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("u7/0/2", r"no record 'u7/0/2' \(did you mean 'u7/0/"),
        ("u7/0", "'u7/0' may be u7/0/0, u7/0/1: write more of the name"),
        ("9", "no record '9'.* it holds 2, from 'u7/0/0' on"),
        ("zzz", "no record 'zzz'; it holds 2"),
    ],
)
def test_unknown_records(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        find_record(write_run(tmp_path / "run"), name)


def test_files_from_elsewhere_and_files_of_ours(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"prompt": "3 * 4?", "completion": "3 * 4 = 12\n#### 12"}) + "\n")
    found = find_record(file, "t-1")
    assert found.reviews == () and len(found.group) == 1 and found.config == {}
    with pytest.raises(UserError):
        find_record(tmp_path / "nowhere", "1")
    ours = write_run(tmp_path / "run") / "rollouts.jsonl"
    assert len(find_record(ours, "1").reviews) == 3
