"""Completion as a shell does it: the script is sourced, a word is completed, no Python is started."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ignota.cli import main
from ignota.cli.commands import COMMANDS
from ignota.cli.completion import OPTION, SHELLS, completion

BASH = """
words=($1)
[[ $1 == *" " ]] && words+=("")
COMP_WORDS=("${words[@]}") COMP_CWORD=$((${#words[@]} - 1))
source /dev/stdin
PATH=
_shtab_ignota ignota "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""
COMPLETED = {
    "ignota seg": {"segment"},
    "ignota evaluate a": {"anomaly"},
    "ignota segment --bac": {"--backend"},
    "ignota segment --allow": {"--allow-code", "--allow-download"},
    "ignota segment --backend onnx": {"onnx", "onnx-int8"},
    "ignota evaluate anomaly lost": {"lost_and_found"},
    "ignota run camvid-1": {"camvid-11"},
    "ignota segment --engine r": {"ray"},
    "ignota --print-completion z": {"zsh"},
}


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    return {shell: completion([shell]) for shell in SHELLS}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize("line", COMPLETED)
def test_a_word_is_completed(shell: str, line: str, scripts: dict[str, str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    call = [shell, "-c", BASH, "_", line]
    if shell == "fish":
        call = [shell, "--no-config", "-c", f"source -; complete -C '{line}' | string replace -r '\\t.*' ''"]
    done = subprocess.run(call, input=scripts[shell], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) == COMPLETED[line], done.stderr


def test_every_shell_is_told_of_every_command_and_option(scripts: dict[str, str]) -> None:
    for shell, script in scripts.items():
        assert all(name.rpartition(" ")[2] in script for name in COMMANDS), shell
        assert all(option in script for option in ("verbose", "allow-code", "again-errors", "print-completion")), shell
        assert "allow_code" not in script.replace("_allow_code", ""), shell  # as people write it; names in bash aside


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], scripts: dict[str, str]) -> None:
    assert main([OPTION, "zsh"]) == 0
    assert capsys.readouterr().out == scripts["zsh"]
    for words in ([], ["bsh"], ["bash", "zsh"]):
        assert main([OPTION, *words]) == 2
        assert "takes bash, zsh or fish" in capsys.readouterr().err
