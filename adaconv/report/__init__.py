"""Training runs as others see them: on one page, or as a model with a card."""

from adaconv.report.page import save_report
from adaconv.report.run import Run, read_runs
from adaconv.report.share import share

__all__ = ["Run", "read_runs", "save_report", "share"]
