"""Anomaly maps as files, one per image: raw .npy, or HDF5 as in SegmentMeIfYouCan's benchmark.

Chan et al., "SegmentMeIfYouCan: A Benchmark for Anomaly Segmentation", NeurIPS Datasets and Benchmarks 2021.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import cv2
import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ignota.data.datasets import LabelledImages
from ignota.data.files import one_line, write_atomically
from ignota.data.images import MAX_PIXELS
from ignota.formats import smiyc
from ignota.formats.documents import wrong
from ignota.structures import InputError

SUFFIX = ".npy"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class MapFolder:
    """The maps of one method: KEY.npy or KEY.hdf5 in a folder, KEY being an image's key or its file's stem."""

    name: str
    folder: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """ "NAME=DIR"; raises InputError for another form, a name that is none and a folder that is not there."""
        name, equals, folder = text.partition("=")
        if not equals or not folder or not NAME.fullmatch(name):
            raise InputError.of_argument(
                "maps", f"is NAME=DIR, with a name of letters, digits, _ . and -, not {one_line(text)!r}"
            )
        if not Path(folder).is_dir():
            raise wrong(Path(folder), "no such folder", "name the one that holds the maps")
        return cls(name, Path(folder))

    def check(self, images: LabelledImages) -> None:
        """Raises InputError unless each image has a map, before any is read."""
        missing = [key for key, files in self._candidates(images) if not any(file.is_file() for file in files)]
        if missing:
            counts = f"{len(missing)} of {len(images)} images of {images.name} have no map in {one_line(self.folder)}"
            raise InputError(
                f"{counts}, first {one_line(missing[0])}{SUFFIX} or {smiyc.SUFFIX}; one an image is needed"
            )

    def mark(self, images: LabelledImages) -> str:
        """Of the files, by their names and sizes: the same wherever the folder lies."""
        files = [next(file for file in files if file.is_file()) for _, files in self._candidates(images)]
        sizes = [[file.name, file.stat().st_size] for file in files]
        return hashlib.sha256(json.dumps(sizes).encode()).hexdigest()[:16]

    def read(self, key: str, path: Path | None, size: tuple[int, ...]) -> NDArray[np.float32]:
        """The map of an image at the size (H, W) of its label.

        A smaller one of the same proportions is resized bilinearly, as the benchmark does. Raises InputError for a
        missing or damaged file, another size, and NaN.
        """
        files = self._files(key, path)
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise wrong(files[0], "no such file", "one map an image is needed")
        return at_label(found, read_map(found), size)

    def _candidates(self, images: LabelledImages) -> list[tuple[str, list[Path]]]:
        paths: Sequence[Path | None] = images.image_paths or [None] * len(images)
        return [(key, self._files(key, path)) for key, path in zip(images.keys, paths, strict=True)]

    def _files(self, key: str, path: Path | None) -> list[Path]:
        stems = dict.fromkeys([key, PurePosixPath(key).name, *([] if path is None else [path.stem])])
        return [self.folder / f"{stem}{suffix}" for stem in stems for suffix in (SUFFIX, smiyc.SUFFIX)]


def read_map(path: Path) -> Float[np.ndarray, "h w"]:
    """One stored map as float32; raises InputError for what is none."""
    if path.suffix == smiyc.SUFFIX:
        return np.asarray(smiyc.read_anomaly(path), np.float32)
    try:
        stored = np.lib.format.open_memmap(path, mode="r")  # nothing is read before its shape is known
        if stored.dtype.kind not in "fiub" or stored.ndim != 2:
            raise wrong(path, f"its values are {stored.shape} {stored.dtype}", "one number for each pixel is expected")
        if not 0 < stored.size <= MAX_PIXELS:
            raise wrong(path, f"it has {stored.size} pixels", f"1 to {MAX_PIXELS} are expected")
        return np.array(stored, np.float32)
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise wrong(path, f"it is no .npy file that can be read ({one_line(error)[:120]})", "write it again") from None


def at_label(path: Path, score: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """A map at the size of its label; path: for errors."""
    if np.isnan(score).any():
        raise wrong(path, f"{int(np.isnan(score).sum())} of its values are NaN", "every pixel needs a number")
    if score.shape == size:
        return score
    (h, w), (height, width) = score.shape, size
    if w >= width or abs(h * width - w * height) > max(size):
        raise wrong(path, f"it is {w}×{h}, its label {width}×{height}", "write maps on the grid of the images")
    return np.asarray(cv2.resize(score, (width, height), interpolation=cv2.INTER_LINEAR))


def write_map(path: Path, score: Float[np.ndarray, "H W"]) -> None:
    """Writes a map as float32 .npy, atomically; folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(score, np.float32), allow_pickle=False)
    write_atomically(path, buffer.getbuffer())
