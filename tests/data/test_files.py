import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ignota.data.files import natural_key, one_line, write_atomically, write_json
from ignota.structures import InputError


def test_write_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_json_makes_its_folder_and_holds_no_nan_where_it_is_compact(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": "ä", "b": [1, 2]})
    assert json.loads(path.read_text("utf-8")) == {"a": "ä", "b": [1, 2]}
    write_json(path, {"a": "ä", "b": [1, 2]}, compact=True)
    assert path.read_bytes() == '{"a":"ä","b":[1,2]}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, [float("nan")], compact=True)


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="no space left") as caught:
        write_atomically(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_interruption_leaves_no_part(tmp_path, monkeypatch):
    def stop(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.bin", b"new")
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_the_callers_mistake(tmp_path):
    with pytest.raises(InputError, match="name a folder that exists"):
        write_atomically(tmp_path / "no" / "a.bin", b"new")


def test_natural_order():
    names = ["10.png", "2.png", "a10", "a9", "1.png", "02.png"]
    assert sorted(names, key=natural_key) == ["1.png", "02.png", "2.png", "10.png", "a9", "a10"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=6))
def test_natural_order_does_not_depend_on_the_input_order(names):
    keys = {name: natural_key(name) for name in names}
    assert len(set(keys.values())) == len(set(names))
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_errors_stay_on_one_line():
    assert one_line(Path("a\nb\r\x1b[31m")) == "a\ufffdb\ufffd\ufffd[31m"
