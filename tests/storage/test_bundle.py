"""A bundle restores the saved world bit for bit, and is complete or absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from ignota.storage import bundle
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel


def teach(world: OpenWorldModel, photo: NDArray[np.uint8]) -> None:
    mask = np.zeros(photo.shape[:2], bool)
    mask[20:50, 30:70] = True
    world.learn("crate", [(photo, mask)], force=True)


def same(one: OpenWorldModel, other: OpenWorldModel, photo: NDArray[np.uint8]) -> None:
    a, b = one.segment(photo), other.segment(photo)
    assert torch.equal(a.score, b.score)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.anomaly, b.anomaly)
    assert [r.box for r in a.unknown] == [r.box for r in b.unknown]
    assert a.taxonomy == b.taxonomy


def test_save_load_segment_is_bit_identical(
    world: OpenWorldModel, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    teach(world, photos[0])
    bundle.save(world, tmp_path / "again", {"note": 1})
    again = bundle.load(tmp_path / "again")
    assert again.classes.names[-1] == "crate"
    for photo in photos:
        same(world, again, photo)
    again.store.close()
    files = {path.name for path in (tmp_path / "again").iterdir() if path.suffix not in (".sqlite-wal", ".sqlite-shm")}
    branches = {f"branch-{system}.safetensors" for system in ("paper", "released")}
    assert files == {"world.json", "weights.safetensors", "exemplars.sqlite"} | branches
    assert json.loads((tmp_path / "again" / "world.json").read_text())["results"] == {"note": 1}


def test_a_copy_is_the_world_with_what_it_was_taught(
    world: OpenWorldModel, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    teach(world, photos[0])
    bundle.copy(tmp_path / "world", tmp_path / "copy")
    copied = bundle.load(tmp_path / "copy", writable=True)
    same(world, copied, photos[1])
    copied.forget("crate")
    assert "crate" in world.classes.names
    assert "crate" not in copied.classes.names


def test_tensors_and_world_json_never_change(world: OpenWorldModel, photos: list[NDArray[np.uint8]]) -> None:
    folder = world.store.path.parent
    before = {name: (folder / name).read_bytes() for name in ("world.json", "weights.safetensors")}
    teach(world, photos[0])
    world.forget("crate")
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"), bundle.new_bundle(tmp_path / "new") as folder:
        (folder / "world.json").write_text("{")
        raise RuntimeError("half way")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thing").touch()
    with pytest.raises(InputError, match="exists already"), bundle.new_bundle(tmp_path / "there"):
        pytest.fail("it began to write")
    with bundle.new_bundle(tmp_path / "empty") as folder:
        (tmp_path / "empty").mkdir()
        (folder / "a").write_text("a")
    assert (tmp_path / "empty" / "a").read_text() == "a"


def test_worlds_from_before_the_strangeness_of_held_out_regions_was_kept_can_be_taught(
    trained: Path, photos: list[NDArray[np.uint8]], tmp_path: Path, schema_1: Callable[[Path], dict[str, Any]]
) -> None:
    older = Path(shutil.copytree(trained, tmp_path / "older"))
    tensors = load_file(older / "weights.safetensors")
    del tensors["known.held_out.strange"]
    save_file(tensors, older / "weights.safetensors")
    document = schema_1(older)
    del document["recipe"]["surprise"]
    (older / "world.json").write_text(json.dumps(document))
    world = bundle.load(older, writable=True)
    teach(world, photos[0])
    assert world.known.recipe.surprise == 0
    assert not world.known.held_out.strange.any()
    world.store.close()


def test_half_precision_only_where_the_range_allows() -> None:
    stored = bundle.halved({"small": torch.tensor([1.5]), "large": torch.tensor([7e4]), "whole": torch.tensor([3])})
    assert [value.dtype for value in stored.values()] == [torch.float16, torch.float32, torch.int64]
    assert bundle.halved({"none": torch.zeros(0)})["none"].dtype == torch.float16


Reseal = Callable[[Path, Callable[[dict[str, Any]], object]], None]


def test_other_weights_of_the_frozen_encoder_are_refused(trained: Path, tmp_path: Path, reseal: Reseal) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    reseal(other, lambda document: document["frozen"].update(sha256="0" * 64))
    with pytest.raises(InputError, match="differ from those this world was fitted with"):
        bundle.load(other)


def test_worlds_that_tell_a_magnification(
    trained: Path, tmp_path: Path, schema_1: Callable[[Path], dict[str, Any]]
) -> None:
    """As they were written before the frozen encoder had a size of its own."""
    older = Path(shutil.copytree(trained, tmp_path / "older"))
    document = schema_1(older)
    assert document["frozen"].pop("size") == 60 and document["size"] == 48
    document["frozen"]["magnify"] = 1.5
    (older / "world.json").write_text(json.dumps(document))
    frozen = bundle.load(older).networks.frozen
    assert frozen is not None and frozen.size == 72


@pytest.mark.parametrize("changed", [{"size": "60"}, {"size": -1}, {"size": 1}, {"size": 10**9}, {"magnify": 2.0}])
def test_a_frozen_encoder_that_is_shown_what_no_image_is_is_refused(
    trained: Path, tmp_path: Path, changed: dict[str, object], reseal: Reseal
) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    reseal(other, lambda document: document["frozen"].update(changed))
    with pytest.raises(InputError, match=f"damaged .frozen.{next(iter(changed))}"):
        bundle.load(other)


def test_another_working_size(trained: Path, photos: list[NDArray[np.uint8]]) -> None:
    world, own = bundle.load(trained, size=64), bundle.load(trained)
    scene = world.segment(photos[0])
    assert min(scene.encoding.image.shape[:2]) == 64 != own.networks.size
    before, after = (w.networks.views(photos[0])[1] for w in (own, world))
    assert before is not None and np.array_equal(before, after)  # the frozen encoder sees what it was fitted with
    assert scene.labels.shape == scene.anomaly.shape == photos[0].shape[:2]
