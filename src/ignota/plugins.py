"""What a plugin imports, and how one is loaded: anomaly scores and data sets of one's own in every command.

A plugin is a Python file that adds entries to FITTED_SCORES or DATASETS, named on the command line by --plugin, or an
installed package with entry points `ignota.scores` (an AnomalyScore, its class, or what makes one from the size of
coresets and the number of neighbours) and `ignota.datasets` (a Layout). No document causes a file to be loaded.
"""

from __future__ import annotations

import hashlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ignota.data.datasets import DATASETS, DRAWN
from ignota.data.files import one_line
from ignota.data.listing import Layout, Listing, Pair, class_table, pictures, value_table
from ignota.perception.branch import BRANCH_SCORES
from ignota.perception.reading import OBJECTNESS, OWN, PRINTED, RELEASED
from ignota.scores.detectors import from_pytorch_ood
from ignota.scores.fitted_scores import FITTED_SCORES
from ignota.scores.logit_scores import LOGIT_SCORES, LogitScore
from ignota.scores.score import AnomalyScore, State, stacked
from ignota.structures import InputError

__all__ = [
    "DATASETS", "FITTED_SCORES", "AnomalyScore", "Layout", "Listing", "LogitScore", "Pair", "State", "class_table",
    "from_pytorch_ood", "load_plugin", "load_plugins", "pictures", "stacked", "value_table",
]  # fmt: skip

GROUPS: Final = ("ignota.scores", "ignota.datasets")
_CATALOGUES: Final[tuple[dict[str, Any], dict[str, Any]]] = (FITTED_SCORES, DATASETS)
_KINDS = ("score", "data set")
_TAKEN = ({*LOGIT_SCORES, *BRANCH_SCORES, "knn", OWN, PRINTED, RELEASED, OBJECTNESS}, {DRAWN})
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SOURCES: dict[tuple[str, str], str] = {}
"""Kind and name of every entry that a plugin brought -> the plugin."""


def load_plugin(file: str | Path) -> tuple[str, ...]:
    """Runs a plugin's file; returns the names of what it brings. A file that is loaded again replaces its own entries.

    Raises InputError where it cannot be read or run, brings nothing, or brings what has the name of something else;
    then the catalogues are as before.
    """
    path = Path(file)
    if path.suffix != ".py":
        raise InputError(f"a plugin is a Python file, FILE.py, not {one_line(file)}")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError(f"no plugin {one_line(path)} ({error.strerror}): name a file that is there") from None
    name = f"ignota_plugin_{hashlib.sha256(source).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    with _entries_of(str(path.resolve())) as brought:
        sys.modules[name] = module
        if (folder := str(path.resolve().parent)) not in sys.path:
            sys.path.append(folder)  # modules beside it are a plugin's as those beside a script are
        try:
            exec(compile(source, str(path), "exec"), vars(module))
        except (Exception, SystemExit) as error:
            raise InputError(f"the plugin {one_line(path)} {_fault(error, str(path))}") from error
    return tuple(brought)


def load_plugins(files: Sequence[str | Path]) -> list[InputError]:
    """Loads the entry points of installed packages, then files; returns what is wrong with packages. Raises InputError
    for a file, which somebody has asked for."""
    faults = []
    for group, catalogue, wrapped in zip(GROUPS, _CATALOGUES, (_maker, lambda found, _: found), strict=True):
        for point in entry_points(group=group):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            try:
                with _entries_of(package):
                    catalogue[point.name] = wrapped(_loaded(point), package)
            except InputError as error:
                faults.append(error)
    for file in files:
        load_plugin(file)
    return faults


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:
        raise InputError(f"the plugin {one_line(point.value)} {_fault(error, '')}") from error


def _maker(found: Any, package: str) -> Callable[[int, int], AnomalyScore]:
    """The entry of a score that a package brings; it tells the package's version, see `code_of`."""

    def make(coreset: int, neighbours: int) -> AnomalyScore:
        if isinstance(found, AnomalyScore):
            return found
        made: AnomalyScore = found() if isinstance(found, type) else found(coreset, neighbours)
        return made

    make.__module__ = package
    return make


@contextmanager
def _entries_of(source: str) -> Iterator[list[str]]:
    """Checks what its block adds to the catalogues, and gives the names; where anything fails, nothing is added."""
    before, owners = [dict(catalogue) for catalogue in _CATALOGUES], dict(_SOURCES)
    brought: list[str] = []
    try:
        yield brought
        for kind, catalogue, was, taken in zip(_KINDS, _CATALOGUES, before, _TAKEN, strict=True):
            if gone := was.keys() - catalogue.keys():
                raise InputError(f"the plugin {one_line(source)} takes the {kind} {sorted(gone)[0]!r} away")
            for name, entry in catalogue.items():
                own, new = _SOURCES.get((kind, name)) == source, name not in was or was[name] is not entry
                if new:
                    _check(source, kind, name, entry, not own and (name in was or name in taken))
                    _SOURCES[kind, name] = source
                if own or new:
                    brought.append(name)
        if not brought:
            raise InputError(f"the plugin {one_line(source)} brings nothing", "add to FITTED_SCORES or DATASETS")
    except BaseException:
        for catalogue, was in zip(_CATALOGUES, before, strict=True):
            catalogue.clear()
            catalogue.update(was)
        _SOURCES.clear()
        _SOURCES.update(owners)
        raise


def _check(source: str, kind: str, name: object, entry: object, taken: bool) -> None:
    where = f"the plugin {one_line(source)} brings a {kind}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{where} called {one_line(name)!r}: a name is of small letters, digits and _")
    if taken:
        raise InputError(f"{where} called {name!r}, which there is already: choose another name")
    if kind == "data set" and not isinstance(entry, Layout):
        raise InputError(f"{where} {name!r} that is a {type(entry).__name__}, no Layout")
    if kind == "score" and not callable(entry):
        raise InputError(f"{where} {name!r} that is a {type(entry).__name__}: an entry makes the score when called")


def _fault(error: BaseException, file: str) -> str:
    """What ended a plugin, and in which line of its file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    place = f", line {lines[-1]}" if lines else ""
    return f"cannot be loaded ({type(error).__name__}{place}: {one_line(' '.join(str(error).split()))[:200]})"
