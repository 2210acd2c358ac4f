"""Code that was allowed once: by its files, on this machine alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ignota.models.allowed_code import is_allowed, remember, state_file
from ignota.models.tapped import from_factory
from ignota.structures import InputError

CODE = """
from torch import nn
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1))
def other():
    return network()
"""
OPTIONS = {"layers": {"first": "0"}, "multiple": 2}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "an_allowed_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    forget_imports()
    return package / "nets.py"


def forget_imports() -> None:
    for name in [name for name in sys.modules if name.startswith("an_allowed_package")]:
        del sys.modules[name]


def test_allowed_once_is_allowed_again(module: Path) -> None:
    factory = "an_allowed_package.nets:network"
    with pytest.raises(InputError, match="allow_code=True"):
        from_factory(factory)
    assert "an_allowed_package" not in sys.modules  # nothing ran to find out
    from_factory(factory, allow_code=True, **OPTIONS)
    forget_imports()
    assert from_factory(factory, **OPTIONS).num_classes == 5
    with pytest.raises(InputError, match="allow_code=True"):  # another function of the same file
        from_factory("an_allowed_package.nets:other")
    text = state_file().read_text()
    assert str(module) in text and str(module.parent / "__init__.py") in text
    assert state_file().stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["nets.py", "__init__.py"])
def test_a_changed_file_is_asked_about_again(module: Path, name: str) -> None:
    factory = "an_allowed_package.nets:network"
    from_factory(factory, allow_code=True, **OPTIONS)
    forget_imports()
    (module.parent / name).write_text(CODE + "# changed\n")
    with pytest.raises(InputError, match="allow_code=True"):
        from_factory(factory)


def test_the_same_name_elsewhere_is_asked_about(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = "an_allowed_package.nets:network"
    from_factory(factory, allow_code=True, **OPTIONS)
    forget_imports()
    other = tmp_path / "elsewhere" / "an_allowed_package"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("")
    (other / "nets.py").write_text(CODE)
    monkeypatch.syspath_prepend(other.parent)
    assert not is_allowed(factory)


def test_damaged_and_unwritable_states(module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = "an_allowed_package.nets:network"
    for text in ("", "[]", "{", '{"an_allowed_package.nets:network": 3}', "[" * 5000):
        state_file().parent.mkdir(parents=True, exist_ok=True)
        state_file().write_text(text)
        assert not is_allowed(factory)
    remember(factory)
    assert is_allowed(factory) and not is_allowed("sys:exit") and not is_allowed("no_such_module:f")
    remember("sys:exit")  # has no file
    assert not is_allowed("sys:exit")
    (tmp_path / "file").touch()
    monkeypatch.setenv("IGNOTA_STATE", str(tmp_path / "file" / "below"))
    remember(factory)
    assert not is_allowed(factory)
