"""What several reviewers say together."""

from apportion.consensus.agreement import krippendorff_alpha
from apportion.consensus.dawid_skene import dawid_skene
from apportion.consensus.options import RULES, Voting
from apportion.consensus.vote import Case, consensus, consensus_of_many, disputed_spans

__all__ = [
    "RULES",
    "Case",
    "Voting",
    "consensus",
    "consensus_of_many",
    "dawid_skene",
    "disputed_spans",
    "krippendorff_alpha",
]
