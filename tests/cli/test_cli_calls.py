"""How calls are read: commands, options, help, exit codes, the shape of errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from ignota.cli import main
from ignota.cli.commands import COMMANDS
from ignota.cli.parsing import OLD_SPELLINGS, Parser

# the contract, word for word
CONTRACT = {
    "demo": "demo [--out DIR]",
    "run": "run PRESET|FILE.yaml --out DIR [--data ROOT] [--key value …]",
    "adapt": "adapt SEGMENTER --data ROOT --out WORLD",
    "init": "init WORLD [--from WORLD]",
    "segment": "segment IMAGE… [--world WORLD] --out DIR",
    "learn": "learn NAME --image I --mask M [--image I --mask M …] --world WORLD",
    "forget": "forget NAME --world WORLD",
    "history": "history [--world WORLD] [--json]",
    "rename": "rename NAME NEW --world WORLD",
    "merge": "merge NAME INTO --world WORLD",
    "recolour": "recolour NAME COLOUR --world WORLD",
    "undo": "undo [--event N] --world WORLD",
    "serve": "serve --world WORLD",
    "classes": "classes [--world WORLD] [--json]",
    "evaluate anomaly": (
        "evaluate anomaly DATASET --data ROOT [--split S] [--world WORLD] [--scores a,b,…] [--protocol dmlnet]"
        " --json FILE"
    ),
    "evaluate incremental": (
        "evaluate incremental DATASET --data ROOT [--split S] [--world WORLD] [--methods raml,npm,…] [--shots N]"
        " [--support ROOT] --json FILE"
    ),
    "evaluate closed": "evaluate closed DATASET --data ROOT [--split S] [--world WORLD] [--json FILE]",
    "evaluate wild": (
        "evaluate wild DATASET --data ROOT [--split S] [--world WORLD] [--given mask|object] [--pairs A:B,…]"
        " [--known NAME --known-data ROOT] --json FILE"
    ),
    "export-labels": "export-labels FORMAT SOURCE --out DIR",
    "import-labels": "import-labels FORMAT SOURCE --out DIR",
    "data check": "data check",
    "data synthesize": "data synthesize",
}
LATER = {
    "maps", "compare", "fit", "reproduce", "discover", "suggest", "export", "benchmark", "seal", "upgrade", "push",
    "pull", "calibrate",
}  # fmt: skip
EVERYWHERE = ("--device", "--size", "--seed", "--quiet", "--verbose", "--version", "--help")


def test_every_command_is_in_the_contract() -> None:
    assert {name.partition(" ")[0] for name in COMMANDS} <= {name.partition(" ")[0] for name in CONTRACT} | LATER
    assert set(CONTRACT) <= set(COMMANDS)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_overview_lists_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert any(
            line.split("  ")[1] == name and command.summary in line for line in shown.splitlines() if line[:2] == "  "
        )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_usage_options_and_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: ignota {CONTRACT.get(name, name)}" in shown
    example = shown.rpartition("example: ")[2].strip()
    assert example.startswith(f"ignota {name}")
    assert all(option in shown for option in EVERYWHERE)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_use_only_options_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*name.split(), "--help"])
    shown = capsys.readouterr().out
    options, _, example = shown.rpartition("example: ")
    for word in example.split():
        if word.startswith("--"):
            assert f"{word} " in options


@pytest.mark.parametrize("words", [["--version"], ["segment", "--version"], ["data", "check", "--version"]])
def test_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("ignota 0.")


@pytest.mark.parametrize("name", ["evaluate", "data"])
def test_groups_list_their_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all((f"  {command}  " in shown) == command.startswith(name) for command in COMMANDS)


OLD_CALLS = {
    "--allow_code": ("classes", ["--allow_code"], "allow_code", True),
    "--allow_download": ("classes", ["--allow_download"], "allow_download", True),
    "--target_fpr": ("calibrate", ["a.png", "--world", "w", "--target_fpr=0.02"], "target_fpr", 0.02),
}


@pytest.mark.parametrize("option", OLD_SPELLINGS)
def test_old_spellings_are_accepted_and_hidden(option: str) -> None:
    command, words, key, value = OLD_CALLS[option]
    parser = Parser(command)
    assert parser.parse(words)[key] == value
    assert option not in parser.format_help() and OLD_SPELLINGS[option] in parser.format_help()


def test_the_help_lists_every_data_set() -> None:
    from ignota.cli.data_sets import NAMES
    from ignota.data.datasets import DATASETS

    assert set(NAMES.split(", ")) == set(DATASETS)


WRONG_CALLS = {
    "unknown command": (["segmnt"], "did you mean 'segment'"),
    "unknown option before a command": (["--quite"], "no command '--quite'"),
    "group alone": (["evaluate"], "evaluate anomaly, evaluate closed, evaluate incremental"),
    "unknown inner command": (["evaluate", "anomalie"], "did you mean 'evaluate anomaly'"),
    "unknown option": (["segment", "a.png", "--ot", "d"], "did you mean '--out'"),
    "unknown short option": (["segment", "a.png", "--out", "d", "-q"], "-q"),
    "missing option": (["segment", "a.png"], "--out"),
    "missing argument": (["segment", "--out", "d"], "IMAGES"),
    "option without value": (["segment", "a.png", "--out"], "--out"),
    "too many arguments": (["forget", "a", "b", "--world", "w"], "b"),
    "device": (["segment", "a.png", "--out", "d", "--device", "cdua"], "did you mean 'cuda'"),
    "size is no number": (
        ["segment", "a.png", "--out", "d", "--size", "big"],
        "--size wants a whole number, not 'big'",
    ),
    "size too small": (["segment", "a.png", "--out", "d", "--size", "0"], "32 to 8192"),
    "seed below zero": (["segment", "a.png", "--out", "d", "--seed", "-1"], "from 0 to 4294967295, not -1"),
    "size negative": (["segment", "a.png", "--out", "d", "--size", "-5"], "32 to 8192"),
    "protocol": (["evaluate", "anomaly", "camvid", "--protocol", "dmlnt"], "did you mean 'dmlnet'"),
    "data set": (["evaluate", "anomaly", "camvit", "--data", "."], "did you mean 'camvid'"),
    "data set without root": (["evaluate", "anomaly", "camvid"], "--data ROOT"),
    "root that is not there": (["evaluate", "anomaly", "camvid", "--data", "nowhere"], "no such folder"),
    "shots": (["evaluate", "incremental", "camvid", "--shots", "0"], "--shots is 1 or more"),
    "method": (["evaluate", "incremental", "camvid", "--methods", "ralm"], "did you mean 'raml'"),
    "world": (["classes", "--world", "nowhere"], "no world 'nowhere'"),
    "preset": (["run", "camvit-11", "--out", "d"], "did you mean 'camvid-11'"),
    "key": (["run", "camvid-11", "--out", "d", "--closed_set.step", "3"], "did you mean '--closed_set.steps'"),
    "value of a key": (
        ["run", "camvid-11", "--out", "d", "--closed_set.steps", "many"],
        "--closed_set.steps wants a whole number, not 'many'",
    ),
    "choice of a key": (
        ["run", "camvid-11", "--out", "d", "--segmenter.architecture", "pspnett"],
        "did you mean 'pspnet'",
    ),
    "null for a key": (["run", "camvid-11", "--out", "d", "--closed_set.steps", "null"], "--closed_set.steps wants"),
    "no number for a key": (["run", "camvid-11", "--out", "d", "--closed_set.dice", ".nan"], "--closed_set.dice wants"),
    "list of a key": (["run", "camvid-11", "--out", "d", "--closed_set.crop", "[1]"], "a list [a whole number"),
    "split of a preset": (["run", "camvid-11", "--out", "d", "--data.split", "camvid:8+4"], "did you mean '8+3'"),
    "size of what is seen": (["run", "camvid-11", "--out", "d", "--fit.magnify", "0"], "is in 0.25..4"),
    "label format": (["import-labels", "cocoa", ".", "--out", "d"], "did you mean 'coco'"),
    "nothing to export": (["export-labels", "coco", ".", "--out", "d"], "neither classes.yaml nor *_labels.png"),
    "nothing to import": (["import-labels", "coco", "nowhere", "--out", "d"], "nothing is there"),
    "layout": (["data", "synthesize", "d", "--layout", "camvit"], "did you mean 'camvid'"),
    "size of scenes": (["data", "synthesize", "d", "--layout", "camvid", "--size", "axb"], "256x512"),
    "no such split of a layout": (["data", "synthesize", "d", "--layout", "smiyc", "--train", "3"], "has no train"),
    "data set to check": (["data", "check", "cityscape", "."], "did you mean 'cityscapes'"),
    "synthetic to check": (["data", "check", "synthetic", "."], "is drawn, not read"),
    "empty image": (["segment", "", "--out", "d"], "a word of the call is empty"),
    "empty world": (["segment", "a.png", "--world", "", "--out", "d"], "a word of the call is empty"),
    "empty world, by =": (["classes", "--world="], "a word of the call is empty"),
    "image without mask": (["learn", "x", "--image", "a.png", "--world", "w"], "1 --image and 0 --mask"),
    "on without preview": (["learn", "x", "--image", "a", "--mask", "m", "--on", "b", "--world", "w"], "--preview"),
    "fewer --not": (
        ["learn", "x", "--image", "a", "--image", "b", "--not", "n", "--world", "w"],
        "2 --image and 1 --not: give each image its --not",
    ),
    "pairs": (["evaluate", "wild", "road_anomaly_21", "--pairs", "2-3"], "--pairs are A:B"),
    "no example": (["learn", "x", "--world", "w"], "0 --image and 0 --mask"),
    "segmenter's data set": (["adapt", "m.pt2", "--out", "w", "--data", "."], "--dataset"),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_wrong_calls_end_with_2_and_one_line(
    case: str, wrong: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, part = WRONG_CALLS[case]
    assert part in wrong(*words)


WRONG_FILES = {
    "unknown key": ("closed_set:\n  stepss: 3\n", "did you mean 'closed_set.steps'"),
    "wrong type": ("closed_set:\n  steps: many\n", "closed_set.steps wants a whole number, not 'many'"),
    "group as a value": ("closed_set: 3\n", "closed_set is a group"),
    "no yaml": ("{a: [", "is no YAML"),
    "no settings": ("3\n", "holds no settings"),
    "empty": ("", "holds no settings"),
    "unknown split": ("data: {split: 'camvid:9+2'}\n", "no split '9+2'"),
    "null": ("closed_set:\n  steps: null\n", "closed_set.steps wants a whole number, not 'None'"),
    "null in a list": ("closed_set:\n  crop: [null, 3]\n", "closed_set.crop wants a list"),
    "null for a group": ("closed_set: null\n", "closed_set is a group"),
    "no number": ("closed_set:\n  encoder_lr: .nan\n", "closed_set.encoder_lr wants a number, not 'nan'"),
    "infinite number in a list": ("closed_set:\n  scale: [1, .inf]\n", "closed_set.scale wants a list"),
    "aliases that expand": (
        "a: &a [x, x]\n" + "".join(f"{c}: &{c} [{', '.join(4 * [f'*{p}'])}]\n" for p, c in pairwise("abcdefghijk")),
        "aliases expand",
    ),
    "deep": ("[" * 4000, "nested deeper"),
    "no date": ("seed: 2001-99-99\n", "is no YAML"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_experiment_files(case: str, wrong: Callable[..., str], tmp_path: Path) -> None:
    text, part = WRONG_FILES[case]
    (tmp_path / "mine.yaml").write_text(text)
    assert part in wrong("run", tmp_path / "mine.yaml", "--out", tmp_path / "out")


def test_missing_experiment_file(wrong: Callable[..., str], tmp_path: Path) -> None:
    assert "no file" in wrong("run", tmp_path / "mine.yaml", "--out", tmp_path / "out")


def _process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ignota", *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )


def test_help_of_every_command_loads_no_torch() -> None:
    calls = "; ".join(f"main({[*name.split(), '--help']!r})" for name in COMMANDS)
    code = (
        f"from ignota.cli import main; {calls}; import sys; sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_input_as_a_process(tmp_path: Path) -> None:
    done = _process("segment", str(tmp_path / "none.png"), "--world", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("ignota: ")
    assert done.stderr.count("\n") == 1


INTERRUPTED = """
import builtins, runpy, sys
inner, name = builtins.__import__, sys.argv.pop(1)
def load(wanted, *rest, **named):
    if wanted == name:
        raise KeyboardInterrupt
    return inner(wanted, *rest, **named)
builtins.__import__ = load
runpy.run_module("ignota", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["ignota.cli", "ignota.heap", "jsonargparse", "ignota.storage", "torch"])
def test_a_call_that_is_stopped_while_it_starts_says_so_in_one_line(module: str) -> None:
    words = [sys.executable, "-c", INTERRUPTED, module, "classes"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ignota: stopped; run the same command again to go on\n"


def test_a_reader_that_leaves_early_is_no_failure() -> None:
    script = f"{sys.executable} -m ignota --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_a_system_without_posix_locks_is_refused_in_one_line() -> None:
    code = "import sys; sys.modules['fcntl'] = None; sys.argv[1:] = ['classes']; from ignota.__main__ import main; "
    code += "sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ignota: this system has no POSIX file locks: on Windows, run ignota in WSL 2 or Docker\n"
