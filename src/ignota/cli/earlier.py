"""`serve --images`: the images of a folder, and what earlier calls of `segment` and `discover` found in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ignota.cli.gathering import check_extra, discovered
from ignota.cli.inputs import PARTS
from ignota.cli.results import image_fingerprint, read_result
from ignota.cli.terminal import note
from ignota.data.files import as_name, as_text, one_line
from ignota.data.listing import pictures
from ignota.discovery.document import FILE
from ignota.discovery.region_table import RegionTable
from ignota.formats.rle import rle_area
from ignota.lake.sources import LakeFile, Source, sources
from ignota.lake.spans import frame_id
from ignota.storage.seals import perception_fingerprint, world_fingerprint
from ignota.structures import InputError
from ignota.taxonomy import UNKNOWN_INDEX
from ignota.web.app import Shown
from ignota.web.folder import EARLIER, Figures, Folder, is_inside
from ignota.web.grouped import Groups
from ignota.world.model import OpenWorldModel

_COLUMNS = ["id", "width", "height", "unknown_share", "labels", "error"]
_ROWS_AT_ONCE = 256


def shown_folder(world: OpenWorldModel, images: str, results: Sequence[str]) -> Shown:
    """The images directly in a folder with all that is known of them; raises InputError.

    results: folders that `segment` or `discover` wrote; the folder itself is looked into as well. What another world
    or an older image gave is left aside, and so are groups beside the images that cannot be read.
    """
    root = Path(images)
    if not root.is_dir():
        raise InputError(f"{one_line(images)} is no folder: name one that holds images")
    root, places = root.resolve(), list(dict.fromkeys(Path(word).resolve() for word in (*results, images)))
    for place in places:
        if not place.is_dir():
            raise InputError(f"{one_line(place)} is no folder: name what `segment` or `discover` wrote by --results")
    names = [path.name for path in pictures(root) if path.is_file() and is_inside(path, root)]
    names = [name for name in names if not _is_result(root, name)]
    figures: dict[str, Figures] = {}
    groups: Groups | None = None
    for place in places:
        figures = dict(_of_lake(world, root, place)) | dict(_of_segment(world, root, names, place)) | figures
        if groups is None and (place / FILE).exists():
            groups = _groups(world, place, asked=place in {Path(word).resolve() for word in results})
    by_name = {} if groups is None else _regions_by_image(groups.found, root)
    figures = {name: _of_regions(groups, rows) for name, rows in by_name.items() if groups is not None} | figures
    return Shown(Folder(root, names, figures, _keys_by_image(groups, by_name)), groups)


def _groups(world: OpenWorldModel, place: Path, asked: bool) -> Groups | None:
    """What `discover` wrote to a folder; raises InputError where it cannot be read and the folder was `asked` for."""
    try:
        check_extra()
        return Groups(*discovered(world, place))
    except InputError as error:
        if asked:
            raise
        note(f"the groups beside the images are left aside: {error}")
        return None


def _is_result(root: Path, name: str) -> bool:
    """Whether a picture is one that `segment` wrote into the folder of its images."""
    end = next((end for end in PARTS if name.endswith(end)), None)
    return end is not None and (root / f"{name.removesuffix(end)}.json").is_file()


def _of_segment(world: OpenWorldModel, root: Path, names: Sequence[str], place: Path) -> Iterator[tuple[str, Figures]]:
    perception, whole = perception_fingerprint(world), world_fingerprint(world)
    for name in names:
        result = read_result(place / f"{Path(name).stem}.json")
        if result is None or result["made_by"].get("perception") != perception:
            continue
        made_by = result["made_by"]
        if made_by.get("image") != image_fingerprint(root / name):
            continue
        state = world.snapshot.state if made_by.get("world") == whole else EARLIER
        try:
            shares = {_text(each["name"]): _share(each["share"]) for each in result["classes"]}
            yield name, Figures(_share(result["unknown_share"]), {k: v for k, v in shares.items() if v}, state)
        except (LookupError, TypeError, ValueError, ArithmeticError):
            continue  # a result that somebody changed, or the regions of `discover`


def _of_lake(world: OpenWorldModel, root: Path, place: Path) -> Iterator[tuple[str, Figures]]:
    """Of the Parquet files that `segment --engine` wrote with this world as it is."""
    if find_spec("pyarrow") is None or not any(place.glob("source=*/part-*.parquet")):
        return
    state = world_fingerprint(world)
    try:
        there = sources([str(root)], str(place))
    except InputError:  # nothing to read there, as where the parts lie in the folder of the images itself
        return
    for source in there:
        if source.kind == "image" and Path(as_name(source.uri)) == root:
            yield from _of_parts(world, state, source, place)


def _of_parts(world: OpenWorldModel, state: str, source: Source, place: Path) -> Iterator[tuple[str, Figures]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = {frame_id(state, file, None): file for file in source.files}
    names = {label.id: label.name for label in world.classes.classes}
    for part in sorted((place / f"source={source.name}").glob("part-*.parquet")):
        try:
            if not part.is_file():  # a pipe would block
                continue
            with pq.ParquetFile(part) as table:
                for batch in table.iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
                    for row in batch.to_pylist():
                        if row["error"] is None and row["id"] in ids:
                            yield _name(ids[row["id"]]), _of_row(row, names, world.snapshot.state)
        except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, ArithmeticError):
            continue  # it is no part file


def _of_row(row: dict[str, Any], names: dict[int, str], state: int) -> Figures:
    whole = row["width"] * row["height"]
    areas = {each["id"]: rle_area(each["rle"]["counts"]) for each in row["labels"] if each["id"] != UNKNOWN_INDEX}
    return Figures(_share(row["unknown_share"]), {names[k]: _share(v / whole) for k, v in areas.items()}, state)


def _name(file: LakeFile) -> str:
    return Path(as_name(file.uri)).name


def _regions_by_image(found: RegionTable, root: Path) -> dict[str, list[int]]:
    """The rows of each image of the folder, by its name."""
    names: dict[str, str | None] = {}
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(found.images):
        if image not in names:
            path = found.path(row).absolute()
            names[image] = path.name if is_inside(path, root) else None
        name = names[image]
        if name is not None and found.frames[row] < 0:
            rows.setdefault(name, []).append(row)
    return rows


def _of_regions(groups: Groups, rows: Sequence[int]) -> Figures:
    return Figures(min(1.0, float(groups.found.shares[list(rows)].sum())), {})


def _keys_by_image(groups: Groups | None, by_name: dict[str, list[int]]) -> dict[str, list[str]]:
    if groups is None:
        return {}
    of_row = {row: group.key for group in groups.made.groups for row in group.rows}
    keys = {name: [of_row[row] for row in rows if row in of_row] for name, rows in by_name.items()}
    return {name: list(dict.fromkeys(found)) for name, found in keys.items()}


def _share(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise ValueError("a share lies in 0..1")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is a text")
    return as_text(value)[:200]
