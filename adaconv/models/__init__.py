"""Generative adversarial networks, by name: every file of this package registers its own."""

import importlib
import pkgutil

from adaconv.models._gan import GAN
from adaconv.models._registry import create, names, options, source

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["GAN", "create", "names", "options", "source"]
