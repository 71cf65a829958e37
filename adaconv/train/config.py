"""How to train. What is trained, on what and into which folder are arguments of the trainer."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the defaults are those of the paper where it names them."""

    steps: int = 200_000
    """Updates of the generator at which training ends; those before a resumption count."""
    batch_size: int | None = None
    """Images per update; by default what the model's paper used (64 for AdaGAN)."""
    n_dis: int | None = None
    """Updates of the discriminator per step; by default as in the model's paper (1 for AdaGAN)."""
    seed: int = 0
    """Seed of the initial weights, the order of the images and the latent vectors."""
    backend: str | None = None
    """Backend of the adaptive convolutions (`adaconv info` lists them); by default the best."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device to train on; auto takes a GPU where there is one."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic: single precision, or PyTorch's automatic mix of it with bfloat16, or with float16
    and scaled losses, which needs a GPU."""
    compile: bool = False
    """Compile the networks by torch.compile."""
    channels_last: bool = False
    """Lay images and the weights of convolutions out with the channels last."""
    accumulate: int = 1
    """Parts that each batch is computed in, one after the other, to save memory."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rates: those of the model to the end, or down to 0 at the last step."""
    ema: float | None = None
    """Keep a running mean of the generator's weights, such as 0.999 of itself after each step, and
    draw samples with it."""
    workers: int = 0
    """Processes that load images; 0 loads them in the training process."""
    log_every: int = 20
    """Steps between two lines of metrics.jsonl."""
    sample_every: int = 500
    """Steps between two grids of samples."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; one is also written at the end and on interruption."""
    samples: int = 64
    """Images in a grid of samples."""
    wandb: bool = False
    """Show the metrics on Weights & Biases as well, beside TensorBoard."""
    compare: str | None = None
    """Backend to time against this run's at the end, on copies of the model: reference, say."""
    profile: bool = False
    """Write trace.json, what the third to the fifth step from the start of the process spend their
    time on, for Perfetto or Chrome."""

    def __post_init__(self) -> None:
        positive = ("steps", "batch_size", "n_dis", "log_every", "sample_every", "checkpoint_every")
        least = dict.fromkeys((*positive, "samples", "accumulate"), 1) | {"workers": 0, "seed": 0}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {value}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must lie between 0 and 1, got {self.ema}")
