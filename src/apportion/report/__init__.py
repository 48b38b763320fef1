"""What a run showed: one HTML page, a card, and the comparison of several runs."""

from apportion.report.page import write_report

__all__ = ["write_report"]
