"""Your own pictures, from a folder."""

from pathlib import Path

from adaconv.data import _pictures
from adaconv.data._source import Request, source
from adaconv.data.datasets import ImageData

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@source("folder:PATH", splits=("train",))
def load(request: Request) -> ImageData:
    """Read every picture below a folder, ordered by path; hidden files are passed over.

    All are decoded here, once, and take 3·S² bytes each: a damaged one shows before any training.
    """
    folder = Path(request.argument).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"folder:PATH needs an existing folder, got {folder}")
    paths = _pictures_below(folder)
    if not paths:
        raise ValueError(
            f"there is no picture in {folder} or its subfolders: got "
            f"{sum(1 for _ in folder.rglob('*'))} other entries, expected files that end in "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return ImageData(
        name=request.spec,
        split=request.split,
        licence="that of your pictures",
        values=_pictures.decode_all(paths, request.image_size),
    )


def _pictures_below(folder: Path) -> list[Path]:
    paths = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    visible = (p for p in paths if not p.name.startswith("."))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())
