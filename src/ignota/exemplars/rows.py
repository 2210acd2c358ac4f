"""What a row of a store holds: a checked name, an exemplar's tensors, a small picture, and a seal.

Seals detect changed, lost and added rows. A write leaves the seal of its row empty; the end of its transaction fills in
what is empty.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

import cv2
import numpy as np
import safetensors.torch
from jaxtyping import Bool, UInt8
from safetensors import SafetensorError
from torch import Tensor

from ignota.perception.novel import Exemplar
from ignota.structures import InputError
from ignota.taxonomy import RESERVED_NAMES

LONGEST_NAME, _LONGEST_TEXT = 64, 1000
_GROUPS = ("whole", "parts", "shares", "against")
_SIDE = 96
_MARGIN = 0.15
_DIM = 0.45
COLUMNS = {
    "class": ("id", "name", "colour", "hidden", "taught_at"),
    "exemplar": ("id", "class", "hidden", "image_sha256", "source", "given", "author", "at", "mask", "thumbnail",
                 "tensors", "counter"),
    "calibration": ("id", "hidden", "recipe", "author", "at", "images", "target_fpr", "threshold", "scale",
                    "reference"),
    "history": ("id", "at", "author", "action", "class", "detail", "exemplars", "undone_by"),
    "change": ("id", "event", "kind", "row", "field", "before", "after"),
}  # fmt: skip
"""The columns of each table that its seals cover: all but the seal."""


def checked_name(name: str) -> str:
    """A class name without blanks around it; raises InputError for one that cannot be printed or that is reserved."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(f"a class name has 1 to {LONGEST_NAME} printable characters, not {name[:200]!r}")
    if name.casefold() in RESERVED_NAMES:
        raise InputError(f"{name!r} is a reserved name, which label files need for themselves: choose another name")
    return name


def escaped(text: str) -> str:
    """Text for people (an author, the name of an image) with every character that cannot be printed as \\xNN."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown[:_LONGEST_TEXT]


def pack(exemplar: Exemplar) -> bytes:
    """Everything but the name, which its class may change."""
    groups = {name: getattr(exemplar, name) for name in _GROUPS}
    tensors: dict[str, Tensor] = {
        f"{group}:{key}": value.detach().cpu().contiguous()
        for group, values in groups.items()
        for key, value in values.items()
    }
    return safetensors.torch.save(tensors)


def unpack(name: str, blob: bytes) -> Exemplar:
    """The inverse of `pack`; raises InputError for damaged bytes."""
    groups: dict[str, dict[str, Tensor]] = {name: {} for name in _GROUPS}
    try:
        for key, value in sorted(safetensors.torch.load(blob).items()):  # it has them in any order
            group, _, rest = key.partition(":")
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise ValueError(f"{key} is not finite")
            groups[group][rest] = value
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"an exemplar of {name!r} is damaged ({error}): forget the class and teach it again") from None
    return Exemplar(name, **groups)


def thumbnail(image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]) -> bytes:
    """A square JPEG round the mask, what lies outside it dimmed; both on one grid, the mask not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    centre = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    half = max(8.0, (0.5 + _MARGIN) * max(rows[-1] - rows[0], columns[-1] - columns[0]))
    half = min(half, max(mask.shape) / 2)
    y0, y1 = int(max(0, centre[0] - half)), int(min(mask.shape[0], centre[0] + half + 1))
    x0, x1 = int(max(0, centre[1] - half)), int(min(mask.shape[1], centre[1] + half + 1))
    crop = image[y0:y1, x0:x1].astype(np.float32)
    crop *= np.where(mask[y0:y1, x0:x1], 1.0, _DIM)[:, :, None]
    scale = _SIDE / max(crop.shape[:2])
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    pixels = np.clip(np.rint(small), 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def row_seal(table: str, cells: Sequence[object]) -> bytes:
    """SHA-256 of a row: its table, then kind, length and content of each cell."""
    digest = hashlib.sha256(f"{table};".encode())
    for cell in cells:
        content = cell if isinstance(cell, bytes) else repr(cell).encode("utf-8", "surrogatepass")
        digest.update(f"{type(cell).__name__} {len(content)};".encode() + content)
    return digest.digest()


def seal_open_rows(connection: sqlite3.Connection) -> None:
    """Seals the rows that a transaction has written, and all rows together."""
    for table, columns in COLUMNS.items():
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE seal = x''").fetchall()
        connection.executemany(
            f"UPDATE {table} SET seal = ? WHERE id = ?", [(row_seal(table, row), row[0]) for row in rows]
        )
    connection.execute("INSERT OR REPLACE INTO seal (id, total) VALUES (1, ?)", (_total(connection),))


def check_rows(connection: sqlite3.Connection) -> None:
    """Raises InputError for a row that is not what its seal says, and for rows that are missing or were added."""
    for table, columns in COLUMNS.items():
        for *cells, seal in connection.execute(f"SELECT {', '.join(columns)}, seal FROM {table}"):
            if seal != row_seal(table, cells):
                raise InputError(f"row {cells[0]} of {table} was changed")
            if not all(cell.isprintable() for cell in cells if isinstance(cell, str)):
                raise InputError(f"row {cells[0]} of {table} holds what cannot be printed")
    if connection.execute("SELECT total FROM seal").fetchall() != [(_total(connection),)]:
        raise InputError("rows are missing or were added")


def _total(connection: sqlite3.Connection) -> bytes:
    digest = hashlib.sha256()
    for table in COLUMNS:
        seals = [seal for (seal,) in connection.execute(f"SELECT seal FROM {table} ORDER BY id")]
        digest.update(f"{table} {len(seals)};".encode() + b"".join(seals))
    return digest.digest()
