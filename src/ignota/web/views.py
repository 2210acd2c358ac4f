"""What the server reports of scenes, classes and exemplars: plain values, ready for JSON."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ignota.exemplars.store import COUNTER_EXAMPLE
from ignota.formats.rle import encode_rle
from ignota.perception.scene import Scene, UnknownRegion
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.web.session import OpenImage, Session
from ignota.world.model import OpenWorldModel, Snapshot
from ignota.world.previewing import Preview

_SMOOTH = [
    cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY,
    cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP,
]  # fmt: skip
"""Runs that repeat are rare in a smooth map: looking for them takes three times as long and saves a twentieth."""


def seen(session: Session, image: OpenImage, scene: Scene, maps: bool, embeddings: bool) -> dict[str, Any]:
    """The answer to `segment`."""
    height, width = image.tables.size
    labels = scene.labels_with_unknown()
    share = cv2.calcHist([labels], [0], None, [256], [0, 256]).astype(np.float64).ravel() / labels.size
    return {
        "image": image.key,
        "name": image.name,
        "width": width,
        "height": height,
        "grid": list(image.tables.closed.shape),
        "state": session.world.snapshot.state,
        "unknown_share": float(share[UNKNOWN_INDEX]),
        "shares": {c.name: float(share[c.id]) for c in scene.taxonomy.classes if share[c.id]},
        "patch": session.patch(image),
        "regions": [region(found, embeddings) for found in scene.unknown],
        "maps": _maps(scene, labels) if maps else None,
    }


def region(found: UnknownRegion, embedding: bool = False) -> dict[str, Any]:
    """One region with its mask."""
    return {
        "box": list(found.box),
        "area": found.area,
        "score": found.score,
        "nearest": found.nearest,
        "rle": encode_rle(found.mask),
        "embedding": [float(v) for v in found.embedding] if embedding else None,
    }


def calibration(snapshot: Snapshot) -> str:
    """What the world is calibrated on, empty for a world as it was fitted."""
    return "" if snapshot.known.calibration is None else str(snapshot.known.calibration)


def classes(world: OpenWorldModel, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Known classes, then taught ones with a picture of their newest example, which shows what they are."""
    taught = {label.name: label.exemplars for label in snapshot.taught}
    cards = world.store.cards()
    pictures = {card.name: picture(card.thumbnail) for card in cards if card.given != COUNTER_EXAMPLE}
    return [
        {
            "id": label.id,
            "name": label.name,
            "colour": f"#{bytes(label.colour).hex()}",
            "taught": label.name in taught,
            "examples": taught.get(label.name, 0),
            "thumbnail": pictures.get(label.name),
        }
        for label in snapshot.classes.classes
    ]


def exemplars(world: OpenWorldModel, name: str | None) -> list[dict[str, Any]]:
    """What taught classes were taught from."""
    return [dataclasses.asdict(card) | {"thumbnail": picture(card.thumbnail)} for card in world.store.cards(name)]


def lesson(found: Preview) -> dict[str, Any]:
    """What a class covers and takes, with what speaks against it, by the names that are sent."""
    return {
        "name": found.name,
        "examples": found.examples,
        "pixels": found.pixels,
        "recognised": found.coverage,
        "outside": found.outside,
        "iou": found.iou,
        "stolen": found.conflicts,
        "stolen_held": found.conflicts_held,
        "doubts": list(found.doubts),
    }


def picture(jpeg: bytes | None) -> str | None:
    """A JPEG as a data URI."""
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _maps(scene: Scene, labels: np.ndarray) -> dict[str, str]:
    pngs = {"labels": labels_png(scene, labels), "anomaly": anomaly_png(scene)}
    return {name: base64.b64encode(png).decode() for name, png in pngs.items()}


def labels_png(scene: Scene, labels: np.ndarray) -> bytes:
    """Labels as an indexed PNG in the colours of their classes."""
    stream = io.BytesIO()
    indexed = Image.fromarray(labels)
    indexed.putpalette(scene.taxonomy.palette().tobytes())
    indexed.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def anomaly_png(scene: Scene) -> bytes:
    """The anomaly as a 16-bit PNG."""
    return bytes(cv2.imencode(".png", scene.levels, _SMOOTH)[1])
