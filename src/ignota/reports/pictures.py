"""Pictures for people: labels in class colours, scores as heat, unknown regions outlined, previews of a class.

All pictures are RGB, "H W 3" uint8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8
from numpy.typing import NDArray
from scipy import ndimage

from ignota.data.images import read_image, write_jpeg
from ignota.taxonomy import UNKNOWN_COLOUR
from ignota.world.previewing import Preview

NO_REGION_COLOUR = (24, 24, 28)
"""What lies in no region is nearly black, so that regions stand out."""

_GOLDEN_TURN = 0.6180339887498949
_COLOUR = (255, 200, 0)
_ALPHA = 0.45


def colour_labels(labels: UInt8[np.ndarray, "H W"], palette: UInt8[np.ndarray, "256 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Every pixel in the colour of its label value."""
    return np.asarray(palette, np.uint8)[labels]


def heat_map(
    anomaly: Float[np.ndarray, "H W"],
    image: UInt8[np.ndarray, "H W 3"] | None = None,
    alpha: float = 0.7,
    colour_map: str = "inferno",
) -> UInt8[np.ndarray, "H W 3"]:
    """An anomaly map (0..1, higher = more anomalous; values outside are clipped) in a perceptually uniform colour map.

    With an image the heat is laid over its grey version with opacity `alpha`, so that what is hot can be recognised.
    Raises ValueError for NaN, which has no colour.
    """
    if np.isnan(anomaly).any():
        raise ValueError("heat_map: the anomaly map holds NaN; every pixel needs a number")
    steps = np.rint(np.clip(anomaly, 0.0, 1.0) * 255.0).astype(np.uint8)
    table = np.rint(matplotlib.colormaps[colour_map](np.arange(256))[:, :3] * 255.0).astype(np.uint8)
    heat = table[steps]
    if image is None:
        return heat
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
    return _blend(np.broadcast_to(grey, heat.shape), heat, alpha)


def overlay(
    image: UInt8[np.ndarray, "H W 3"],
    labels: UInt8[np.ndarray, "H W"],
    palette: UInt8[np.ndarray, "256 3"],
    alpha: float = 0.5,
    unknown_mask: Bool[np.ndarray, "H W"] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Class colours laid over the image with opacity `alpha`; unknown regions outlined in a loud colour."""
    picture = _blend(image, colour_labels(labels, palette), alpha)
    if unknown_mask is not None:
        _draw_outline(picture, unknown_mask, UNKNOWN_COLOUR)
    return picture


def outline(mask: Bool[np.ndarray, "H W"], thickness: int = 1) -> Bool[np.ndarray, "H W"]:
    """The mask's pixels that lie within `thickness` of its edge (8-neighbours); the image's border is no edge."""
    kernel = np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)
    core = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE)
    return mask & (core == 0)


def label_tags(
    picture: UInt8[np.ndarray, "H W 3"], regions: Integer[np.ndarray, "H W"], names: Mapping[int, str]
) -> UInt8[np.ndarray, "H W 3"]:
    """A copy of the picture with a small name tag inside each region that has a name.

    regions: "H W", 0 = no region. names: region id -> text. A tag sits at the region's innermost pixel, so that it
    never falls beside a crescent, and is moved inside the picture. Letters that OpenCV's font lacks become "?".
    """
    tagged = picture.copy()
    scale = max(0.42, min(picture.shape[:2]) / 750)
    for region, box in enumerate(ndimage.find_objects(regions), start=1):
        if box is None or region not in names:
            continue
        inside = np.pad((regions[box] == region).astype(np.uint8), 1)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        _draw_tag(tagged, names[region], (int(row) - 1 + box[0].start, int(column) - 1 + box[1].start), scale)
    return tagged


def region_picture(ids: Integer[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Every region in a colour of its own that depends on its id alone; 0, no region, is nearly black."""
    if ids.size and ids.min() < 0:
        raise ValueError(f"region_picture: region ids start at 0, not {ids.min()}")
    return region_colours(int(ids.max(initial=0)))[ids]


def region_colours(count: int) -> UInt8[np.ndarray, "ids 3"]:
    """Colours of the ids 0..R: hues a golden turn apart, so that neighbours in number differ most."""
    turn = np.arange(count + 1)
    hue = turn * _GOLDEN_TURN % 1.0
    saturation = np.array([0.62, 0.85, 0.45])[turn % 3]
    value = np.array([0.95, 0.78, 0.88, 0.66])[turn % 4]
    hsv = np.stack([hue * 360.0, saturation, value], axis=1).astype(np.float32)
    colours = np.rint(cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] * 255.0).astype(np.uint8)
    colours[0] = NO_REGION_COLOUR
    return colours


def channels_picture(channels: Float[np.ndarray, "K H W"], gap: int = 4) -> UInt8[np.ndarray, "gridH gridW 3"]:
    """Meta channels (0..1) as grey tiles with their numbers, in a grid as square as possible, white gaps between."""
    count, height, width = channels.shape
    columns = max(1, int(np.ceil(np.sqrt(count))))
    rows = -(-count // columns)
    tiles = np.zeros((rows * columns, height, width), np.uint8)
    tiles[:count] = np.rint(np.clip(np.nan_to_num(channels), 0.0, 1.0) * 255.0)
    framed = np.pad(tiles, ((0, 0), (0, gap), (0, gap)), constant_values=255)
    framed[count:] = 255
    grid = framed.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    sheet = grid.reshape(rows * (height + gap), columns * (width + gap))
    picture = np.repeat(sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap, None], 3, axis=2).copy()
    scale = max(0.35, min(height, width) / 500)
    for number in range(count):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        _draw_tag(picture[top : top + height, left : left + width], str(number), (0, 0), scale)
    return picture


def _blend(under: NDArray[np.uint8], over: NDArray[np.uint8], alpha: float) -> NDArray[np.uint8]:
    mixed = under.astype(np.float32) * (1.0 - alpha) + over.astype(np.float32) * alpha
    return np.rint(mixed).astype(np.uint8)


def _draw_outline(picture: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    """A coloured line inside the mask's edge with a thin dark one outside: it shows on any background."""
    thickness = max(2, round(min(mask.shape) / 200))
    kernel = np.ones((3, 3), np.uint8)
    ring = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~mask
    picture[ring] = 0
    picture[outline(mask, thickness)] = colour


def _draw_tag(picture: NDArray[np.uint8], text: str, centre: tuple[int, int], scale: float) -> None:
    """White text on a dark box centred at (row, column), moved to lie inside the picture."""
    font, weight = cv2.FONT_HERSHEY_SIMPLEX, 1
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in text)[:40]
    (width, height), drop = cv2.getTextSize(plain, font, scale, weight)
    pad = max(2, round(6 * scale))
    box_height, box_width = height + drop + 2 * pad, width + 2 * pad
    top = max(0, min(centre[0] - box_height // 2, picture.shape[0] - box_height))
    left = max(0, min(centre[1] - box_width // 2, picture.shape[1] - box_width))
    box = picture[top : top + box_height, left : left + box_width]
    box[:] = _blend(box, np.full_like(box, 12), 0.78)
    cv2.putText(picture, plain, (left + pad, top + pad + height), font, scale, (255, 255, 255), weight, cv2.LINE_AA)


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
