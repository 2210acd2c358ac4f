"""A lake with one of everything: folders, a video, a tar file, Parquet files, and files that cannot be read."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ignota.synthetic.streets import SyntheticStreets

STREETS = SyntheticStreets("anomaly", 12, (48, 96), 3)


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(STREETS[number].image).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_clip(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"FFV1"), 10, (96, 48))
    for number in range(frames):
        writer.write(np.ascontiguousarray(STREETS[number % 12].image[:, :, ::-1]))
    writer.release()


@pytest.fixture
def make() -> SimpleNamespace:
    """What files of a lake are made of."""
    return SimpleNamespace(streets=STREETS, png=png, tar=write_tar, clip=write_clip)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    root = tmp_path / "lake"
    (root / "a" / "deep").mkdir(parents=True)
    for number, name in enumerate(("p1", "p2", "p10")):
        (root / "a" / f"{name}.png").write_bytes(png(number))
    (root / "a" / "deep" / "p1.png").write_bytes(png(3))
    (root / "a" / "bad.png").write_bytes(b"no picture")
    (root / ".hidden.png").write_bytes(png(0))
    (root / "notes.txt").write_text("nothing to see")
    write_clip(root / "clip.mkv", 5)
    write_tar(root / "shard.tar", {"1.json": b"{}", "1.png": png(4), "2.png": b"broken", "3.png": png(5)})
    pq.write_table(pa.table({"image": [png(6), png(7)], "id": [1, 2]}), root / "t.parquet")
    pq.write_table(pa.table({"area": [1, 2]}), root / "regions.parquet")
    return root
