"""What a run showed: one HTML page, a card, and the comparison of several runs."""

from apportion.report.card import write_card
from apportion.report.claims import Verdict, Verdicts, judge_runs, write_verdicts
from apportion.report.compare import Comparison, Difference, compare_runs
from apportion.report.page import write_report

__all__ = [
    "Comparison",
    "Difference",
    "Verdict",
    "Verdicts",
    "compare_runs",
    "judge_runs",
    "write_card",
    "write_report",
    "write_verdicts",
]
