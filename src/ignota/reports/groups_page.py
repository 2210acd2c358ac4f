"""The page on which groups of unknown regions are named, one self-contained HTML file, and its small pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from ignota.data.files import write_atomically
from ignota.reports.report import render_page

TILE = 96
_GAP = 4
_COLUMNS = 8
_PAPER = 244
_AROUND = 0.4
_LEAST = 40
_OUTLINE = (255, 215, 0)


@dataclass(frozen=True)
class GroupCard:
    """What the page tells of a group. tiles: (number of the region, its JPEG). facts: (value, what it is)."""

    key: str
    title: str
    tiles: tuple[tuple[int, bytes], ...]
    facts: tuple[tuple[str, str], ...]
    nearest: str
    parts: tuple[GroupCard, ...] = ()


@dataclass(frozen=True)
class GroupsPage:
    """title, subtitle and the groups in order; state: what names.csv is to bear; names: classes there are already.

    note: what else is to be said, at the foot of the page. command: how the names are learnt.
    """

    title: str
    subtitle: str
    cards: tuple[GroupCard, ...]
    state: str
    names: tuple[str, ...]
    note: str
    command: str


def write_groups_page(path: Path, page: GroupsPage) -> None:
    """Writes the page atomically. Raises InputError where it cannot be written."""
    write_atomically(path, render_groups_page(page).encode())


def render_groups_page(page: GroupsPage) -> str:
    """The page as HTML. Every text in it is escaped, and its content policy forbids loading anything."""
    return render_page("groups.html", page, ("page.css", "groups.css"), "groups.js")


def contact_sheet(tiles: Sequence[bytes], columns: int = _COLUMNS) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles, JPEGs of at most `TILE` pixels a side, row by row on light paper, RGB; raises ValueError for none."""
    if not tiles:
        raise ValueError("a contact sheet shows one tile at least")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    step = TILE + _GAP
    sheet = np.full((rows * step + _GAP, columns * step + _GAP, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        picture = np.asarray(Image.open(io.BytesIO(tile)).convert("RGB"))
        height, width = picture.shape[:2]
        top = _GAP + number // columns * step + (TILE - height) // 2
        left = _GAP + number % columns * step + (TILE - width) // 2
        sheet[top : top + height, left : left + width] = picture
    return sheet


def region_tile(image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> bytes:
    """A square JPEG round a region with its outline drawn, and enough of what surrounds it to tell what it is.

    Raises ValueError for an empty mask.
    """
    if not mask.any():
        raise ValueError("a tile shows a region, and this mask is empty")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    side = max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    side = int(min(max(_LEAST, (1 + 2 * _AROUND) * side), *mask.shape))
    top = int(np.clip((rows[0] + rows[-1] - side) // 2, 0, mask.shape[0] - side))
    left = int(np.clip((columns[0] + columns[-1] - side) // 2, 0, mask.shape[1] - side))
    window = np.s_[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > TILE else cv2.INTER_CUBIC
    tile = cv2.resize(image[window], (TILE, TILE), interpolation=how)
    inside = cv2.resize(mask[window].astype(np.uint8), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    borders, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, borders, -1, _OUTLINE, 1, cv2.LINE_AA)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def missing_tile() -> bytes:
    """What stands for a region whose image is gone."""
    tile = np.full((TILE, TILE, 3), 200, np.uint8)
    cv2.putText(
        tile, "?", (TILE // 2 - 11, TILE // 2 + 12), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (90, 90, 90), 2, cv2.LINE_AA
    )
    return bytes(cv2.imencode(".jpg", tile)[1])
