"""The images, videos and masks that a command line names, and the names of their results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from tqdm import tqdm

from ignota.cli.terminal import skip
from ignota.data.files import natural_key, one_line
from ignota.data.images import read_image, read_label
from ignota.data.listing import pictures
from ignota.data.video import frame_count, is_video, read_frames
from ignota.structures import InputError

PARTS = ("_labels.png", "_anomaly.png", "_overlay.jpg", ".json")
"""The endings of what `segment` writes for each image."""

_FRAME_DIGITS = 6
_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class Picture:
    """One image to be segmented, or a frame of a video.

    name: what its results are called. frame: its number in the video, None for an image file. image: None where it was
    not wanted or could not be read; fault: why not.
    """

    name: str
    path: Path
    frame: int | None
    image: UInt8[np.ndarray, "H W 3"] | None = None
    fault: InputError | None = None


def image_files(words: Sequence[str], out: Path | None = None) -> list[Path]:
    """Files as named, pictures and videos in folders, what patterns match; each once. Raises InputError for none."""
    found: dict[Path, None] = {}
    for word in words:
        found |= dict.fromkeys(_files(word, out))
    return list(found)


def targets(files: Iterable[Path], out: Path) -> dict[str, Path]:
    """NAME -> file; raises InputError where two results would take one name, or one would overwrite an image."""
    named: dict[str, Path] = {}
    for path in files:
        if path.stem in named:
            raise _one_name(named[path.stem], path, path.stem)
        named[path.stem] = path
    for name, path in named.items():
        base = re.sub(rf"_\d{{{_FRAME_DIGITS},}}$", "", name)
        if base != name and base in named and is_video(named[base]):
            raise _one_name(named[base], path, name)
    if out.exists() and not out.is_dir():
        raise InputError(f"{one_line(out)} is no folder: name another --out")
    results = {(out / f"{name}{part}").absolute() for name in named for part in PARTS}
    for path in named.values():
        if path.absolute() in results:
            raise InputError(f"{one_line(path)} would be overwritten by a result: name another --out")
    return named


def picture_count(files: Iterable[Path], every: int) -> int:
    """How many pictures `read_pictures` will give, roughly where there are videos."""
    return sum(_frames(path, every) if is_video(path) else 1 for path in files)


def read_pictures(
    named: Mapping[str, Path], every: int, wanted: Callable[[str, Path, int | None], bool]
) -> Iterator[Picture]:
    """Images and every `every`-th frame of videos in their order, one in memory at a time.

    wanted: called with name, file and frame before anything is decoded. What cannot be read comes with its fault.
    """
    for name, path in named.items():
        try:
            if is_video(path):
                for frame in read_frames(path, every, lambda i: wanted(_frame_name(name, i), path, i)):  # noqa: B023
                    yield Picture(_frame_name(name, frame.index), path, frame.index, frame.image)
            elif wanted(name, path, None):
                yield Picture(name, path, None, read_image(path))
            else:
                yield Picture(name, path, None)
        except InputError as error:
            yield Picture(name, path, None, fault=error)


def _frame_name(name: str, index: int) -> str:
    return f"{name}_{index:0{_FRAME_DIGITS}d}"


def _frames(path: Path, every: int) -> int:
    try:
        return frame_count(path, every)
    except InputError:
        return 1  # its fault is reported when its turn comes


def _one_name(first: Path, second: Path, name: str) -> InputError:
    both = f"{one_line(first)} and {one_line(second)}"
    return InputError(f"{both} would both be written as {name}: rename one, or run them apart")


def _files(word: str, out: Path | None) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        inside = _in_folder(path)
        if out is not None and path.absolute() == out.absolute():
            inside = [file for file in inside if not file.name.endswith(PARTS)]  # what an earlier run wrote
        if not inside:
            raise InputError(
                f"no image in the folder {one_line(word)}: name one that holds PNG, JPEG or WebP files, or videos"
            )
        return inside
    if not path.exists() and any(letter in word for letter in "*?["):
        base = Path(path.anchor)  # a pattern may start at the root, which Path.glob wants apart
        matched = sorted(base.glob(str(path.relative_to(base))), key=lambda file: natural_key(str(file)))
        if not matched:
            raise InputError(f"no file matches {one_line(word)}: check the pattern")
        return [file for file in matched if file.is_file()]
    return [path]


def _in_folder(folder: Path) -> list[Path]:
    videos = [path for path in folder.iterdir() if is_video(path) and path.is_file() and path.name[0] != "."]
    return sorted([*pictures(folder), *videos], key=lambda path: natural_key(path.name))


def still_to_do(
    pictures: Iterable[Picture], names: list[str], faults: list[InputError], bar: tqdm
) -> Iterator[Picture]:
    """Pictures with an image to work on, each counted on `bar` once that is done; of the others the bar moves on.

    names: gets those of all pictures that could be read or were finished before. faults: gets what could not be read.
    """
    for picture in pictures:
        if picture.fault is not None:
            faults.append(picture.fault)
            bar.update()
            continue
        names.append(picture.name)
        if picture.image is None:
            skip(bar)
            continue
        yield picture
        bar.update()


def read_example(image_path: Path, mask_path: Path) -> tuple[UInt8[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """An image and its mask; raises InputError for pictures that cannot be read, sizes that differ, empty masks."""
    image, mask = read_image(image_path), read_mask(mask_path)
    if mask.shape != image.shape[:2]:
        sizes = f"{mask.shape[1]}×{mask.shape[0]}, its image {one_line(image_path)} {image.shape[1]}×{image.shape[0]}"
        raise InputError(f"the mask {one_line(mask_path)} is {sizes}: draw it on the same image")
    if not mask.any():
        raise InputError(f"the mask {one_line(mask_path)} is empty: paint the thing in any value but zero")
    return image, mask


def read_mask(path: Path) -> Bool[np.ndarray, "H W"]:
    """Where a picture is not zero: stored values of indexed and grey ones, any channel of colour ones.

    JPEG is refused, as its noise is not zero either.
    """
    try:
        return np.asarray(read_label(path) != 0)
    except InputError:
        if not path.is_file() or path.read_bytes()[:2] == _JPEG:
            raise
    return np.asarray(read_image(path).any(axis=2))
