"""Pages of the site that are generated: command line, code of the equations, and what documents link to outside docs/.

mkdocs calls the functions `on_…` (mkdocs.yml names this file). README.md is the home page, CHANGELOG.md a page too; any
other linked file of the repository becomes a page below source/.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_FUNCTIONS = re.compile(r"`([\w/]+)\.py`: ((?:`\w+`(?:, )?)+)")
_LANGUAGES = {".py": "python", ".sh": "sh", ".sbatch": "sh", ".ipynb": "json", ".cff": "yaml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those in docs/."""
    texts = {Path("docs", file.src_uri): file.content_string for file in files.documentation_pages()}
    texts |= {Path(name): (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
    pages = {PAGES[name]: texts[Path(name)] for name in PAGES}
    pages["reference/command-line.md"] = command_line()
    pages["reference/equations-code.md"] = equations_code(texts[Path("docs/equations.md")])
    for place, text in texts.items():
        for _, target in _LINK.findall(text):
            path = inside(place, target)
            if path is not None and (ROOT / path).is_file() and not path.startswith("docs/") and path not in PAGES:
                pages[source_page(path)] = source(path)
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to pages of the site, functions of the equations to their code."""
    uri = page.file.src_uri
    place = next((Path(name) for name, moved in PAGES.items() if moved == uri), Path("docs", uri))

    def led(match: re.Match[str]) -> str:
        text, target = match[1], match[2]
        path = inside(place, target)
        if path is None:
            return match[0]
        if (ROOT / path).is_dir():
            return text.strip("[]")
        _, hash_, anchor = target.partition("#")
        moved = PAGES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else source_page(path))
        return f"{text}({posixpath.relpath(moved, posixpath.dirname(uri) or '.')}{hash_}{anchor})"

    if uri == "equations.md":
        markdown = _FUNCTIONS.sub(coded, markdown)
    return _LINK.sub(led, markdown)


def inside(place: Path, target: str) -> str | None:
    """The file that a link in the document `place` names; None for an address, a place on the page, or nothing."""
    name = target.partition("#")[0]
    if "://" in target or not name:
        return None
    path = posixpath.normpath(posixpath.join(place.parent.as_posix(), name))
    return path if (ROOT / path).exists() else None


def source_page(path: str) -> str:
    return f"source/{path}.md"


def source(path: str) -> str:
    """A file of the repository as a page."""
    language = _LANGUAGES.get(Path(path).suffix, "text")
    return f"# {path}\n\n~~~~{language}\n{(ROOT / path).read_text(encoding='utf-8').rstrip()}\n~~~~\n"


def command_line() -> str:
    """Every command with its help, from the parsers."""
    from ignota.cli.commands import COMMANDS
    from ignota.cli.parsing import Parser

    os.environ["COLUMNS"] = "110"
    text = "# Command line\n\nExit codes: 0 done, 1 the work failed, 2 the call or the input is wrong.\n\n"
    text += "| command | does |\n|---|---|\n"
    text += "".join(
        f"| [`{name}`](#ignota-{name.replace(' ', '-')}) | {command.summary} |\n" for name, command in COMMANDS.items()
    )
    for name in COMMANDS:
        shown = Parser(name).format_help().rstrip()
        text += f"\n## ignota {name}\n\n```text\n{shown}\n```\n"
    return text


def equations_code(page: str) -> str:
    """The functions that the page of equations names, each with its source."""
    names = dict.fromkeys(
        f"ignota.{file.replace('/', '.')}.{name}"
        for file, names in _FUNCTIONS.findall(page.partition("## ")[0])
        for name in re.findall(r"\w+", names)
    )
    blocks = (f"::: {name}\n    options: {{show_source: true, heading_level: 2}}\n" for name in names)
    return "# Code of the equations\n\n[The equations](../equations.md) name these functions.\n\n" + "\n".join(blocks)


def coded(match: re.Match[str]) -> str:
    """A file and its functions, each linked to its code."""
    module = f"ignota.{match[1].replace('/', '.')}"
    return f"`{match[1]}.py`: " + re.sub(r"`(\w+)`", rf"[`\1`][{module}.\1]", match[2])
