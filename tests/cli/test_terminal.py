"""What a terminal would act on is shown, never sent to it: names come from worlds that people exchange."""

from __future__ import annotations

import json
import time

import pytest

from ignota.cli.outcome import Boundary, plain
from ignota.cli.terminal import complain, note, progress, say, say_json, show_table
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


def test_progress_in_a_pipe_is_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress(3, "short", "image", quiet=False) as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("ignota.cli.terminal._SELDOM", 0.01)
    for quiet in (False, True):
        with progress(3, "long", "image", quiet) as bar:
            for _ in range(3):
                time.sleep(0.02)
                bar.update()
        assert ("long" in capsys.readouterr().err) is not quiet
