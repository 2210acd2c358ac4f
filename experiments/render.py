"""Builds the result pages in docs/ from measured figures; no figure on them is typed by hand.

    python -m experiments.render [PAGE …] [--measured experiments/measured]

PAGE is a name of PAGES; without any, all pages whose figures are there. The figures of a page lie in the folder
MEASURED/PAGE: the docstring of its module in experiments/pages says which files. A measurement is repeated by the
command that its page names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = {
    "architecture": "architecture.md",
    "backends": "performance-backends.md",
    "branches": "branches.md",
    "calibrate": "calibrate.md",
    "compared": "compared.md",
    "objects": "objects.md",
    "paper": "paper.md",
    "performance": "performance.md",
    "results": "results.md",
    "scale": "scale.md",
    "wild": "wild.md",
}
"""The document of each module in experiments/pages."""


def rendered(name: str, measured: Path) -> str:
    """The text of a page with today's figures."""
    page = (DOCS / PAGES[name]).read_text(encoding="utf-8")
    return str(import_module(f"experiments.pages.{name}").written(page, measured / name))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(PAGES))
    parser.add_argument("--measured", type=Path, default=Path("experiments/measured"))
    args = parser.parse_args(words)
    if unknown := sorted({*args.pages} - {*PAGES}):
        parser.error(f"no page {unknown[0]!r}; there are: {', '.join(PAGES)}")
    there = [name for name in PAGES if name == "architecture" or (args.measured / name).is_dir()]
    for name in args.pages or there:
        (DOCS / PAGES[name]).write_text(rendered(name, args.measured), encoding="utf-8")
        module = import_module(f"experiments.pages.{name}")
        if hasattr(module, "pictures"):
            module.pictures(args.measured / name, DOCS)
        sys.stdout.write(f"docs/{PAGES[name]}\n")


if __name__ == "__main__":
    main()
