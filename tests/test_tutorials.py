"""The tutorials run as they stand, block by block, with a tiny world in place of the shipped one."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ignota
from ignota.cli import main
from ignota.synthetic import SyntheticStreets

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "tutorials"
Blocks = list[tuple[str, str]]


def blocks(name: str) -> Blocks:
    """Language and text of each block that runs."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    return re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def followed(tutorial: Blocks, instead: dict[str, str], script: Callable[[list[str]], object] | None = None) -> str:
    """Runs every block in this process; gives all text of the blocks as it ran. instead: what is written otherwise."""
    names: dict[str, Any] = {}
    ran = []
    for language, block in tutorial:
        for written, run in instead.items():
            block = block.replace(written, run)
        ran.append(block)
        if saved := re.match(r"# (\w+\.py)\n", block):
            Path(saved[1]).write_text(block, encoding="utf-8")
        elif language == "python":
            exec(block, names)
        for words in [] if language == "python" else map(shlex.split, block.splitlines()):
            if words[0] == "export":
                os.environ |= dict(word.split("=", 1) for word in words[1:])
            elif words[0] == "python":
                assert script is not None
                script(words[1:])
            else:
                assert words[0] == "ignota" and main(words[1:]) == 0, block
    if "world" in names:
        names["world"].store.close()
    return "\n".join(ran)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder; the tiny world hardly tells classes apart, so nothing it learns is refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ignota.world.previewing.FLOOD", 1.0)
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ |= environment


def test_first_world(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    followed(blocks("first-world"), {"ignota init my-world": f"ignota init my-world --from {trained}"})
    said = capsys.readouterr().out
    assert "nearest: " in said and "fallen tree" in said
    assert all(Path("seen-again", f"1{kind}").is_file() for kind in ("_overlay.jpg", "_labels.png", ".json"))
    assert repr(ignota.load("my-world")).endswith(" 0 taught)")


def test_thousand_frames(trained: Path) -> None:
    instead = {
        "ignota init my-world": f"ignota init my-world --from {trained}",
        "--anomalies 40 --size 360x640": "--anomalies 8 --size 60x120",
        "ignota discover drive/images": "ignota discover drive/images --smallest 2",
        "--accept names.csv": "--accept names.csv --force",
    }
    followed(blocks("thousand-frames"), instead)
    world = ignota.load("my-world")
    assert repr(world).endswith(" 2 taught)") and all(name.startswith("like ") for name in world.classes.names[-2:])
    assert len(Path("next.csv").read_text().splitlines()) == 6


@pytest.mark.usefixtures("catalogues")
def test_own_score(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instead = {"--plugin gini.py": f"--plugin gini.py --world {trained}", "360x640": "60x120"}
    followed(blocks("own-score"), instead)
    assert set(json.loads(Path("found.json").read_text())["scores"]) == {"gini", "region:gini", "msp", "max_logit"}
    assert capsys.readouterr().out.count(".npy (60, 120)") == 2


def test_own_segmenter(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    example = importlib.import_module("own_segmenter")
    Image.fromarray(SyntheticStreets("train", 1, (128, 256))[0].image).save("street.jpg")
    settings = "--embedder.steps 20 --embedder.batch 64 --fit.images 8 --fit.coreset 200 --fit.reference 200 --quiet"
    instead = {
        "--out my-world": f"--out my-world {settings}",
        "PYTHONPATH=examples": "",
        "--train 60 --val 4": "--train 12",
    }
    followed(blocks("own-segmenter"), instead, lambda words: example.train(Path(words[1]), 80))
    said = capsys.readouterr().out
    assert "decoder 24 channels, stride 8" in said
    assert said.rstrip().endswith("car")


def test_every_tutorial_is_run() -> None:
    run = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in FOLDER.glob("*.md")} <= run
