"""Names of groups: read from names.csv and taught to a world, with a report of what each takes from other classes."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.files import one_line
from ignota.data.images import read_image
from ignota.data.video import read_frames
from ignota.discovery.cut_regions import SMALLEST
from ignota.discovery.groups import Group
from ignota.discovery.region_table import RegionTable
from ignota.structures import Encoding, InputError
from ignota.world.model import OpenWorldModel
from ignota.world.previewing import Preview

_LARGEST = 10_000_000
_COLUMNS = ("group", "name", "without", "of")


@dataclass(frozen=True)
class NamedRows:
    """A class to be taught: its name, and the regions that show it, those that show most first.

    keys: of the groups with this name. exemplars: how many of the regions are suggested.
    """

    name: str
    keys: tuple[str, ...]
    rows: tuple[int, ...]
    exemplars: int


def all_groups(groups: Sequence[Group]) -> dict[str, Group]:
    """Groups and their parts by key."""
    return {each.key: each for group in groups for each in (group, *group.parts)}


def read_names(
    path: Path, groups: Sequence[Group], state: str, warn: Callable[[str], object] = lambda text: None
) -> tuple[NamedRows, ...]:
    """Reads a names.csv with the columns `group` and `name`, and perhaps `without` (numbers of regions) and `of`.

    Groups of one name are merged; rows without a name are left out. state: the fingerprint of the groups, which each
    `of` must hold; warn: hears of a file without that column, which cannot be checked. Raises InputError.
    """
    where = one_line(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{where} is larger than {_LARGEST:,} bytes: it holds a row for each named group")
        text = path.read_bytes().decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} cannot be read ({one_line(error)[:80]}): export it from groups.html") from None
    heads = rows[0].keys() if rows else next(csv.reader([text.partition("\n")[0]]), [])
    if not {"group", "name"} <= set(heads):
        raise InputError(f"{where} has no columns 'group' and 'name': export it from groups.html")
    bound = "of" in heads
    found = all_groups(groups)
    chosen: dict[str, list[tuple[Group, frozenset[int]]]] = {}
    taken: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        group, name, without = _row(f"{where}, line {number}", row, found, state if bound else None)
        if name:
            _take(f"{where}, line {number}", group, name, taken)
            chosen.setdefault(name, []).append((group, without))
    if rows and not bound:
        warn(f"{where} does not tell which run of `ignota discover` its groups are of: taken for the last one")
    return tuple(_merged(name, parts) for name, parts in chosen.items())


def unnamed(
    groups: Sequence[Group], named: Sequence[NamedRows], most: int, names: Sequence[str]
) -> tuple[NamedRows, ...]:
    """The `most` best groups that bear no name as unknown-1, unknown-2, …; names: those that are taken."""
    seen = {int(re.sub(r"\D", "", key)) for each in named for key in each.keys}
    free = [group for group in groups if int(group.key) not in seen][:most]
    numbers = (number for number in range(1, len(free) + len(names) + 1) if f"unknown-{number}" not in names)
    return tuple(
        NamedRows(f"unknown-{number}", (group.key,), group.rows, group.exemplars)
        for number, group in zip(numbers, free, strict=False)
    )


def _row(
    where: str, row: Mapping[str | None, object], found: Mapping[str, Group], state: str | None
) -> tuple[Group, str, frozenset[int]]:
    if None in row or any(value is None for key, value in row.items() if key in ("group", "name")):
        raise InputError(f"{where}: it has more or fewer cells than the first line: put names with commas in quotes")
    cells = {key: str(row.get(key) or "").strip() for key in _COLUMNS}
    if state is not None and cells["of"] != state:
        raise InputError(
            f"{where}: it names groups of another run of `ignota discover`: export it again from groups.html"
        )
    if cells["group"] not in found:
        known = f"1 to {sum(key.isdigit() for key in found)}" if found else "none"
        raise InputError(f"{where}: there is no group {one_line(cells['group'])!r}; there are {known}")
    words = cells["without"].split()
    if not all(re.fullmatch(r"[0-9]{1,12}", word) for word in words):
        raise InputError(f"{where}: 'without' lists numbers of regions, not {one_line(cells['without'])[:40]!r}")
    return found[cells["group"]], cells["name"], frozenset(map(int, words))


def _take(where: str, group: Group, name: str, taken: dict[str, str]) -> None:
    """A group has one name, and either itself or its parts have."""
    whole = group.key.rstrip("ab")
    same = {group.key} | ({whole} if group.key != whole else {f"{whole}a", f"{whole}b"})
    for key in same & taken.keys():
        raise InputError(f"{where}: {name!r} is given to group {group.key}, but {key} is {taken[key]!r} already")
    taken[group.key] = name


def _merged(name: str, parts: Sequence[tuple[Group, frozenset[int]]]) -> NamedRows:
    """The regions of all groups of one name by turns, so that each group is shown from the first exemplar on."""
    kept = [[row for row in group.rows if row not in without] for group, without in parts]
    rows = [each[i] for i in range(max(map(len, kept))) for each in kept if i < len(each)]
    if not rows:
        raise InputError(f"{name!r}: every region of its groups is left out; leave some, or take the name away")
    return NamedRows(name, tuple(group.key for group, _ in parts), tuple(rows), max(g.exemplars for g, _ in parts))


def learn_named(
    world: OpenWorldModel,
    found: RegionTable,
    named: NamedRows,
    exemplars: int | None = None,
    force: bool = False,
    tick: Callable[[], object] | None = None,
) -> Preview | None:
    """Teaches one class from the first regions of its groups; None where the world has all of them already.

    exemplars: how many regions, instead of what is suggested. Raises InputError for images that are gone or changed,
    and TeachingRefused where the class would flood the images unless `force` is set.
    """
    large = [row for row in named.rows if found.areas[row] >= SMALLEST]
    if not large:
        raise InputError(f"{named.name!r}: every region is smaller than {SMALLEST} pixels, nothing can be learnt of it")
    chosen = large[: named.exemplars if exemplars is None else exemplars]
    held = {(card.image_sha256, str(card.mask)) for card in world.store.cards(named.name)}
    examples: list[tuple[Encoding, Bool[np.ndarray, "H W"]]] = []
    for row, encoding in _encoded(world, found, chosen):
        mask = found.mask(row)
        rle = {"size": found.sizes[row].tolist(), "counts": found.counts[row]}
        if (encoding.sha256, str(rle)) not in held:
            examples.append((encoding, mask))
        if tick is not None:
            tick()
    if not examples:
        return None
    return world.learn(named.name, examples, force)


def picture(found: RegionTable, row: int) -> UInt8[np.ndarray, "H W 3"]:
    """The image of a region; raises InputError where it is gone or has another size."""
    path, frame = found.path(row), int(found.frames[row])
    if frame < 0:
        image = read_image(path)
    else:
        frames = read_frames(path, 1, lambda index: index == frame)
        shown = next((each.image for each in frames if each.index == frame), None)
        if shown is None:
            raise InputError(f"{one_line(path)} has no frame {frame}: run `ignota discover` again")
        image = shown
    if image.shape[:2] != tuple(found.sizes[row]):
        raise InputError(f"{one_line(path)} has another size than when its regions were found: run it again")
    return image


def _encoded(world: OpenWorldModel, found: RegionTable, rows: Sequence[int]) -> Iterator[tuple[int, Encoding]]:
    """Each row with its image's encoding, in order; an image passes the networks once."""
    seen: dict[tuple[str, int], Encoding] = {}
    for row in rows:
        place = found.place(row)
        if place not in seen:
            image = picture(found, row)
            encoding = world.encode(image)
            seen[place] = dataclasses.replace(encoding, source=found.path(row).name)
        yield row, seen[place]
