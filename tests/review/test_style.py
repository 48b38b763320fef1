"""The reviewer of style."""

import pytest

from apportion import UserError
from apportion.review import load_reviewer
from tests.review.helpers import ask, item

PLAIN = "so 3 + 4 = 7\nso 7 - 2 = 5\n#### 5"
CHECKED = "so 3 + 4 = 7\ncheck 7 - 4 = 3\nso 7 - 2 = 5\nCheck 5 + 2 = 7\n#### 5"
MIXED = "so 3 + 4 = 7\ncheck 7 - 4 = 3\nso 7 - 2 = 5\n#### 5"


def labels(likes, text, **options):
    (review,) = ask(load_reviewer({"kind": "style", "likes": likes, **options}), item(text))
    assert all(verdict.correct is None for verdict in review.verdicts)
    return [str(verdict.label)[0] for verdict in review.verdicts]


@pytest.mark.parametrize(
    ("text", "terse", "checked"),
    [(PLAIN, "uu", "ii"), (CHECKED, "uiui", "uuuu"), (MIXED, "uiu", "uui")],
)
def test_what_each_style_likes(text, terse, checked):
    assert "".join(labels("terse", text)) == terse
    assert "".join(labels("checked", text)) == checked


def test_another_mark_of_a_check():
    assert labels("terse", "so 3 + 4 = 7\n(7 - 4 = 3)\n#### 7", check=r"\(") == ["u", "i"]


def test_names_and_bad_options():
    assert load_reviewer({"kind": "style", "likes": "terse"}).name == "terse"
    with pytest.raises(UserError, match="is no regular expression"):
        load_reviewer({"kind": "style", "likes": "terse", "check": "("})
    with pytest.raises(UserError, match="option likes"):
        load_reviewer({"kind": "style", "likes": "long"})
