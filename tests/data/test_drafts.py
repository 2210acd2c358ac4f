"""Drafts take their place whole, and those of dead processes go, those of living ones stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ignota.data.drafts import draft_file, draft_folder, sweep
from ignota.data.files import write_atomically

WRITER = """
import sys, time
from pathlib import Path
from ignota.data.drafts import draft_file, draft_folder
with draft_file(Path(sys.argv[1])) as stream, draft_folder(Path(sys.argv[2])) as folder:
    stream.write(b"half")
    (folder / "inner").mkdir()
    (folder / "inner" / "file").touch()
    print("ready", flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_drafts_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    (tmp_path / ".mine.part").touch()  # not ours, by its name
    (tmp_path / ".file.0123456z.part").touch()
    words = [sys.executable, "-c", WRITER, tmp_path / "a.txt", tmp_path / "b[1]"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        try:
            assert len(names(tmp_path)) == 4
            sweep(tmp_path)
            sweep(tmp_path, "a.txt")
            assert len(names(tmp_path)) == 4  # it is alive
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    sweep(tmp_path, "b")
    sweep(tmp_path, "other")
    assert len(names(tmp_path)) == 4  # those have other names
    sweep(tmp_path, "b[1]")
    assert len(names(tmp_path)) == 3
    sweep(tmp_path)
    assert names(tmp_path) == [".file.0123456z.part", ".mine.part"]
    sweep(tmp_path / "nowhere")


def test_a_new_folder_starts_by_removing_what_is_dead(tmp_path: Path) -> None:
    dead = tmp_path / ".world.01234567.part"
    dead.mkdir()
    (dead / "weights").touch()
    with draft_folder(tmp_path / "world") as folder:
        (folder / "file").touch()
        assert not dead.exists()
        sweep(tmp_path)
        folder.replace(tmp_path / "world")
    assert names(tmp_path) == ["world"] and names(tmp_path / "world") == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_what_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(error), draft_file(path) as stream:
        stream.write(b"new")
        raise error
    with pytest.raises(error), draft_folder(tmp_path / "folder") as folder:
        (folder / "file").touch()
        raise error
    assert names(tmp_path) == ["file"] and path.read_bytes() == b"old"


def test_a_draft_that_was_swept_before_its_lock_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ignota.data import drafts

    lock, seen = drafts.fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if how == drafts.fcntl.LOCK_SH and not seen:
            seen.append(descriptor)
            sweep(tmp_path)
        lock(descriptor, how)

    monkeypatch.setattr(drafts.fcntl, "flock", late)
    write_atomically(tmp_path / "file", b"all")
    assert seen and names(tmp_path) == ["file"]
    seen.clear()
    with draft_folder(tmp_path / "folder") as folder:
        folder.replace(tmp_path / "folder")
    assert seen and names(tmp_path) == ["file", "folder"]


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(descriptor: int, how: int) -> None:
        raise OSError(os.strerror(95))

    monkeypatch.setattr("fcntl.flock", none)
    (tmp_path / ".file.01234567.part").touch()
    write_atomically(tmp_path / "file", b"all")
    sweep(tmp_path)
    assert names(tmp_path) == [".file.01234567.part", "file"]
