"""Training runs as one page: what they learned, how well, on what and at which cost."""

from adaconv.report.page import save_report
from adaconv.report.run import Run, read_runs

__all__ = ["Run", "read_runs", "save_report"]
