"""What several reviewers say together."""

from apportion.consensus.agreement import krippendorff_alpha
from apportion.consensus.vote import RULES, consensus

__all__ = ["RULES", "consensus", "krippendorff_alpha"]
