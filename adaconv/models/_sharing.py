"""Models in folders and on the Hugging Face Hub: weights as safetensors, and what makes the model.

The package huggingface_hub is optional; where it is missing, the methods say so.
"""

from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

try:
    from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
    from safetensors import SafetensorError
except ModuleNotFoundError as error:
    LACKING = (
        f"sharing models needs a package that is missing ({error}): pip install 'adaconv[hub]'"
    )

    class PyTorchModelHubMixin:  # type: ignore[no-redef]
        """Stands in for the class of that name."""

        def __init_subclass__(cls, **about: Any) -> None:
            super().__init_subclass__()

        def _refuse(*args: Any, **options: Any) -> None:
            raise ModuleNotFoundError(LACKING)

        save_pretrained = push_to_hub = _refuse
        from_pretrained = classmethod(_refuse)


WEIGHTS = "model.safetensors"
CARD = resources.files("adaconv.models").joinpath("card.md").read_text(encoding="utf-8")

Self = TypeVar("Self", bound="Shared")


class Shared(
    PyTorchModelHubMixin,
    library_name="adaconv",
    tags=["gan", "adaptive-convolution"],
    model_card_template=CARD,
):
    """A model with ``save_pretrained(folder)``, ``from_pretrained(folder)`` and ``push_to_hub``.

    A folder, or a repository, has ``model.safetensors``, the state of the model; ``config.json``,
    the arguments of :func:`adaconv.models.create`; and ``README.md``, a card. ``from_pretrained``
    of the base class makes whatever model is there, that of another class only its own. See
    :class:`huggingface_hub.PyTorchModelHubMixin` for the arguments.
    """

    config: dict[str, Any]

    @property
    def _hub_mixin_config(self) -> dict[str, Any]:  # type: ignore[override]
        """What ``config.json`` has; while a model is under construction there is nothing yet."""
        return self.__dict__.get("config", {})

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls: type[Self],
        *,
        model_id: str,
        config: dict[str, Any] | None = None,
        map_location: str = "cpu",
        **options: Any,
    ) -> Self:
        from adaconv.models import create

        if not config or "name" not in config:
            raise ValueError(f"{model_id} has no config.json that names a model of adaconv")
        gan = create(**config)
        if not isinstance(gan, cls):
            raise ValueError(f"{model_id} holds a {type(gan).__name__}, expected a {cls.__name__}")
        weights = Path(model_id, WEIGHTS)
        if not weights.parent.is_dir():
            known = ("revision", "cache_dir", "force_download", "token", "local_files_only")
            asked = {name: options[name] for name in known}
            weights = Path(hf_hub_download(model_id, WEIGHTS, **asked))
        try:
            return cls._load_as_safetensor(gan, str(weights), map_location, True)
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(
                f"{weights} does not hold the weights of {gan.name}: {error}"
            ) from error

    def generate_model_card(self, **about: Any) -> Any:
        """Return the card, which tells of training what ``about`` does.

        Args:
            **about: ``training``, facts by name; ``machine``, likewise; ``scores``, lines of
                ``scores.jsonl``.
        """
        sides = {
            side: sum(parameter.numel() for parameter in network.parameters())
            for side, network in self.named_children()  # type: ignore[attr-defined]
            if isinstance(network, nn.Module) and side in ("generator", "discriminator")
        }
        return super().generate_model_card(config=self.config, parameters=sides, **about)
