"""Unknown regions of images, or of a table written by `segment`, for the commands that sort them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.inputs import Picture, image_files, picture_count, read_pictures, still_to_do, targets
from ignota.cli.results import TABLE, made_by, makers, read_result, write_table
from ignota.cli.terminal import progress
from ignota.data.drafts import sweep
from ignota.data.files import as_text, one_line, write_atomically
from ignota.discovery.cut_regions import cut_region_rows
from ignota.discovery.region_table import RegionTable, read_table
from ignota.storage.seals import perception_fingerprint
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

FOLDER = "regions"
"""Where the regions of images that were read are kept, below --out."""
_FORM = "pieces 3"  # a stored name
"""Raised whenever other regions come to be found in the same image."""


def check_extra() -> None:
    """Raises InputError where the extra `discover` is not installed."""
    missing = [
        name for name, module in (("scikit-learn", "sklearn"), ("pyarrow", "pyarrow")) if find_spec(module) is None
    ]
    if missing:
        raise InputError(f"this command needs {' and '.join(missing)}: `pip install 'ignota[discover]'` brings them")


def table_of(path: Path, world: OpenWorldModel) -> RegionTable:
    """A regions.parquet that this world wrote, before or after it was taught; raises InputError for another."""
    return read_table(path, int(world.known.space.known.shape[1]), perception_fingerprint(world))


def gathered(
    words: Sequence[str], world: OpenWorldModel, out: Path, args: Namespace
) -> tuple[RegionTable, Path, tuple[InputError, ...]]:
    """The unknown regions of a table or of images, where their table lies, and the images that could not be read.

    Regions of images are kept below `out`, so that a call that was stopped goes on where it was.
    """
    tables = [word for word in words if word.lower().endswith(".parquet")]
    if tables:
        if len(words) > 1:
            raise InputError(f"{one_line(tables[0])} is a table: name it alone, or images alone")
        return table_of(Path(tables[0]), world), Path(tables[0]), ()
    folder = out / FOLDER
    named = targets(image_files(words, folder), folder)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    names, faults = _read(named, world, folder, args)
    if not names:
        raise faults[-1]
    write_table(folder, names, others=False)
    return table_of(folder / TABLE, world), folder / TABLE, tuple(faults)


def _read(
    named: dict[str, Path], world: OpenWorldModel, folder: Path, args: Namespace
) -> tuple[list[str], list[InputError]]:
    world_made = makers(world, _FORM)
    names: list[str] = []
    faults: list[InputError] = []

    def wanted(name: str, path: Path, _: int | None) -> bool:
        result = read_result(folder / f"{name}.json")
        return result is None or result.get("made_by") != made_by(world_made, path)

    total = picture_count(named.values(), args.every)
    with progress(total, "regions", "image", args.quiet) as bar:
        for picture in still_to_do(read_pictures(named, args.every, wanted), names, faults, bar):
            _write(folder / f"{picture.name}.json", picture, world, made_by(world_made, picture.path))
    return names, faults


def _write(path: Path, picture: Picture, world: OpenWorldModel, made_by: dict[str, str]) -> None:
    assert picture.image is not None
    scene = world.segment(picture.image)
    height, width = picture.image.shape[:2]
    document = {
        "image": as_text(str(picture.path.absolute())),
        "frame": picture.frame,
        "width": width,
        "height": height,
        "regions": cut_region_rows(scene),
        "made_by": made_by,
    }
    write_atomically(path, json.dumps(document, ensure_ascii=False).encode())
