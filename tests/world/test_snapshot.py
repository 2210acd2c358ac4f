"""What was segmented agrees with itself, whatever other processes teach or forget meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from ignota.perception.scene import Scene
from ignota.storage import bundle
from ignota.storage.seals import world_fingerprint
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

Photos = list[NDArray[np.uint8]]


@pytest.fixture
def other(world: OpenWorldModel) -> Iterator[OpenWorldModel]:
    """The same world, opened by another process."""
    assert world.store.path is not None
    opened = bundle.load(world.store.path.parent, writable=True)
    yield opened
    opened.store.close()


def teach(world: OpenWorldModel, photo: NDArray[np.uint8], name: str = "all of it") -> None:
    """Teaches a whole photo."""
    region = world.segment(photo).region(np.ones(photo.shape[:2], bool))
    world.learn(name, [(photo, region)], force=True)


def told(scene: Scene) -> tuple[object, ...]:
    """All that a scene says."""
    regions = [(region.nearest, region.box, region.score) for region in scene.unknown]
    return scene.taxonomy, regions, scene.labels.tobytes(), scene.anomaly.tobytes()


def test_names_and_labels_come_from_one_snapshot(world: OpenWorldModel, other: OpenWorldModel, photos: Photos) -> None:
    known, before = len(world.taxonomy), world_fingerprint(world)
    teach(other, photos[0])
    scene = world.segment(photos[0])
    assert len(scene.taxonomy) == known == len(world.classes) and int(scene.labels.max()) < known
    assert world_fingerprint(world) == before
    assert world.newest().classes.names[known:] == ("all of it",)
    assert world.follow() and not world.follow()
    assert world_fingerprint(world) == world_fingerprint(other) != before

    other.forget("all of it")
    scene = world.segment(photos[0])
    assert int(scene.labels.max()) == known
    assert scene.taxonomy.names[known:] == ("all of it",)
    assert {region.nearest for region in scene.unknown} <= set(scene.taxonomy.names)


def test_a_scene_is_the_same_for_ever(world: OpenWorldModel, photos: Photos) -> None:
    teach(world, photos[0])
    encoding = world.encode(photos[0])
    expected, late = told(world.segment(encoding)), world.segment(encoding)
    world.rename("all of it", "another name")
    teach(world, photos[1], "second")
    world.forget("another name")
    assert told(late) == expected


def test_a_lesson_counts_what_others_taught(world: OpenWorldModel, other: OpenWorldModel, photos: Photos) -> None:
    teach(other, photos[0], "first")
    teach(world, photos[1], "second")
    assert world.snapshot.novel.names == ("first", "second") == tuple(taught.name for taught in world.snapshot.taught)
    other.rename("first", "1st")
    with pytest.raises(InputError, match="no taught class 'first'"):
        world.forget("first")


def test_the_same_rows_have_the_same_fingerprint(world: OpenWorldModel, photos: Photos) -> None:
    teach(world, photos[0])
    expected = world_fingerprint(world)
    for _ in range(12):
        world.refresh()
        assert world_fingerprint(world) == expected


def test_a_class_without_exemplars_is_damage(world: OpenWorldModel, other: OpenWorldModel, photos: Photos) -> None:
    teach(other, photos[0])
    other.store._connection.execute("UPDATE exemplar SET hidden = 1")
    with pytest.raises(InputError, match="has no exemplar"):
        world.refresh()
