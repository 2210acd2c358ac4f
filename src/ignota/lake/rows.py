"""One row per frame: what a world finds in it, or why it could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from ignota.data.files import one_line
from ignota.formats.rle import encode_labels
from ignota.lake.frames import Frame, read_span
from ignota.lake.spans import Span
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.world.model import OpenWorldModel
from ignota.world.region_rows import region_rows

if TYPE_CHECKING:
    import pyarrow as pa

_NOTHING: dict[str, Any] = dict.fromkeys(
    ("width", "height", "error", "unknown_share", "anomaly_mean", "anomaly_max", "labels", "regions")
)


def frame_row(world: OpenWorldModel, state: str, frame: Frame) -> dict[str, Any]:
    """The row of a frame; whatever goes wrong with it becomes its `error`. state: the fingerprint of the world.

    labels: COCO RLE of each world id, 254 unknown, that is there. regions: as `region_rows` gives them. unknown_share,
    anomaly_mean, anomaly_max: in 0..1.
    """
    row = empty_row(state, frame)
    if frame.pixels is None:
        return row
    height, width = frame.pixels.shape[:2]
    try:
        return row | {"height": height, "width": width} | _seen(world, frame.pixels)
    except Exception as error:  # one frame that no code was ready for must not end a run over a million
        return row | {"height": height, "width": width, "error": f"{type(error).__name__}: {one_line(error)}"}


def empty_row(state: str, frame: Frame) -> dict[str, Any]:
    """The row of a frame that nothing was seen in."""
    return _NOTHING | {
        "source": frame.source, "id": frame.id, "image": frame.image, "frame": frame.frame, "member": frame.member,
        "frames": frame.frames, "world": state, "error": frame.error,
    }  # fmt: skip


def _seen(world: OpenWorldModel, pixels: np.ndarray) -> dict[str, Any]:
    scene = world.segment(pixels)
    labels = scene.labels_with_unknown()
    return {
        "unknown_share": float((labels == UNKNOWN_INDEX).mean()),
        "anomaly_mean": float(scene.anomaly.mean(dtype=np.float64)),
        "anomaly_max": float(scene.anomaly.max()),
        "labels": [{"id": value, "rle": rle} for value, rle in encode_labels(labels).items()],
        "regions": region_rows(scene),
    }


def schema() -> pa.Schema:
    """The columns of a part file, and `source`, which names the folder that the part lies in."""
    import pyarrow as pa

    rle = pa.struct({"size": pa.list_(pa.int32(), 2), "counts": pa.string()})
    region = pa.struct(
        {
            "box": pa.list_(pa.int32(), 4),
            "rle": rle,
            "area": pa.int64(),
            "score": pa.float64(),
            "nearest": pa.string(),
            "embedding": pa.list_(pa.float32()),
        }
    )
    return pa.schema(
        {
            "source": pa.string(),
            "id": pa.string(),
            "image": pa.string(),
            "frame": pa.int64(),
            "member": pa.string(),
            "frames": pa.int64(),
            "width": pa.int32(),
            "height": pa.int32(),
            "error": pa.string(),
            "unknown_share": pa.float64(),
            "anomaly_mean": pa.float64(),
            "anomaly_max": pa.float64(),
            "labels": pa.list_(pa.struct({"id": pa.uint8(), "rle": rle})),
            "regions": pa.list_(region),
            "world": pa.string(),
        }
    )


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as columns."""
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=schema())


def take_threads(count: int) -> None:
    """Lets torch and OpenCV use so many threads, so that a row does not depend on the machine's cores."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def tables_here(world: OpenWorldModel, state: str, work: Iterable[Span]) -> Iterator[pa.Table]:
    """One table a frame; state: the fingerprint of the world. Whoever opened it has called `take_threads`."""
    for span in work:
        for frame in read_span(span):
            yield as_table([frame_row(world, state, frame)])
