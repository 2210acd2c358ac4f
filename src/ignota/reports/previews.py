"""Pictures of a preview: what a class would cover, painted over each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.images import read_image, write_jpeg
from ignota.reports.pictures import outline
from ignota.world.previewing import Preview

_COLOUR = (255, 200, 0)
_ALPHA = 0.45


def preview_picture(image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "H W 3"]:
    """The image with what the class would cover tinted and outlined."""
    size = image.shape[1], image.shape[0]
    covered = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    painted = image.astype(np.float32)
    painted[covered] = (1 - _ALPHA) * painted[covered] + _ALPHA * np.array(_COLOUR, np.float32)
    painted[outline(covered, 1 + min(size) // 400)] = _COLOUR
    return np.asarray(np.rint(painted), np.uint8)


def write_previews(out: Path, paths: Sequence[Path], found: Preview) -> list[Path]:
    """One JPEG `NAME_preview.jpg` for each image of the preview, in the order of `paths`."""
    out.mkdir(parents=True, exist_ok=True)
    targets = []
    for number, (path, image) in enumerate(zip(paths, found.images, strict=True)):
        same = sum(other.stem == path.stem for other in paths[:number])
        target = out / f"{path.stem}{f'_{same + 1}' if same else ''}_preview.jpg"
        write_jpeg(target, preview_picture(read_image(path), image.mask))
        targets.append(target)
    return targets
