import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apportion import Step, UserError
from apportion.segment import SEGMENTERS, decode_with_spans, segment, steps_of_tokens
from apportion.trace import check_partition, refine

# Emoji with joiners and skin tones, combining marks, right-to-left text, CJK, control characters.
AWKWARD = "👩‍🔬👍🏽é\u0301ñ שלום مرحبا 你好。ok! a=1\n\n\t\r\n\u2028\u200f3 * 4 = 12"
texts = st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(AWKWARD)))


@given(texts, st.sampled_from(sorted(SEGMENTERS)), st.data())
def test_steps_partition_the_reasoning_exactly(text, how, data):
    end = data.draw(st.integers(0, len(text)))
    steps = segment(text, end, how)
    if text[:end].strip():
        check_partition(steps, end)
        assert all(step.text(text).strip() for step in steps)
        assert "".join(step.text(text) for step in steps) == text[:end]
    else:
        assert steps == ()


def byte_tokens(text):
    """Byte fallback at its worst: every byte is a token."""
    return list(text.encode())


def decode_bytes(ids):
    return bytes(ids).decode("utf-8", errors="replace")


@given(texts, st.sampled_from(sorted(SEGMENTERS)))
def test_byte_tokens_map_to_characters_and_steps(text, how):
    ids = byte_tokens(text)
    decoded, spans = decode_with_spans(ids, decode_bytes)
    assert decoded == text
    assert len(spans) == len(ids)
    position = 0
    for start, end in spans:
        assert start == position and end >= start
        position = end
    assert position == len(text)
    steps = segment(text, how=how)
    index = steps_of_tokens(spans, steps)
    for s, step in enumerate(steps):
        own = [ids[t] for t in range(len(ids)) if index[t] == s]
        assert decode_bytes(own) == step.text(text)


@given(st.lists(st.integers(0, 255), max_size=40))
def test_invalid_bytes_lose_nothing(ids):
    text, spans = decode_with_spans(ids, decode_bytes)
    assert len(spans) == len(ids)
    assert (spans[-1][1] if spans else 0) == len(text)


@pytest.mark.parametrize("how", ["line", "sentence"])
def test_a_real_tokenizer_round_trips(how):
    pytest.importorskip("tokenizers")
    from apportion.policies.tiny import train_tokenizer

    tokenizer = train_tokenizer(["Tom buys 3 pens.\n3 * 4 = 12\n#### 12"] * 20, 300)
    text = AWKWARD + "\nTom buys 3 pens. Then 4.\n3 * 4 = 12\n"
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    decoded, spans = decode_with_spans(
        ids, lambda part: tokenizer.decode(part, skip_special_tokens=True)
    )
    assert decoded == text == tokenizer.decode(ids, skip_special_tokens=True)
    assert spans[-1] == (len(text), len(text))
    steps = segment(text, how=how)
    index = steps_of_tokens(spans, steps)
    assert index[-1] == -1 and set(index[:-1].tolist()) == set(range(len(steps)))


def test_cuts_by_hand():
    text = "a = 1. So b.\nc\n\nd"
    cuts = {how: [s.text(text) for s in segment(text, how=how)] for how in SEGMENTERS}
    assert cuts == {
        "line": ["a = 1. So b.\n", "c\n\n", "d"],
        "sentence": ["a = 1. ", "So b.\n", "c\n\n", "d"],
        "paragraph": ["a = 1. So b.\nc\n\n", "d"],
        "equation": ["a = 1. ", "So b.\nc\n\nd"],
        "whole": [text],
    }


def test_a_token_across_a_border_belongs_where_it_starts():
    spans = [(0, 2), (2, 5), (5, 6)]
    assert steps_of_tokens(spans, [Step(0, 4), Step(4, 6)]).tolist() == [0, 0, 1]
    assert steps_of_tokens(spans, []).tolist() == [-1, -1, -1]
    assert steps_of_tokens([], [Step(0, 4)]).dtype == np.int64


def test_unknown_segmenter():
    with pytest.raises(UserError, match="did you mean 'sentence'"):
        segment("a", how="sentense")


def test_refine_is_the_coarsest_common_cut():
    assert refine([[Step(0, 4), Step(4, 9)], [Step(0, 6), Step(6, 9)]], 9) == (
        Step(0, 4),
        Step(4, 6),
        Step(6, 9),
    )


def test_partition_errors_name_the_step():
    with pytest.raises(ValueError, match="step 1 spans"):
        check_partition([Step(0, 2), Step(3, 4)], 4)
    with pytest.raises(ValueError, match="end at 2"):
        check_partition([Step(0, 2)], 4)
