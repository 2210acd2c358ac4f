"""world.json: what is refused, what a document of schema 1 becomes, and what the digest covers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ignota.perception.known import Recipe
from ignota.storage import bundle
from ignota.storage.document import ADDED, FORM, validated
from ignota.storage.seals import canonical, read_json
from ignota.structures import InputError

Change = Callable[[dict[str, Any]], object]

REFUSED: dict[str, tuple[Change, str]] = {
    "infinite threshold": (lambda d: d["recipes"]["light"].update(threshold=1e308), "recipes.light.threshold"),
    "absurd weight": (lambda d: d["recipes"]["light"].update(weights=[1e308, 0.5, 1.0]), "recipes.light.weights.0"),
    "spread of 0": (lambda d: d["recipes"]["light"].update(spread=[0.0, 1.0, 1.0]), "recipes.light.spread.0"),
    "std of 0": (lambda d: d["segmenter"]["preprocessing"].update(std=[0, 1, 1]), "segmenter.preprocessing.std.0"),
    "huge std": (lambda d: d["frozen"]["preprocessing"].update(std=[1e30, 1, 1]), "frozen.preprocessing.std.0"),
    "huge network": (lambda d: d["segmenter"]["smp"].update(decoder_channels=10**12), "beyond"),
    "tiny frozen size": (lambda d: d["frozen"].update(size=1), "frozen.size"),
    "huge size": (lambda d: d.update(size=10**9), "size"),
    "a number as text": (lambda d: d.update(size="48"), "size"),
    "true for a number": (lambda d: d.update(size=True), "size"),
    "a missing constant": (lambda d: d["recipes"]["light"].pop("inside"), "recipes.light.inside"),
    "a missing scale": (lambda d: d["recipes"]["light"]["regions"].pop("blur"), "recipes.light.regions.blur"),
    "no scales": (lambda d: d["recipes"]["light"]["regions"].update(scales=[]), "recipes.light.regions.scales"),
    "an unknown field": (lambda d: d.update(code="x"), "code"),
    "an unknown branch": (lambda d: d["branches"].update(mine={"file": "a", "settings": {}}), "branches.mine"),
    "a branch's file elsewhere": (
        lambda d: d["branches"].update(paper={"file": "../x.safetensors", "settings": {}}), "branches.paper",
    ),
    "no recipe": (lambda d: d.update(recipes={}), "recipes"),
    "a recipe of another version": (lambda d: d["recipes"].update(full=d["recipes"].pop("light")), "recipes"),
    "classes that repeat": (lambda d: d["taxonomy"]["classes"][1].update(name="road"), "class names repeat"),
    "a class that cannot be printed": (lambda d: d["taxonomy"]["classes"][0].update(name="a\x1b[2J"), "taxonomy"),
    "too few classes": (lambda d: d["taxonomy"]["classes"].pop(), "num_classes"),
    "taps that are not kept": (lambda d: d["recipes"]["light"].update(taps=["stage9"]), "taps"),
    "a newer form": (lambda d: d.update(form=FORM + 1), "update ignota"),
    "a newer schema": (lambda d: d.update(schema=3), "schema version 3"),
    "a schema of 2.0": (lambda d: d.update(schema=2.5), "schema"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_values_under_a_right_digest(trained: Path, tmp_path: Path, case: str) -> None:
    world = Path(shutil.copytree(trained, tmp_path / "world"))
    change, told = REFUSED[case]
    document = read_json(world / "world.json")
    change(document)
    document["digest"] = hashlib.sha256(canonical(document)).hexdigest()
    (world / "world.json").write_text(json.dumps(document))
    with pytest.raises(InputError) as refused:
        bundle.load(world)
    assert told in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", [
    "", "[]", "{", '{"schema": 2, "schema": 2}', '{"schema": 1e999}', "[" * 100_000, '{"a": "\\ud800"}', "\xff",
])  # fmt: skip
def test_what_is_no_document(tmp_path: Path, text: str) -> None:
    (tmp_path / "world.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="damaged"):
        bundle.read_document(tmp_path)


def test_every_constant_of_a_recipe_is_written_and_asked_for(trained: Path) -> None:
    document = read_json(trained / "world.json")
    names = {field.name for field in dataclasses.fields(Recipe)}
    assert set(document["recipes"]["light"]) == names
    for name in names - ADDED:
        less = json.loads(json.dumps(document))
        del less["recipes"]["light"][name]
        with pytest.raises(InputError, match=f"recipes.light.{name}"):
            validated(less, trained / "world.json")
    assert names >= ADDED
    older = json.loads(json.dumps(document))
    older["recipes"]["light"] = {k: v for k, v in older["recipes"]["light"].items() if k not in ADDED}
    today = validated(document, trained / "world.json").recipe
    assert validated(older, trained / "world.json").recipe == dataclasses.replace(today, cutoff=None)


def test_blanks_and_the_order_of_keys_are_not_sealed_but_values_are(trained: Path, tmp_path: Path) -> None:
    world = Path(shutil.copytree(trained, tmp_path / "world"))
    document = read_json(world / "world.json")
    (world / "world.json").write_text(json.dumps(dict(reversed(document.items())), indent=7))
    assert bundle.read_document(world) == bundle.read_document(trained)
    (world / "world.json").write_text(json.dumps(document | {"size": 49}))
    with pytest.raises(InputError, match=f"`ignota seal {world}`"):
        bundle.read_document(world)


def test_a_document_of_schema_1_reads_as_the_world_that_it_was(
    trained: Path, tmp_path: Path, schema_1: Callable[[Path], dict[str, Any]]
) -> None:
    older = Path(shutil.copytree(trained, tmp_path / "older"))
    schema_1(older)
    now, then = (bundle.read_document(path) for path in (trained, older))
    assert then.form == 2 and now.form == FORM
    bare = {"branches": {}, "files": {"weights.safetensors": now.files["weights.safetensors"]}}  # there were none then
    assert then.model_copy(update={"form": now.form, "digest": now.digest}) == now.model_copy(update=bare)
    assert then.recipe.regions.scales == (30.0, 200.0)


def test_a_document_between_the_schemas_is_neither(
    trained: Path, tmp_path: Path, schema_1: Callable[[Path], dict[str, Any]]
) -> None:
    """A world of schema 2 whose schema was overwritten must not lose its seals."""
    older = Path(shutil.copytree(trained, tmp_path / "older"))
    document = read_json(older / "world.json")
    (older / "world.json").write_text(json.dumps(document | {"schema": 1}))
    with pytest.raises(InputError, match="unknown field"):
        bundle.read_document(older)
    document = schema_1(older)
    for name in ("taps", "recipe", "segmenter"):
        (older / "world.json").write_text(json.dumps({key: value for key, value in document.items() if key != name}))
        with pytest.raises(InputError, match=f"{name}: the field is missing"):
            bundle.read_document(older)
