"""The examples run as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quickstart(trained: Path) -> None:
    said = script("examples/quickstart.py").main(str(trained), (48, 96))
    assert said[-1].endswith("bit for bit as before: True")
    assert "unknown regions" in said[0]


def test_own_segmenter() -> None:
    said = script("examples/own_segmenter.py").main()
    assert said[0] == "decoder: 24 channels, stride 8"
    assert said[-1].startswith("17 classes;")


def test_the_readme_s_picture(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    words = ["--world", str(trained), "--out", str(tmp_path / "new" / "loop.jpg"), "--streets", "2", "--shots", "1"]
    path = script("docs/make_pictures.py").main([*words, "--width", "200"])
    with Image.open(path) as picture:
        assert picture.size == (2 * 200 + 3 * 8, 2 * (100 + 26) + 3 * 8)
    assert "2 validation streets, seed 0" in capsys.readouterr().out
