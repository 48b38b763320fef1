"""The reviewer argues first, then cuts, judges, links, and says what should have been thought."""

from __future__ import annotations

import json

import pytest

from apportion.errors import UserError
from apportion.review import ReviewCache
from apportion.review.llm_prompt import PROMPT_FOLDER, load_prompt
from apportion.review.llm_protocol import MAX_ARGUMENT, SCHEMAS
from apportion.trace import check_partition
from tests.review.endpoint import Answer, says, serving
from tests.review.helpers import ask, item, llm

TEXT = "pens cost 3 * 4 = 13\nlet me think\nin all 13 + 10 = 23\n#### 23"
END = TEXT.index("####")
STEPS = [
    {"quote": "pens cost 3 * 4 = 13", "reason": "it is 12", "label": "harmful", "correct": False,
     "depends_on": [], "confidence": 0.9, "instead": " pens cost 3 * 4 = 12\n"},
    {"quote": "let me think", "reason": "", "label": None, "correct": None,
     "depends_on": [], "confidence": None, "instead": ""},
    {"quote": "in all 13 + 10 = 23", "reason": "", "label": "useful", "correct": True,
     "depends_on": [0], "confidence": 0.8, "instead": ""},
]  # fmt: skip


def reply(argument: str = "3 * 4 is 12. But is 10 right? Yes.") -> str:
    return json.dumps({"argument": argument, "steps": STEPS})


def review_of(content: str, **options):
    with serving(lambda request, n: says(content)) as server:
        (review,) = ask(llm(server.url, prompt="deliberate", **options), item(TEXT))
    return review, server


def test_the_argument_the_cut_the_edges_and_what_should_have_been_thought_are_kept():
    review, server = review_of(reply())
    assert review.ok, review.error
    check_partition(review.steps, END)
    assert [step.text(TEXT) for step in review.steps] == [
        "pens cost 3 * 4 = 13\n",
        "let me think\n",
        "in all 13 + 10 = 23\n",
    ]
    assert review.meta["argument"] == "3 * 4 is 12. But is 10 right? Yes."
    assert "repairs" not in review.meta
    assert [v.label for v in review.verdicts] == ["harmful", None, "useful"]
    assert review.verdicts[1].abstains
    assert [v.instead for v in review.verdicts] == ["pens cost 3 * 4 = 12", "", ""]
    assert review.verdicts[2].depends_on == (0,)
    assert review.meta["prompt"] == "deliberate"
    assert review.meta["prompt_hash"] == load_prompt("deliberate").digest
    assert len(server.requests) == 1


def test_the_schema_has_the_argument_first_and_requires_all():
    _, server = review_of(reply())
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema == SCHEMAS["deliberate"]
    assert list(schema["properties"]) == ["argument", "steps"]
    entry = schema["properties"]["steps"]["items"]
    assert list(entry["properties"])[:2] == ["quote", "reason"], "thought about before it is judged"
    assert entry["required"] == list(entry["properties"])
    assert None in entry["properties"]["label"]["enum"]
    for form in ("free", "steps"):
        properties = SCHEMAS[form]["properties"]["steps"]["items"]["properties"]
        assert "instead" not in properties
        assert None not in properties["label"]["enum"]


def test_a_model_without_a_schema_may_argue_in_front_of_its_json():
    content = f"First, 3 * 4 {{is}} 12.\n\n```json\n{reply('So step 0 is wrong.')}\n```\nDone."
    review, _ = review_of(content, structured=False)
    assert review.ok, review.error
    assert review.meta["argument"] == "First, 3 * 4 {is} 12.\n\nSo step 0 is wrong."
    only_json, _ = review_of(json.dumps({"steps": STEPS}))
    assert only_json.ok and "argument" not in only_json.meta


