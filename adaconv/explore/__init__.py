"""What a trained GAN has learned, seen in pictures: each tool returns rows for one sheet."""

from adaconv.explore.arithmetic import Term, arithmetic, parse
from adaconv.explore.dropping import drop_filters, dropping, feature_maps
from adaconv.explore.features import features, guided_gradients, strongest_features, unlearned
from adaconv.explore.interpolation import PATHS, interpolate, linear, spherical
from adaconv.explore.neighbours import nearest, neighbours
from adaconv.explore.sheet import Row, save_sheet
from adaconv.explore.sheets import SHEETS, Sheet, Subject
from adaconv.explore.sweeps import has_codes, sweeps

__all__ = [
    "PATHS",
    "SHEETS",
    "Row",
    "Sheet",
    "Subject",
    "Term",
    "arithmetic",
    "drop_filters",
    "dropping",
    "feature_maps",
    "features",
    "guided_gradients",
    "has_codes",
    "interpolate",
    "linear",
    "nearest",
    "neighbours",
    "parse",
    "save_sheet",
    "spherical",
    "strongest_features",
    "sweeps",
    "unlearned",
]
