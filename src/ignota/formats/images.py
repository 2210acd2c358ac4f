"""The images that belong to labels: copied unchanged, named by their key."""

from __future__ import annotations

import shutil
from pathlib import Path

from ignota.data.files import one_line
from ignota.data.images import image_size
from ignota.formats.labels import LabelPicture
from ignota.structures import InputError


def copy_image(picture: LabelPicture, folder: Path, suffix: str = "") -> str:
    """Copies the image into `folder` as KEY + `suffix` + its own ending and returns that name.

    An image that nobody knows is named as PNG and not written. Raises InputError for what is no picture, or of another
    size than its labels.
    """
    if picture.image is None:
        return f"{picture.key}{suffix}.png"
    size = image_size(picture.image)
    height, width = picture.label.shape
    if size not in ((height, width), (width, height)):  # a photograph may be stored lying on its side
        sizes = f"labels {width}×{height}, image {size[1]}×{size[0]}"
        raise InputError(f"{one_line(picture.image)} does not fit its labels ({sizes}); take both from one source")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{picture.key}{suffix}{picture.image.suffix.lower()}"
    shutil.copyfile(picture.image, folder / name)
    return name
