"""Training of the bundled GANs, and of any other that keeps to their interface."""

from adaconv.train.checkpoint import Checkpoint, CheckpointError
from adaconv.train.checks import check_output
from adaconv.train.comparison import Comparison, compare
from adaconv.train.config import TrainConfig
from adaconv.train.curves import draw_metrics, plot_metrics, read_metrics
from adaconv.train.images import grid, save_grid, save_samples, scatter
from adaconv.train.interruption import TrainingInterruptedError
from adaconv.train.sampling import sample
from adaconv.train.summary import Summary
from adaconv.train.trainer import Trainer
from adaconv.train.updates import TrainingDivergedError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Comparison",
    "Summary",
    "TrainConfig",
    "Trainer",
    "TrainingDivergedError",
    "TrainingInterruptedError",
    "check_output",
    "compare",
    "draw_metrics",
    "grid",
    "plot_metrics",
    "read_metrics",
    "sample",
    "save_grid",
    "save_samples",
    "scatter",
]
