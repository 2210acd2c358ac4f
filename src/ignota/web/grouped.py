"""Groups of a finished `discover`, to be looked at and named on the page."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from ignota.discovery.document import Discovery
from ignota.discovery.gallery import TILES, draw_tiles
from ignota.discovery.groups import Group
from ignota.discovery.naming import NamedRows, all_groups, rle_of
from ignota.discovery.region_table import RegionTable
from ignota.exemplars.store import COUNTER_EXAMPLE
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

_KEPT = 4096
"""Pictures of regions that are kept, about 4 kB each."""


@dataclass
class Groups:
    """made, found: what `discover` wrote, checked against each other."""

    made: Discovery
    found: RegionTable
    _tiles: OrderedDict[int, bytes] = field(default_factory=OrderedDict, repr=False)

    def described(self, world: OpenWorldModel, first: int, count: int) -> list[dict[str, Any]]:
        """Groups in their order, each with the class that its regions were taught to."""
        cards = world.store.cards()
        taught = {str(card.mask): card.name for card in cards if card.given != COUNTER_EXAMPLE}
        return [self._described(group, taught) for group in self.made.groups[first : first + count]]

    def group(self, key: str) -> Group:
        """A group or a part of one; raises InputError."""
        found = all_groups(self.made.groups).get(key)
        if found is None:
            raise InputError(f"there is no group {key!r}: the page lists those that there are")
        return found

    def named(self, key: str, name: str, without: frozenset[int]) -> NamedRows:
        """The regions of a group under a name; raises InputError where all are left out."""
        group = self.group(key)
        rows = tuple(row for row in group.rows if row not in without)
        if not rows:
            raise InputError("every region of this group is left out: leave some")
        return NamedRows(name, (key,), rows, group.exemplars)

    def kept_tile(self, row: int) -> bytes | None:
        """One that was drawn before."""
        return self._tiles.get(row)

    def tile(self, row: int) -> bytes:
        """A small JPEG of a region; raises InputError where its image is gone, or no group has it."""
        if not 0 <= row < len(self.found):
            raise InputError(f"there is no region {row}")
        tiles, faults = draw_tiles(self.found, [row])
        if not faults:
            self._tiles[row] = tiles[row]
        while len(self._tiles) > _KEPT:
            self._tiles.popitem(last=False)
        return tiles[row]

    def _described(self, group: Group, taught: dict[str, str]) -> dict[str, Any]:
        names = (taught.get(str(rle_of(self.found, row))) for row in group.rows)
        return {
            "key": group.key,
            "regions": len(group.rows),
            "images": group.images,
            "compactness": group.compactness,
            "anomaly": group.strangeness,
            "nearest": [name for name, _ in group.nearest],
            "exemplars": group.exemplars,
            "rows": list(group.rows[:TILES]),
            "name": next((name for name in names if name is not None), None),
            "parts": [self._described(part, taught) for part in group.parts],
        }
