"""Reads numbers and equations out of prose, exactly and without ``eval``."""

from apportion.review.reading.answers import stated_answer
from apportion.review.reading.equations import Equation, read_equations
from apportion.review.reading.numbers import Value, agrees, numbers_in, show

__all__ = [
    "Equation",
    "Value",
    "agrees",
    "numbers_in",
    "read_equations",
    "show",
    "stated_answer",
]
