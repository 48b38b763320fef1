"""From token ids to characters and back, without ever tokenising text again.

Tokenising the decoded text can give other tokens than were sampled, so the map is built by
decoding growing windows of the sampled ids.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

from apportion.trace import Step

_INCOMPLETE = "\ufffd"
# A character is at most four bytes, so a window this long always holds a whole one.
_LONGEST_PENDING = 8


def decode_with_spans(
    token_ids: Sequence[int], decode: Callable[[list[int]], str]
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Decode ids to text and give each token the character span it produced.

    ``decode`` maps ids to text and should drop special tokens. Where several byte tokens spell one
    character, the last of them owns it and the others get empty spans at its start. A leading
    blank that some tokenizers drop from the first token stays dropped. Returns the text and one
    half-open span per token; spans are ordered, touch, and cover the text.
    """
    text = ""
    spans: list[tuple[int, int]] = []
    context, done = 0, 0  # ids[context:done] are decoded already and give the next ones context
    ids = list(token_ids)
    for position in range(len(ids)):
        before = decode(ids[context:done])
        after = decode(ids[context : position + 1])
        pending = position + 1 - done
        incomplete = after.endswith(_INCOMPLETE) and pending < _LONGEST_PENDING
        if incomplete and position + 1 < len(ids):
            continue
        piece = after[len(before) :]
        start = len(text)
        text += piece
        spans.extend([(start, start)] * (pending - 1))
        spans.append((start, len(text)))
        context, done = done, position + 1
    return text, tuple(spans)


def steps_of_tokens(token_spans: Sequence[tuple[int, int]], steps: Sequence[Step]) -> np.ndarray:
    """Step index of each token, shape (T,) int64; -1 outside every step.

    A token belongs to the step that holds its first character, so a token that straddles a
    border belongs to the step it starts in, and every token to at most one.
    """
    starts = [step.start for step in steps]
    index_T = np.full(len(token_spans), -1, dtype=np.int64)
    for t, (start, _) in enumerate(token_spans):
        s = bisect_right(starts, start) - 1
        if s >= 0 and start < steps[s].end:
            index_T[t] = s
    return index_T
