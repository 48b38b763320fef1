"""Who judges the steps of a chain of thought: text in, verdicts out."""

from apportion.review.base import Reviewer
from apportion.review.cache import ReviewCache
from apportion.review.check import ReviewerReport, measure_on_task, measure_reviewer, require_trust
from apportion.review.panel import Item, ReviewLoop, review_all, review_now
from apportion.review.specs import REVIEWERS, load_reviewer

__all__ = [
    "REVIEWERS",
    "Item",
    "ReviewCache",
    "ReviewLoop",
    "Reviewer",
    "ReviewerReport",
    "load_reviewer",
    "measure_on_task",
    "measure_reviewer",
    "require_trust",
    "review_all",
    "review_now",
]
