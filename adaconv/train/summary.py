"""What is left to say when training has ended."""

from dataclasses import dataclass
from pathlib import Path

from adaconv.train.comparison import Comparison


@dataclass(frozen=True)
class Summary:
    """What a training run came to."""

    model: str
    data: str
    """The data's description: name, count, size, split, licence."""
    backend: str
    steps: int
    seconds: float
    """Time spent training, before a resumption too."""
    images_per_second: float
    """Real images per second of the steps since the start or resumption; 0 if there were none."""
    comparison: Comparison | None
    samples: Path
    metrics: Path
    checkpoint: Path

    def __str__(self) -> str:
        rows = {
            "model": self.model,
            "data": self.data,
            "backend": self.backend,
            "steps": f"{self.steps}, in {self.seconds:.1f} s",
            "speed": f"{self.images_per_second:.1f} images/s",
            "comparison": self.comparison,
            "samples": self.samples,
            "metrics": self.metrics,
            "checkpoint": self.checkpoint,
        }
        return "\n".join(f"{key:12}{value}" for key, value in rows.items() if value is not None)
