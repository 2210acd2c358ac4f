"""Code allowed on this machine: factories identified by their files, stored outside every world.

`package.module:function` is remembered with path and SHA-256 of its module and of the packages above it, so that
a file that was changed or lies elsewhere is asked about again. What these import in turn is not looked at.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

VARIABLE = "IGNOTA_STATE"
FILE = "allowed-code.json"
_LARGEST = 1_000_000


def state_file() -> Path:
    """In $IGNOTA_STATE, or in `ignota` in the user's folder of states."""
    given = os.environ.get(VARIABLE)
    usual = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "ignota"
    return (Path(given) if given else usual) / FILE


def is_allowed(factory: str) -> bool:
    """Whether this factory was allowed before, in just these files; nothing is imported to find out."""
    files = _files(factory.partition(":")[0])
    return files is not None and files in _entries().get(factory, [])


def remember(factory: str) -> None:
    """Keeps that the factory was allowed; a folder that cannot be written to keeps nothing."""
    files = _files(factory.partition(":")[0])
    entries = _entries()
    if files is None or files in entries.get(factory, []):
        return
    text = json.dumps(entries | {factory: [*entries.get(factory, []), files]}, indent=2)
    path = state_file()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".")  # for its owner's eyes alone
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(draft).replace(path)


def _entries() -> dict[str, list[Any]]:
    """{factory: [{path: SHA-256}, …]}; empty where the file is missing or damaged."""
    path = state_file()
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.stat().st_size <= _LARGEST else {}
    except (OSError, ValueError, RecursionError):
        return {}
    kept = found.items() if isinstance(found, dict) else ()
    return {name: files for name, files in kept if isinstance(files, list)}


def _files(module: str) -> dict[str, str] | None:
    """The files that importing a module runs, with their SHA-256; None where they cannot all be determined."""
    found: dict[str, str] = {}
    places: Any = None
    names = module.split(".")
    for depth in range(len(names)):
        spec = _spec(".".join(names[: depth + 1]), places)
        if spec is None or (spec.origin is not None and not spec.has_location):  # built in, or frozen
            return None
        if spec.origin is not None:
            try:
                path = Path(spec.origin).resolve()
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                return None
        places = spec.submodule_search_locations
    return found or None


def _spec(name: str, places: Any) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which would import the packages above."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded
    for finder in sys.meta_path:
        spec = finder.find_spec(name, places)
        if spec is not None:
            return spec
    return None
