"""A world in 16 digits: equal for two worlds that read images alike."""

from __future__ import annotations

import hashlib
from typing import Any

from ignota.perception.digest import feed
from ignota.storage.document import FORM
from ignota.world.model import OpenWorldModel


def world_fingerprint(world: OpenWorldModel) -> str:
    """16 hex digits of all that decides how a world reads an image; a class learnt and forgotten leaves no trace."""
    digest = hashlib.sha256(str(FORM).encode())
    networks = world.networks
    feed(digest, (networks.digest, networks.size))
    feed(digest, {name: space.taps for name, space in world.known.spaces.items()})
    feed(digest, (dict(world.known.tensors()), world.known.recipe, world.classes, world.novel))
    _feed_camera(digest, world)
    digest.update(b"" if networks.backend == "torch" else networks.backend.encode())
    return digest.hexdigest()[:16]


def perception_fingerprint(world: OpenWorldModel) -> str:
    """16 hex digits of what a world is before it is taught, at whatever size and by whatever backend it is run: regions
    and embeddings of two worlds can be compared where they have the same."""
    digest = hashlib.sha256(b"perception")
    feed(digest, world.networks.digest)
    feed(digest, {name: space.taps for name, space in world.known.spaces.items()})
    feed(digest, (dict(world.known.tensors()), world.known.recipe, world.taxonomy))
    _feed_camera(digest, world)
    return digest.hexdigest()[:16]


def _feed_camera(digest: Any, world: OpenWorldModel) -> None:
    """What a calibration adds to the coreset; its threshold stands in the recipe."""
    if world.known.calibration is not None:
        feed(digest, (world.known.calibration.vectors, world.known.calibration.owner))
