"""Shared by both evaluations: data sets and names from options, figures to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ignota.cli.opening import check_target
from ignota.cli.terminal import say_unless_quiet
from ignota.data.datasets import LabelledImages, file_mark, open_dataset
from ignota.data.files import write_json
from ignota.evaluation.shards import PartOfImages, Shard, State, stored_part, write_state
from ignota.formats.score_maps import MapFolder
from ignota.storage.seals import world_fingerprint
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel


def opened_dataset(args: Namespace) -> LabelledImages:
    """DATASET in `--data`, split `--split`; raises InputError."""
    return open_dataset(args.dataset, args.data, args.split)


def outside_of(args: Namespace) -> tuple[MapFolder, ...]:
    """What `--maps` names; raises InputError."""
    return tuple(map(MapFolder.parse, args.maps))


def words_of(text: str | None) -> list[str] | None:
    """The words of "a,b", each once; None where the option was not given."""
    return None if text is None else list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


@contextmanager
def shard_of(
    args: Namespace, dataset: LabelledImages, world: OpenWorldModel, made_by: dict[str, Any]
) -> Iterator[tuple[PartOfImages, Path, Callable[[State], None]]]:
    """The images of `--shard`, the folder that becomes `--state`, and a function that writes the state there.

    made_by: what else the figures depend on. Raises InputError for a folder that is not empty.
    """
    shard = Shard() if args.shard is None else Shard.parse(args.shard)
    part = PartOfImages.of(dataset, shard)
    if not len(part):
        raise InputError(f"{dataset.name} has {len(dataset)} images: shard {shard} would have none")
    same = {"world": world_fingerprint(world), "data": identity(dataset)}
    with stored_part(Path(args.state)) as draft:
        yield part, draft, lambda state: write_state(draft, state, shard, same | made_by)
    say_unless_quiet(
        args, f"shard {shard}: {len(part)} of {len(dataset)} images → {args.state}; `ignota evaluate merge` joins all"
    )


def identity(images: LabelledImages) -> list[str | int]:
    """What tells images from others, wherever they lie."""
    return [images.name, images.split, len(images), file_mark(images)]


@contextmanager
def finish(file: str | None) -> Iterator[Callable[[Any], None]]:
    """Checks the target before the work; what is given to the yielded function is written atomically."""
    target = None if file is None else Path(file)
    if target is not None:
        check_target(target)

    def write(figures: Any) -> None:
        if target is not None:
            write_json(target, figures)

    yield write
