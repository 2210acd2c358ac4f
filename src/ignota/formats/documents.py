"""JSON from outside: size, types and file names are checked before use."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ignota.data.files import natural_key, one_line
from ignota.data.listing import IMAGE_SUFFIXES
from ignota.formats.labels import MAP_FILE, LabelMap
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX, MAX_CLASSES, ClassLabel, made_up_colour

T = TypeVar("T")

LARGEST_JSON = 1_000_000_000
_LARGEST_NUMBER = 10**9
_WORDS = {dict: "an object {…}", list: "a list […]", str: "text", int: "a whole number"}


def wrong(path: Path, what: str, remedy: str) -> InputError:
    """One line: where, what, how to fix it."""
    return InputError(f"{one_line(path)}: {one_line(what)[:300]}; {remedy}")


def load_json(path: Path, kind: type[T]) -> T:
    """The content of a JSON file whose outermost value is of `kind`; raises InputError."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise wrong(path, "it is larger than 1 GB", "split it")
        if not path.is_file():
            raise wrong(path, "it is no plain file", "name a JSON file")
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise wrong(path, "no such file", "check the path") from error
    except OSError as error:
        raise wrong(path, str(error.strerror), "check path and permissions") from error
    except (ValueError, RecursionError) as error:
        raise wrong(path, f"it is no JSON ({error})", "write it again") from error
    return typed(path, content, kind, "the file")


def typed(path: Path, value: Any, kind: type[T], where: str) -> T:
    """`value` itself if it is of `kind` (true and false are no numbers); raises InputError."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise wrong(path, f"{where} is {one_line(repr(value))[:60]}, not {_WORDS.get(kind, kind.__name__)}", "fix it")
    return value


def entry(path: Path, holder: dict[str, Any], key: str, kind: type[T], where: str) -> T:
    """`holder[key]` of `kind`; raises InputError where it is missing or something else."""
    if key not in holder:
        raise wrong(path, f"{where} has no {key!r}", "add it")
    return typed(path, holder[key], kind, f"{key!r} of {where}")


def entries(path: Path, holder: dict[str, Any], key: str, where: str = "the file") -> list[dict[str, Any]]:
    """A list of objects below `key`; raises InputError."""
    return [typed(path, value, dict, f"an entry of {key!r}") for value in entry(path, holder, key, list, where)]


def size_of(
    path: Path, holder: dict[str, Any], where: str, keys: tuple[str, str] = ("height", "width")
) -> tuple[int, int]:
    """(H, W) from two whole numbers; whether they are an image's is for `blank` to judge."""
    height, width = (entry(path, holder, key, int, where) for key in keys)
    return height, width


def points_of(path: Path, value: Any, where: str) -> list[tuple[float, float]]:
    """Finite [[x, y], …] as pairs; raises InputError."""
    points = typed(path, value, list, where)
    for point in points:
        if not isinstance(point, list | tuple) or len(point) != 2 or not all(map(is_number, point)):
            raise wrong(path, f"{where} has the point {one_line(repr(point))[:60]}", "a point is [x, y] in pixels")
    return [(float(x), float(y)) for x, y in points]


def is_number(value: Any) -> bool:
    """A finite number that may be a coordinate."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= _LARGEST_NUMBER


def picture_path(path: Path, name: Any, folders: Sequence[Path]) -> tuple[str, Path | None]:
    """Key and file of an image that a format names, sought in `folders`.

    Raises InputError for names that lead out of them, upwards, from the root, or by a link.
    """
    text = typed(path, name, str, "a file name").replace("\\", "/")
    parts = PurePosixPath(text).parts
    if not parts or "\0" in text or text.startswith("/") or ".." in parts or ":" in parts[0] or len(text) > 1000:
        raise wrong(path, f"the file name {one_line(name)[:80]!r} leads out of its folder", "name files inside it")
    key = "_".join((*parts[:-1], PurePosixPath(text).stem))
    for folder in folders:
        for candidate in _candidates(folder, parts):
            if not candidate.resolve().is_relative_to(folder.resolve()):
                raise wrong(path, f"the image {one_line(name)[:80]!r} is a link out of its folder", "copy it there")
            return key, candidate
    return key, None


def _candidates(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """Files that a name may mean: below its own folders or not, with its own suffix or another picture's."""
    for base in (folder.joinpath(*parts), folder / parts[-1]):
        for path in (base, *(base.with_suffix(suffix) for suffix in IMAGE_SUFFIXES)):
            try:
                if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
                    yield path
            except OSError:  # a name that this file system cannot bear
                return


def label_map(path: Path, names: Iterable[str], values: dict[str, int] | None = None) -> LabelMap:
    """Classes in the order of their names, numbered from 0, or with the `values` that the format gives them.

    Raises InputError for names that are none and for too many of them.
    """
    listed = list(dict.fromkeys(names))
    if len(listed) > MAX_CLASSES:
        raise wrong(path, f"it has {len(listed)} classes", f"the most is {MAX_CLASSES}")
    numbers = values if values and _fit(values) else {name: i for i, name in enumerate(listed)}
    labels = [ClassLabel(numbers[name], name, made_up_colour(i)) for i, name in enumerate(listed)]
    try:
        return LabelMap(tuple(sorted(labels, key=lambda label: label.id)))
    except ValueError as error:
        raise wrong(path, str(error), "correct its classes") from error


def value_of(path: Path, labels: LabelMap, name: str) -> int:
    """The stored value of a class; raises InputError for names that the label map lacks."""
    value = labels.value_of(name)
    if value is None:
        raise wrong(path, f"the class {name[:60]!r} is not in the label map", f"add it to {MAP_FILE} or --classes")
    return value


def read_map(path: Path) -> LabelMap:
    """A label_map.json; raises InputError that names the entry which is wrong."""
    content = load_json(path, dict)
    classes = []
    for found in entries(path, content, "classes"):
        colour = entry(path, found, "colour", list, "a class")
        if len(colour) != 3 or any(type(value) is not int or not 0 <= value <= 255 for value in colour):
            raise wrong(path, f"the colour {one_line(repr(colour))[:60]}", "write [r, g, b] in 0..255")
        red, green, blue = colour
        number, name = entry(path, found, "id", int, "a class"), entry(path, found, "name", str, "a class")
        classes.append(ClassLabel(number, name, (red, green, blue)))
    ignore = [
        typed(path, value, int, "a value of 'ignore'") for value in entry(path, content, "ignore", list, "the file")
    ]
    try:
        return LabelMap(tuple(sorted(classes, key=lambda label: label.id)), tuple(ignore))
    except ValueError as error:
        raise wrong(path, str(error), "fix it") from error


def json_files(folder: Path, besides: Sequence[str] = ()) -> list[Path]:
    """JSON files directly in a folder in natural order; raises InputError where there is none."""
    if not folder.is_dir():
        raise wrong(folder, "no such folder", "check the path")
    found = [path for path in folder.glob("*.json") if path.name not in besides and path.name[0] != "."]
    if not found:
        raise wrong(folder, "there is no JSON file in it", "name the folder that holds them")
    return sorted(found, key=lambda path: natural_key(path.name))


def _fit(values: dict[str, int]) -> bool:
    return all(0 <= value < IGNORE_INDEX for value in values.values()) and len(set(values.values())) == len(values)