def test_an_argument_without_end_is_cut_and_that_is_said():
    review, _ = review_of(reply("x" * (MAX_ARGUMENT + 5)))
    assert review.meta["argument"] == "x" * MAX_ARGUMENT
    assert review.meta["repairs"] == ["kept 8000 of the 8005 characters of the argument"]


def test_one_repair_turn_then_a_failed_review():
    review, server = review_of("I argue and argue and never decide.")
    assert review.verdicts == ()
    assert "no complete JSON object" in (review.error or "")
    assert "argument" not in review.meta
    assert len(server.requests) == 2


def test_a_stored_answer_has_its_argument_and_repairs(tmp_path):
    content = reply().replace('"depends_on": [0]', '"depends_on": [0, 2]')
    with serving(lambda request, n: says(content)) as server:
        with ReviewCache(tmp_path / "c.sqlite") as cache:
            (first,) = ask(llm(server.url, cache, prompt="deliberate"), item(TEXT))
            (again,) = ask(llm(server.url, cache, prompt="deliberate"), item(TEXT))
        assert len(server.requests) == 1
    assert again.usage.cached
    assert again.meta == first.meta
    assert again.meta["repairs"] == ["dropped the dependency of step 2 on itself"]
    assert again.verdicts == first.verdicts


def test_an_answer_read_in_part_is_stored_too(tmp_path):
    """Its repair turn was paid for; the stored answer is read as kindly as the first was."""
    bad = json.dumps({"argument": "", "steps": [*STEPS, {"quote": "rope", "label": "useful"}]})
    with serving(lambda request, n: says(bad)) as server:
        with ReviewCache(tmp_path / "c.sqlite") as cache:
            (first,) = ask(llm(server.url, cache, prompt="deliberate"), item(TEXT))
            (again,) = ask(llm(server.url, cache, prompt="deliberate"), item(TEXT))
        assert len(server.requests) == 2
    assert first.ok and again.usage.cached and again.verdicts == first.verdicts
    assert "its quote is not in the text: 'rope'" in again.meta["repairs"][0]


def test_the_goal_stands_in_the_prompt_and_editing_it_changes_the_verdicts(tmp_path):
    """A server that does what the prompt says: the behaviour is in the text, not in the code."""
    goal = "useful thoughts more often and useless ones less often"
    shipped = (PROMPT_FOLDER / "deliberate.md").read_text()
    assert goal in shipped
    mine = tmp_path / "mine.md"
    mine.write_text(shipped.replace(goal, "long thoughts more often and short ones less often"))

    def obedient(request, number):
        seeks_use = goal in request["messages"][0]["content"]
        return says(reply() if seeks_use else reply().replace('"harmful"', '"useful"'))

    with serving(obedient) as server:
        (one,) = ask(llm(server.url, prompt="deliberate"), item(TEXT))
        (other,) = ask(llm(server.url, prompt=str(mine)), item(TEXT))
    assert [v.label for v in one.verdicts] == ["harmful", None, "useful"]
    assert [v.label for v in other.verdicts] == ["useful", None, "useful"]
    assert one.meta["prompt_hash"] != other.meta["prompt_hash"]


def test_the_text_is_shown_uncut_and_the_reference_only_if_asked_for():
    hidden, server = review_of(reply())
    shown, with_reference = review_of(reply(), show_reference=True)
    assert hidden.ok and shown.ok
    assert TEXT[:END].strip() in server.requests[0]["messages"][1]["content"]
    assert "REFERENCE ANSWER" not in server.requests[0]["messages"][1]["content"]
    assert "REFERENCE ANSWER" in with_reference.requests[0]["messages"][1]["content"]


def test_granularity_free_and_deliberate_go_together_given_does_not():
    with serving(lambda request, n: Answer()) as server:
        assert llm(server.url, prompt="deliberate", granularity="free").prompt.name == "deliberate"
        with pytest.raises(UserError, match="'deliberate' is for granularity 'free', not 'given'"):
            llm(server.url, prompt="deliberate", granularity="given")
