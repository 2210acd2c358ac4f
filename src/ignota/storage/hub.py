"""Worlds on a hub: a repository of a sealed world's files and nothing else, checked before and after the transfer.

Only a call reaches a hub: no document of a world names one. The hub is the one that huggingface_hub is set to, and who
one is there is its concern too (`hf auth login`, HF_TOKEN, HF_ENDPOINT).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ignota.exemplars.store import FILE
from ignota.storage import bundle
from ignota.storage.document import WEIGHTS, WORLD, BranchName, WorldDocument, branch_file
from ignota.storage.seals import LONGEST, read_document, read_json
from ignota.structures import InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_LOG = logging.getLogger(__name__)
FILES = frozenset({WORLD, WEIGHTS, FILE, *(branch_file(system) for system in get_args(BranchName))})
"""All that a world on a hub may consist of: safetensors, JSON and SQLite."""
LEFT_THERE = frozenset({".gitattributes", "README.md"})
"""Files that hubs make of their own accord; they are not fetched."""
LARGEST = {WORLD: LONGEST, FILE: 4 * 2**30}
"""Bytes of the files of which the document does not tell how large they are."""


def push(source: str | Path, repository: str, public: bool = False) -> str:
    """Writes a world, with what it was taught, to a repository in one commit, and returns the address of the commit.

    The repository is made where it is missing, for its owner alone unless `public`; a world in it is replaced. Raises
    InputError for a world or a repository with other files, such as an exported program, and for a hub that refuses.
    """
    with _reached() as hub, tempfile.TemporaryDirectory() as folder:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        draft = Path(folder) / "world"
        bundle.copy(source, draft)
        names = _names(read_document(draft), str(source))
        hub.create_repo(repository, private=not public, exist_ok=True)
        there = set(_sizes(hub, repository, None)[1])
        added = [CommitOperationAdd(name, draft / name) for name in names]
        gone = [CommitOperationDelete(name) for name in sorted(there - set(names))]
        _LOG.info("%s gets %s and loses %s", repository, names, sorted(there - set(names)))
        return str(hub.create_commit(repository, [*added, *gone], commit_message="A world of ignota").commit_url)


def pull(
    repository: str, out: Path, revision: str | None = None, tell: Callable[[str], object] = lambda _: None
) -> None:
    """Writes the world of a repository to `out`, every seal checked. revision: a branch, a tag or a commit.

    What it is made of is checked before it is fetched. tell: receives the name of each file. Raises InputError for
    files that belong to no world, a world that is damaged or not sealed, a taken `out`, and a hub that refuses.
    """
    if out.exists():
        raise InputError(f"{out} exists already: choose another name or remove it")
    with _reached() as hub, tempfile.TemporaryDirectory() as folder:
        commit, sizes = _sizes(hub, repository, revision)

        def fetch(name: str, most: int | None) -> None:
            if name not in sizes:
                raise InputError(f"{repository} holds no {name}: it is no world of ignota, or an incomplete one")
            if most is not None and sizes[name] > most:
                raise InputError(f"{repository}: {name} has {sizes[name]} bytes, at most {most} belong there")
            tell(f"{name}, {sizes[name] / 2**20:.1f} MiB")
            hub.hf_hub_download(repository, name, revision=commit, local_dir=folder)

        try:
            fetch(WORLD, LARGEST[WORLD])
            if read_json(Path(folder) / WORLD).get("schema") == 1:
                raise InputError(
                    f"{repository} is of schema 1, without seals: `ignota upgrade` and `push` it once more"
                )
            document = read_document(Path(folder))
            for name in _names(document, repository)[1:]:
                fetch(name, document.files[name].bytes if name in document.files else LARGEST[FILE])
            bundle.copy(folder, out)
        except InputError as error:
            raise InputError(str(error).replace(folder, repository)) from error


def _names(document: WorldDocument, world: str) -> list[str]:
    """The files of a world, its document first; raises InputError where one is of another kind."""
    names = [WORLD, *document.files, FILE]
    for name in names:
        if name not in FILES:
            raise InputError(f"{world} holds {name!r}: worlds on a hub are safetensors, JSON and SQLite alone")
    return names


def _sizes(hub: HfApi, repository: str, revision: str | None) -> tuple[str, dict[str, int]]:
    """The commit that a revision is, and the bytes of the world's files in it; raises InputError for any other file."""
    info = hub.model_info(repository, revision=revision, files_metadata=True)
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or () if each.rfilename not in LEFT_THERE}
    for name in sorted(sizes):
        if name not in FILES:
            raise InputError(f"{repository} holds {name!r}, which belongs to no world: take a repository of its own")
    return str(info.sha), sizes


@contextmanager
def _reached() -> Iterator[HfApi]:
    """The hub; what goes wrong with it inside becomes an InputError."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import EntryNotFoundError, FileMetadataError, HFValidationError, HTTPError
        from huggingface_hub.utils import disable_progress_bars
    except ImportError:
        raise InputError("huggingface_hub is not installed: `pip install 'ignota[hub]'` brings it") from None
    disable_progress_bars()
    hub = HfApi(library_name="ignota")
    try:
        yield hub
    except (HTTPError, HFValidationError, EntryNotFoundError, FileMetadataError, ConnectionError) as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"the hub at {hub.endpoint} refuses ({type(error).__name__}: {line}): check the name, the connection, and "
            "who you are there (`hf auth login` or HF_TOKEN)"
        ) from error
