"""Runs the commands that a result page names, and keeps their figures for `experiments.render`.

    IGNOTA_DATA=data python -m experiments.measure PAGE … [--measured experiments/measured]

A page whose module in experiments/pages has COMMANDS is measured so. A file or folder that is already there is kept:
delete it to measure it again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from experiments.render import PAGES


def commands(page: str) -> tuple[str, ...]:
    """The command lines of a page, in order; none where it is measured by a program of its own."""
    return getattr(import_module(f"experiments.pages.{page}"), "COMMANDS", ())


def made(line: str, folder: Path) -> tuple[list[str], Path]:
    """The words to run and the file or folder that they make: FILE after `--json` lies in `folder`."""
    words = shlex.split(os.path.expandvars(line))
    option = "--json" if "--json" in words else "--out"
    place = words.index(option) + 1
    if option == "--json":
        words[place] = str(folder / words[place])
    return words, Path(words[place])


def measure(page: str, folder: Path) -> None:
    """Runs what is missing; raises CalledProcessError where a command fails."""
    for line in commands(page):
        words, target = made(line, folder)
        if target.exists():
            continue
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", *words], check=True)


def main(words: Sequence[str] | None = None) -> None:
    measurable = [name for name in PAGES if commands(name)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", metavar="PAGE", choices=measurable, help=", ".join(measurable))
    parser.add_argument("--measured", type=Path, default=Path("experiments/measured"))
    args = parser.parse_args(words)
    for page in args.pages:
        measure(page, args.measured / page)


if __name__ == "__main__":
    main()
