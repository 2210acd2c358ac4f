"""groups.json: the result of `discover`, for programs and for a later `--accept`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignota.data.files import as_name, as_text, one_line, write_atomically
from ignota.discovery.groups import Group
from ignota.discovery.region_table import RegionTable
from ignota.structures import InputError

FILE = "groups.json"
_LARGEST = 500_000_000
_KEY = "[1-9][0-9]{0,8}"


@dataclass(frozen=True)
class Discovery:
    """Groups, the regions that are in none, and the table whose rows they number.

    regions: digest of the table's rows. world: fingerprint of the perception that found them. state: of all of these;
    names.csv repeats it, so that it can name no other groups.
    """

    groups: tuple[Group, ...]
    alone: tuple[int, ...]
    table: Path
    regions: str
    world: str
    state: str


def discovery(groups: Sequence[Group], alone: Sequence[int], found: RegionTable, table: Path, world: str) -> Discovery:
    """With the fingerprint of these groups of these regions."""
    state = _state([_as_dict(group) for group in groups], found.digest, world)
    return Discovery(tuple(groups), tuple(alone), table, found.digest, world, state)


def write_discovery(path: Path, made: Discovery, found: RegionTable) -> None:
    """Writes groups.json atomically."""
    content = {
        "state": made.state,
        "table": as_text(str(made.table.absolute())),
        "regions": len(found),
        "alone": len(made.alone),
        "regions_sha256": made.regions,
        "world": made.world,
        "groups": [_as_dict(group) for group in made.groups],
    }
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_discovery(path: Path) -> Discovery:
    """Reads groups.json; raises InputError for whatever is none, and for one that was changed."""
    try:
        if path.stat().st_size > _LARGEST or not path.is_file():
            raise ValueError("too large, or no plain file")
        content = json.loads(path.read_bytes())
        given, table = content["groups"], Path(as_name(_text(content["table"])))
        groups = tuple(_from_dict(each, _KEY) for each in given)
        if not {"regions_sha256", "world"} <= content.keys():
            raise InputError(f"{one_line(path)} is of an older version: run `ignota discover` again")
        regions, world, state = (_text(content[key]) for key in ("regions_sha256", "world", "state"))
        if state != _state(given, regions, world) or len({group.key for group in groups}) < len(groups):
            raise ValueError("changed")
    except FileNotFoundError:
        raise InputError(f"{one_line(path)} is not there: run `ignota discover` on images or a table first") from None
    except (OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(path)} is damaged ({type(error).__name__}): run `ignota discover` again") from None
    return Discovery(groups, (), table, regions, world, state)


def check_rows(made: Discovery, found: RegionTable) -> None:
    """Raises InputError where the table is no longer the one that the groups number."""
    rows = [row for group in made.groups for each in (group, *group.parts) for row in each.rows]
    if found.digest != made.regions or any(not 0 <= row < len(found) for row in rows):
        raise InputError(f"{one_line(made.table)} is not what the groups were made of: run `ignota discover` again")


def _state(groups: list[dict[str, Any]], regions: str, world: str) -> str:
    """16 hex digits of the groups and their parts as they are written, of the regions, and of the world."""
    text = json.dumps([groups, regions, world], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_dict(group: Group) -> dict[str, Any]:
    return {
        "key": group.key,
        "images": group.images,
        "compactness": round(group.compactness, 4),
        "strangeness": round(group.strangeness, 4),
        "rank": round(group.rank, 4),
        "nearest": [[name, round(value, 4)] for name, value in group.nearest],
        "exemplars": group.exemplars,
        "rows": list(group.rows),
        "parts": [_as_dict(part) for part in group.parts],
    }


def _from_dict(value: dict[str, Any], key: str) -> Group:
    """A group whose key has the form `key`; raises ValueError, KeyError or TypeError."""
    rows = tuple(value["rows"])
    parts = tuple(_from_dict(part, re.escape(value["key"]) + "[ab]") for part in value["parts"])
    if not rows or not all(type(row) is int for row in rows) or len(set(rows)) < len(rows):
        raise ValueError("rows are whole numbers, each once")
    if not re.fullmatch(key, value["key"]) or type(value["exemplars"]) is not int or value["exemplars"] < 1:
        raise ValueError("a group has a number, and one exemplar or more")
    if not {row for part in parts for row in part.rows} <= set(rows):
        raise ValueError("the parts of a group are made of its rows")
    return Group(
        value["key"], rows, int(value["images"]), float(value["compactness"]), float(value["strangeness"]),
        float(value["rank"]), tuple((str(name), float(number)) for name, number in value["nearest"]),
        value["exemplars"], parts,
    )  # fmt: skip


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is wanted")
    return value
