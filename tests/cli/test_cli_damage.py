"""Damaged worlds: exit code 2 and one line, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ignota.cli import main

FILES = ("world.json", "weights.safetensors", "exemplars.sqlite")
DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "garbled": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(file: str, damage: str, world: Path, wrong: Callable[..., str]) -> None:
    DAMAGE[damage](world / file)
    wrong("classes", "--world", world)


def test_another_schema_version(world: Path, wrong: Callable[..., str]) -> None:
    document = json.loads((world / "world.json").read_text())
    (world / "world.json").write_text(json.dumps(document | {"schema": 99}))
    assert "schema version 99" in wrong("classes", "--world", world)


FIELDS = ("taxonomy", "segmenter", "frozen", "size", "taps", "spaces", "recipes", "provenance", "form")


@pytest.mark.parametrize("key", FIELDS)
def test_missing_and_mistyped_fields(
    key: str, world: Path, wrong: Callable[..., str], reseal: Callable[[Path, Callable[[dict[str, Any]], object]], None]
) -> None:
    before = (world / "world.json").read_bytes()
    if key != "segmenter":  # the seals need it
        reseal(world, lambda document: document.update({key: "nonsense"}))
        assert f"damaged ({key}" in wrong("classes", "--world", world)
        (world / "world.json").write_bytes(before)
        reseal(world, lambda document: document.pop(key))
        assert f"damaged ({key}" in wrong("classes", "--world", world)
    document = json.loads(before)
    (world / "world.json").write_text(json.dumps(document | {key: "nonsense"}))
    assert f"`ignota seal {world}`" in wrong("classes", "--world", world)
    assert key in wrong("seal", world)


def test_seal_and_upgrade(
    world: Path, capsys: pytest.CaptureFixture[str], schema_1: Callable[[Path], dict[str, Any]]
) -> None:
    document = json.loads((world / "world.json").read_text())
    document["recipes"]["light"]["threshold"] = 0.5
    (world / "world.json").write_text(json.dumps(document))
    for call, told in (
        (("seal", str(world)), f"{world}: sealed world.json"),
        (("seal", str(world)), f"{world}: nothing had changed"),
        (("upgrade", str(world)), f"{world} is of schema 2 already"),
    ):
        assert main(list(call)) == 0
        assert capsys.readouterr().out == f"{told}\n"
    schema_1(world)
    assert main(["classes", "--world", str(world)]) == 0
    capsys.readouterr()
    assert main(["upgrade", str(world)]) == 0
    assert capsys.readouterr().out == f"{world} is of schema 2 now\n"
    assert json.loads((world / "world.json").read_text())["recipes"]["light"]["threshold"] == 0.5


@pytest.mark.parametrize("file", ["world.json", "weights.safetensors"])
def test_flipped_bits_are_told_or_harmless(file: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (world / file).read_bytes()
    reach = min(len(whole), 2000)  # the header of the weights, where flips do most
    rng = np.random.default_rng(5)
    for _ in range(8):
        spoilt = bytearray(whole)
        spoilt[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
        (world / file).write_bytes(bytes(spoilt))
        code = main(["classes", "--world", str(world), "--json"])
        error = capsys.readouterr().err
        assert (code, error.count("\n")) in ((0, 0), (2, 1)), error
