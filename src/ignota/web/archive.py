"""The ZIP of an export: written image by image to an unnamed file, and sent in parts."""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator

from ignota.structures import InputError
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.web import views
from ignota.web.session import Session

_MOST = 1 << 30
"""Bytes of one archive."""
_PART = 1 << 18


class Archive:
    """classes.json, and NAME_labels.png (indexed, 254 unknown), NAME_anomaly.png (16 bit), NAME.json of each image.

    threshold: beyond which pixels are unknown. `begin` and `add` run in the thread of the session.
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (it is closed when all of it is sent)
        self._used: set[str] = set()

    def begin(self, session: Session, keys: Iterable[str]) -> None:
        """Raises Missing for an image that is not open."""
        for key in keys:
            session.image(key)
        entries = views.classes(session.world, session.world.snapshot)
        listed = [{k: v for k, v in entry.items() if k != "thumbnail"} for entry in entries]
        self._write({"classes.json": json.dumps(listed, indent=2, ensure_ascii=False)})

    def add(self, session: Session, key: str) -> None:
        """Adds an image; raises InputError where the archive grows too large."""
        image = session.image(key)
        scene = session.world.scene(image.bare, image.tables)
        name = _file_name(image.name or key, self._used)
        labels = scene.labels_with_unknown(self.threshold)
        told = {
            "image": image.name, "width": labels.shape[1], "height": labels.shape[0], "threshold": self.threshold,
            "labels": {c.name: c.id for c in scene.taxonomy.classes} | {"unknown": UNKNOWN_INDEX},
            "regions": [views.region(found) for found in scene.unknown_at(self.threshold)],
        }  # fmt: skip
        self._write(
            {
                f"{name}_labels.png": views.labels_png(scene, labels),
                f"{name}_anomaly.png": views.anomaly_png(scene),
                f"{name}.json": json.dumps(told, indent=2, ensure_ascii=False),
            }
        )
        if self._file.tell() > _MOST:
            raise InputError(f"these images take more than {_MOST >> 20} MiB: export fewer of them at once")

    def parts(self) -> Iterator[bytes]:
        """The whole archive, part by part; it is dropped after the last one."""
        with self._file:
            self._file.seek(0)
            while part := self._file.read(_PART):
                yield part

    def close(self) -> None:
        """Drops it."""
        self._file.close()

    def _write(self, entries: dict[str, str | bytes]) -> None:
        with zipfile.ZipFile(self._file, "a", zipfile.ZIP_STORED) as archive:
            for name, data in entries.items():
                archive.writestr(name, data)


def _file_name(name: str, used: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name.rpartition(".")[0] or name).strip("_")[:80] or "image"
    found, number = stem, 1
    while found in used:
        number += 1
        found = f"{stem}-{number}"
    used.add(found)
    return found
