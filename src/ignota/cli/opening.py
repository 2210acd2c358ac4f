"""Devices and worlds named by options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from ignota.cli.terminal import note
from ignota.data.drafts import sweep
from ignota.errors import InputError

if TYPE_CHECKING:
    import torch

    from ignota.world.model import OpenWorldModel


def chosen_device(args: Namespace) -> torch.device:
    """`--device`; raises InputError where there is no such device."""
    from ignota.backends.choosing import device_called

    return device_called(args.device, args.seed)


@contextmanager
def opened_world(args: Namespace, writable: bool = False) -> Iterator[OpenWorldModel]:
    """`--world` on `--device` at `--size`, its store closed at the end; its networks run by `--backend`, if any.

    Where its recipe `full` cannot be followed, one line on standard error says so.
    """
    from ignota.backends.choosing import with_backend
    from ignota.storage import bundle
    from ignota.storage.document import OBJECTNESS

    world = bundle.load(
        args.world, chosen_device(args), writable, args.size, args.allow_code, args.allow_download, args.recipe
    )
    if args.recipe == "auto" and "full" in world.known.others:
        extra = "onnx" if (bundle.find_world(args.world) / OBJECTNESS).exists() else "objectness"
        note(f"recipe light: `pip install 'ignota[{extra}]'` brings what recipe full needs")
    try:
        yield (
            world
            if args.get("backend") is None
            else with_backend(world, args.backend, calibration_images(args.calibrate), args.tile)
        )
    finally:
        world.store.close()


def calibration_images(pattern: str | None) -> list[Path]:
    """The images that `--calibrate` means, a folder, a file or a pattern; none where it was not given."""
    from ignota.cli.inputs import image_files

    return [] if pattern is None else image_files([pattern])


def check_target(path: Path) -> None:
    """Raises InputError where a result file could not be written: before the work, not after it.

    Drafts of it that a killed call left are removed.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file")
    nearest_folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest_folder.is_dir():
        raise InputError(f"{nearest_folder} is no folder: {path} cannot be written")
    sweep(path.parent, path.name)
