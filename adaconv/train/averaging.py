"""Running means of a generator's weights, which make better samples than the last ones."""

import contextlib
from collections.abc import Iterator

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from adaconv.models import GAN


class Average:
    """``θ' ← decay θ' + (1 - decay) θ`` after each step, of the parameters of the generator.

    It starts from the parameters after the first step; buffers, such as the statistics of batch
    norm, are those of the generator itself.

    Args:
        gan: the model.
        decay: weight of the past, in (0, 1); half of a mean is of the last ``-ln 2 / ln decay``
            steps.

    Source: Yazici et al., "The Unusual Effectiveness of Averaging in GAN Training", 2019.
    """

    def __init__(self, gan: GAN, decay: float) -> None:
        self.gan = gan
        self._mean = AveragedModel(gan.generator, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self._mean.requires_grad_(False)

    def count_in(self) -> None:
        """Count the generator's weights in."""
        self._mean.update_parameters(self.gan.generator)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Let the model have the mean generator in the ``with`` block."""
        own, self.gan.generator = self.gan.generator, self._mean.module
        try:
            yield
        finally:
            self.gan.generator = own

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the mean generator."""
        return self._mean.module.state_dict()

    def load_state_dict(self, state: dict[str, Tensor], steps: int) -> None:
        """Go on from a mean over so many steps."""
        self._mean.module.load_state_dict(state)
        self._mean.n_averaged.fill_(steps)
