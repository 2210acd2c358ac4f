"""Segment, teach, segment again, forget: the whole of `ignota.World` on synthetic streets.

    python examples/quickstart.py [WORLD]

WORLD is a bundle's folder or the name of a shipped world. It is copied first, as shipped worlds are never changed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import ignota
from ignota.storage import bundle
from ignota.synthetic import SyntheticStreets


def tour(world: ignota.World, size: tuple[int, int]) -> list[str]:
    """Shows the world two streets with things on them that it does not know; returns what there is to tell."""
    streets = SyntheticStreets("anomaly", 2, size, seed=4)
    example, other = streets[0], streets[1]
    if example.label is None:
        raise ValueError(f"{example.key} has no label")

    scene = world.segment(example.image)
    said = [f"{len(scene.unknown)} unknown regions, the largest first:"]
    for region in scene.unknown[:3]:
        said.append(f"  box {region.box}, score {region.score:.2f}, else taken for {region.nearest}")

    # A mask is any array that is not zero where the thing is; an entry of `scene.unknown` does as well.
    # `force` teaches it even where it would take much from known classes, as a weak world may find.
    world.learn("thing", [(example.image, example.label == 1)], force=True)
    thing = world.classes.id_of("thing")
    for name, image in (("the street it was taught on", example.image), ("another street", other.image)):
        labels = world.segment(image).labels
        said.append(f"'thing' takes {100 * float((labels == thing).mean()):.1f} % of {name}")

    world.forget("thing")
    again = world.segment(example.image)
    same = np.array_equal(again.labels, scene.labels) and np.array_equal(again.anomaly, scene.anomaly)
    said.append(f"forgotten, and all is bit for bit as before: {same}")
    return said


def main(name: str = "camvid-11", size: tuple[int, int] = (256, 512)) -> list[str]:
    """A tour on a copy of the world `name`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "world"
        bundle.copy(name, copy)  # as `ignota init` does
        world = ignota.load(copy, writable=True)
        try:
            return tour(world, size)
        finally:
            world.store.close()


if __name__ == "__main__":
    sys.stdout.write("\n".join(main(sys.argv[1] if len(sys.argv) > 1 else "camvid-11")) + "\n")
