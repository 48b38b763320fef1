"""Text to steps: a step is a half-open character span, and the steps partition the reasoning."""

from apportion.segment.cut import SEGMENTERS, segment
from apportion.segment.tokens import decode_with_spans, steps_of_tokens

__all__ = ["SEGMENTERS", "decode_with_spans", "segment", "steps_of_tokens"]
