"""Recordings as one animation: the models side by side, and below their metrics."""

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaconv.data import PointData
from adaconv.data._extra import extra
from adaconv.lab.recording import Recording
from adaconv.train.files import replacing

if TYPE_CHECKING:  # an optional package
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg

#: Of the field, from what is generated to what is real; as GAN Lab has them.
FIELD = "PRGn"
SAMPLES, REAL = "#7b3294", "#1a7a38"
#: Metrics drawn below, and whether they are counted against the number of modes.
CURVES = {"modes": "modes hit", "quality": "high quality", "diversity": "diversity"}
LINES = ("#2f6db5", "#e08a2c", "#8a8a8a")
#: Milliseconds of a frame, and of the last one.
SHORT, LONG = 150, 2500


def save_animation(
    recordings: Sequence[Recording],
    dataset: PointData,
    extent: float,
    out: str | os.PathLike[str],
) -> None:
    """Write the recordings as a GIF, which appears whole or not at all.

    Args:
        recordings: what was filmed; those with fewer frames stay at their last.
        dataset: the points that were learned.
        extent: the pictures show [-extent, extent]².
        out: the GIF file.
    """
    with extra("animations"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image
    figure = Figure(figsize=(3.1 * len(recordings), 4.6), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(recordings), squeeze=False, height_ratios=(3, 1.1))
    films = [
        _Film(recording, dataset, extent, *panels[:, index])
        for index, recording in enumerate(recordings)
    ]
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # once is enough: nothing changes its size
    count = max(len(recording.frames) for recording in recordings)
    pictures = []
    for index in range(count):
        for film in films:
            film.show(index)
        pixels = _pixels(canvas)
        pictures.append(Image.fromarray(pixels).quantize(256))
    encoded = io.BytesIO()
    times = [SHORT] * (count - 1) + [LONG]
    pictures[0].save(
        encoded, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0
    )
    with replacing(out) as file:
        file.write(encoded.getvalue())


def _pixels(canvas: "FigureCanvasAgg"):
    import numpy as np

    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


class _Film:
    """The two panels of a recording; their artists are moved from frame to frame."""

    def __init__(
        self,
        recording: Recording,
        dataset: PointData,
        extent: float,
        plane: "Axes",
        curves: "Axes",
    ) -> None:
        self.recording, self.plane = recording, plane
        frame = recording.frames[0]
        bounds = (-extent, extent, -extent, extent)
        self.field = plane.imshow(
            frame.field.numpy(),
            cmap=FIELD,
            vmin=-1.4,
            vmax=1.4,
            extent=bounds,
            interpolation="bilinear",
        )
        plane.plot(*dataset.values[:300].T.numpy(), ".", color=REAL, markersize=3, alpha=0.5)
        (self.samples,) = plane.plot([], [], ".", color=SAMPLES, markersize=2.5)
        plane.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[])
        modes = 1 if dataset.centers is None else len(dataset.centers)
        self.curves = []
        for (key, label), colour in zip(CURVES.items(), LINES, strict=True):
            scale = modes if key == "modes" else 1
            points = [(row["step"], row[key] / scale) for row in recording.metrics if key in row]
            if points:
                (line,) = curves.plot([], [], color=colour, linewidth=1.3, label=label)
                self.curves.append((line, points))
        curves.set(xlim=(0, recording.frames[-1].step), ylim=(0, 1.6), yticks=(0, 0.5, 1))
        curves.legend(fontsize=6, frameon=False, loc="upper left", ncols=3)
        curves.tick_params(labelsize=6)
        curves.spines[["top", "right"]].set_visible(False)

    def show(self, index: int) -> None:
        """Show a frame, or the last one."""
        frame = self.recording.frames[min(index, len(self.recording.frames) - 1)]
        self.field.set_data(frame.field.numpy())
        self.samples.set_data(*frame.samples.T.numpy())
        title = f"{self.recording.name}, step {frame.step}; field ±{frame.scale:.2g}"
        self.plane.set_title(title, fontsize=8)
        for line, points in self.curves:
            past = [point for point in points if point[0] <= frame.step]
            line.set_data([step for step, _ in past], [value for _, value in past])
