"""groups.json: what `discover` found, for programs and for a later `--accept`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignota.data.files import one_line, write_atomically
from ignota.discovery.found import FoundRegions
from ignota.discovery.groups import Group
from ignota.structures import InputError

FILE = "groups.json"
_LARGEST = 500_000_000


@dataclass(frozen=True)
class Discovery:
    """Groups, the regions that are in none, and the table whose rows they number; state: fingerprint of the groups."""

    groups: tuple[Group, ...]
    alone: tuple[int, ...]
    table: Path
    state: str


def discovery(groups: Sequence[Group], alone: Sequence[int], found: FoundRegions, table: Path) -> Discovery:
    """With the fingerprint of these groups of these regions."""
    digest = hashlib.sha256()
    for group in groups:
        for row in group.rows:
            digest.update(f"{group.key} {found.place(row)} {found.counts[row]};".encode())
    return Discovery(tuple(groups), tuple(alone), table, digest.hexdigest()[:12])


def write_discovery(path: Path, made: Discovery, found: FoundRegions) -> None:
    """Writes groups.json, whole or not at all."""
    content = {
        "state": made.state,
        "table": str(made.table.absolute()),
        "regions": len(found),
        "alone": len(made.alone),
        "groups": [_as_dict(group) for group in made.groups],
    }
    write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def read_discovery(path: Path) -> Discovery:
    """Reads groups.json; raises InputError for whatever is none."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large")
        content = json.loads(path.read_bytes())
        groups = tuple(_from_dict(each) for each in content["groups"])
        return Discovery(groups, (), Path(content["table"]), str(content["state"]))
    except FileNotFoundError:
        raise InputError(f"{one_line(path)} is not there: run `ignota discover` on images or a table first") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{one_line(path)} is damaged ({type(error).__name__}): run `ignota discover` anew") from None


def check_rows(made: Discovery, found: FoundRegions) -> None:
    """Raises InputError where the table is no longer the one that the groups number."""
    rows = [row for group in made.groups for row in group.rows]
    if (
        any(not 0 <= row < len(found) for row in rows)
        or discovery(made.groups, (), found, made.table).state != made.state
    ):
        raise InputError(f"{one_line(made.table)} is not what the groups were made of: run `ignota discover` anew")


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


def _from_dict(value: dict[str, Any]) -> Group:
    rows = tuple(value["rows"])
    if not rows or not all(type(row) is int for row in rows) or type(value["exemplars"]) is not int:
        raise ValueError("rows are whole numbers")
    return Group(
        str(value["key"]), rows, int(value["images"]), float(value["compactness"]), float(value["strangeness"]),
        float(value["rank"]), tuple((str(name), float(number)) for name, number in value["nearest"]),
        value["exemplars"], tuple(_from_dict(part) for part in value["parts"]),
    )  # fmt: skip
