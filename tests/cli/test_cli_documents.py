"""Damaged documents: every command that reads one ends with 0, or with 2 and one line."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ignota.cli import main
from ignota.synthetic.streets import SyntheticStreets

NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1_000_000, 2**70, 1e308, float("nan"), "", "x" * 300, "\0", "\ud800", "../../x", [], [-1],
    [1_000_000], [[]], {}, {"a": 1},
)  # fmt: skip
TEXTS = (b"", b"\0", b"\xff\xfe", b"[" * 3000, b"\n", b",", b'"', b"&a [*a]", b"9" * 5000, b": null")


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def ground(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each document is made by: a world, photos, the results of segment and of discover, a data set."""
    root = tmp_path_factory.mktemp("ground")
    shutil.copytree(trained, root / "world")
    streets = SyntheticStreets("anomaly", 3, (48, 96), 3)
    for folder in ("photos", "set/images", "set/masks"):
        (root / folder).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(streets[number].image).save(root / "photos" / f"p{number}.png")
        Image.fromarray(streets[number].image).save(root / "set" / "images" / f"p{number}.png")
        Image.fromarray(np.full((48, 96), number % 2, np.uint8)).save(root / "set" / "masks" / f"p{number}.png")
    text = "classes: [road, {name: car, colour: [0, 0, 142]}]\nignore: [0xff]\n"
    (root / "set" / "classes.yaml").write_text(text)
    world = ("--world", root / "world", "--quiet")
    assert run("segment", root / "photos", *world, "--out", root / "seen") == 0
    assert run("discover", root / "photos", *world, "--out", root / "found", "--smallest", 2) == 0
    state = json.loads((root / "found" / "groups.json").read_text())["state"]
    (root / "names.csv").write_text(f'group,name,without,of\n1,"thing",,{state}\n')
    return root


DOCUMENTS: dict[str, tuple[str, Callable[[Path, Path], list[tuple[object, ...]]]]] = {
    "groups.json": ("found/groups.json", lambda at, out: [_accept(at)]),
    "names.csv": ("names.csv", lambda at, out: [_accept(at)]),
    "regions.parquet": (
        "seen/regions.parquet",
        lambda at, out: [
            ("suggest", at / "seen" / "regions.parquet", "--world", at / "world", "--count", 1),
            ("discover", at / "seen" / "regions.parquet", "--world", at / "world", "--out", out, "--smallest", 2),
        ],
    ),
    "results": (
        "seen/p1.json",
        lambda at, out: [
            ("export-labels", "coco", at / "seen", "--out", out),
            ("segment", at / "photos" / "p0.png", "--world", at / "world", "--out", at / "seen"),
        ],
    ),
    "kept regions": (
        "found/regions/p1.json",
        lambda at, out: [
            ("discover", at / "photos", "--world", at / "world", "--out", at / "found", "--smallest", 2),
        ],
    ),
    "classes.yaml": (
        "set/classes.yaml",
        lambda at, out: [("data", "check", "folder", at / "set"), ("export-labels", "coco", at / "set", "--out", out)],
    ),
}


def _accept(at: Path) -> tuple[object, ...]:
    found = ("--world", at / "world", "--out", at / "found")
    return ("discover", "--accept", at / "names.csv", *found, "--force", "--exemplars", 1)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one fault: a value of a JSON document, or some of the bytes, put in, taken out or replaced."""
    if data[:1] == b"{" and rng.random() < 0.6:
        content = json.loads(data)
        places: list[tuple[Any, Any]] = []
        _collect(content, places)
        holder, key = rng.choice(places)
        if isinstance(holder, dict) and rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = rng.choice(NASTY)
        return json.dumps(content).encode()
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((0, 1, 1, 4, 40, 4000)))
    put = rng.choice((rng.randbytes(end - start), rng.choice(TEXTS), b""))
    return data[:start] + put + data[end:]


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    for key in value if isinstance(value, dict) else range(len(value)):
        places.append((value, key))
        if isinstance(value[key], dict | list) and value[key]:
            _collect(value[key], places)


def check(name: str, ground: Path, place: Path, seeds: range, capfd: pytest.CaptureFixture[str]) -> int:
    """Each mutation through each command; returns how many were refused."""
    file, calls = DOCUMENTS[name]
    whole = (ground / file).read_bytes()
    refused = 0
    for seed in seeds:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(ground, place)
        table = place / "found" / "groups.json"
        table.write_text(table.read_text().replace(str(ground), str(place)))
        data = (place / file).read_bytes() if file.startswith("found") else whole
        (place / file).write_bytes(mutated(data, random.Random(seed)))
        for words in calls(place, place / "new"):
            capfd.readouterr()
            code = run(*words, "--quiet")
            error = capfd.readouterr().err
            assert (code, error.count("\n")) in ((0, 0), (2, 1)) or (code == 0 and name == "names.csv"), (seed, error)
            assert "Traceback" not in error and "IGNOTA_TRACEBACK" not in error, (seed, error)
            refused += code == 2
    return refused


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_few_mutations(name: str, ground: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert check(name, ground, tmp_path / "place", range(3), capfd) > 0


@pytest.mark.parametrize("number", [pytest.param(8, marks=pytest.mark.long), pytest.param(30, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_many_mutations(
    name: str, number: int, ground: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert check(name, ground, tmp_path / "place", range(100, 100 + number), capfd) > number // 6
