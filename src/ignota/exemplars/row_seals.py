"""A checksum for each row of a store and one for all, which detect changed, lost and added rows.

A write leaves the seal of its row empty; the end of its transaction fills in what is empty.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

from ignota.structures import InputError

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
