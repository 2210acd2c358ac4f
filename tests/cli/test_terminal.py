"""What a terminal would act on is shown, never sent to it: names come from worlds that people exchange."""

from __future__ import annotations

import json
import logging
import re
import time
from pathlib import Path

import pytest

from ignota.cli import main
from ignota.cli.outcome import Boundary, plain
from ignota.cli.terminal import complain, logging_here, note, progress, say, say_json, show_table
from ignota.structures import InputError

NASTY = "a\x1b[31mb\x07c\x9bd\x7fe\u202ef\udcff"
SHOWN = r"a\x1b[31mb\x07c\x9bd\x7fe\u202ef\udcff"


def test_control_and_format_characters_become_escapes_and_others_stay() -> None:
    assert plain(NASTY) == SHOWN
    for text in ("Straße, 道路, 🚗 40 %", "one\ntwo\tthree", "a b c", ""):
        assert plain(text) == text


def test_nothing_that_is_printed_holds_any(capsys: pytest.CaptureFixture[str]) -> None:
    say(NASTY)
    note(NASTY)
    show_table(NASTY, (NASTY, "b"), [(NASTY, NASTY)])
    with pytest.raises(InputError):
        complain([InputError(NASTY), InputError("last")])
    with Boundary():
        raise InputError(NASTY)
    out, err = capsys.readouterr()
    for text in (out, err):
        assert SHOWN in text.replace("\n", "")
        assert all(letter.isprintable() or letter == "\n" for letter in text)


def test_json_keeps_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    for value in ({"name": NASTY}, {"name": "道路"}):
        say_json(value)
        text = capsys.readouterr().out
        assert json.loads(text) == value and all(letter.isprintable() or letter == "\n" for letter in text)
    assert "道路" in text


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_in_a_pipe_is_lines(
    quiet: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress(3, "short", "image", quiet) as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("ignota.progress.SELDOM", 0.01)
    for total in (3, 0):
        with progress(total, "long", "image", quiet) as bar:
            for _ in range(3):
                time.sleep(0.02)
                bar.update()
                bar.set_postfix_str("loss 0.5", refresh=False)
        written = capsys.readouterr().err
        assert "\r" not in written and written.endswith("\n") is not quiet
        lines = written.splitlines()
        start = "long: 3 of 3 images (100 %), " if total else "long: 3 images, "
        assert quiet or (len(lines) == 3 and lines[-1].startswith(start) and lines[-1].endswith(", loss 0.5")), written


def test_the_last_state_is_written_where_one_was_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ignota.progress.SELDOM", 0.05)
    with progress(9, "long", "image", quiet=False) as bar:
        time.sleep(0.06)
        for _ in range(9):
            bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert [line[: len("long: 1 of")] for line in lines] == ["long: 1 of", "long: 9 of"]


def test_verbose_writes_what_the_loggers_are_told_and_nothing_else_does(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = re.compile(r"^\d\d:\d\d:\d\d ignota(\.\w+)+: opened .*my-world for reading: World\(", re.MULTILINE)
    for words, expected in ((["--verbose"], 1), ([], 0), (["--verbose", "--quiet"], 1)):
        assert main(["classes", "--world", str(world), *words]) == 0
        out, err = capsys.readouterr()
        assert "ignota.world" not in out and len(said.findall(err)) == expected, err
    with logging_here():
        logging.getLogger("ignota.anywhere").debug(NASTY)
    assert capsys.readouterr().err.endswith(f"ignota.anywhere: {SHOWN}\n")
