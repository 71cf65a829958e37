"""Recordings as one HTML page that needs nothing else: no network, no other file."""

import base64
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from adaconv.data import PointData
from adaconv.lab.recording import Recording
from adaconv.train.files import replacing
from adaconv.train.pages import rendered

#: Real points that are shown.
REAL = 400
#: Metrics on the page: name → title.
CURVES = {
    "modes": "modes hit",
    "quality": "share of samples of high quality",
    "diversity": "diversity of samples (that of the data is 1)",
    "generator_gradient": "norm of the generator's gradient",
}


def save_page(
    recordings: Sequence[Recording],
    dataset: PointData,
    extent: float,
    out: str | os.PathLike[str],
) -> None:
    """Write the recordings as a page to be played, which appears whole or not at all.

    Side by side it has what each discriminator says of the plane, with the real and the generated
    points; below, the metrics against the step.

    Args:
        recordings: what was filmed.
        dataset: the points that were learned.
        extent: the pictures show [-extent, extent]².
        out: the HTML file.

    The picture is that of Kahng et al., "GAN Lab", 2019.
    """
    content = {
        "data": dataset.name,
        "extent": extent,
        "real": _points(dataset.values[:REAL], extent),
        "modes": 0 if dataset.centers is None else len(dataset.centers),
        "curves": CURVES,
        "recordings": [_recording(recording, extent) for recording in recordings],
    }
    with replacing(out) as file:
        file.write(rendered("adaconv.lab", "page.html", content=content).encode())


def _recording(recording: Recording, extent: float) -> dict[str, Any]:
    return {
        "name": recording.name,
        "result": str(recording),
        "frames": [
            {
                "step": frame.step,
                "samples": _points(frame.samples, extent),
                "field": _encoded((frame.field * 127).round().numpy().astype(np.int8)),
                "side": len(frame.field),
                "scale": frame.scale,
            }
            for frame in recording.frames
        ],
        "metrics": {
            key: [(row["step"], row[key]) for row in recording.metrics if key in row]
            for key in CURVES
        },
    }


def _points(points: Tensor, extent: float) -> str:
    """Points as 16-bit numbers, x y x y ..., ±32767 being the edges of the picture."""
    places = (points / extent).clamp(-1, 1) * 32767
    return _encoded(places.round().numpy().astype("<i2"))


def _encoded(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
