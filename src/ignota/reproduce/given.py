"""Closed sets trained before: from the folder of an `ignota run`, or from a world."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignota.storage import bundle
from ignota.structures import InputError
from ignota.training.configuration import ClosedSetConfig, DataConfig, ExperimentConfig, SegmenterConfig
from ignota.training.stage_run import RECORD, StageFolder, fingerprint
from ignota.training.training import save_module

_STAGE = Path("stages") / "closed_set"


def closed_hash(config: ExperimentConfig) -> str:
    """Of stage 1, as `Stages` names it."""
    return fingerprint("closed_set", config.seed, config.data, config.segmenter, config.closed_set)


def trained_hash(source: Path) -> str:
    """`closed_hash` of what trained a closed set: of a run by its record, of a world by its provenance.

    source: a folder, or the name of a shipped world. Raises InputError where there is none.
    """
    try:
        if not _is_world(source):
            return str(json.loads((source / _STAGE / RECORD).read_text(encoding="utf-8"))["hash"])
        provenance: Mapping[str, Any] = bundle.read_document(bundle.find_world(source)).provenance
        found = provenance["configuration"]
        data, segmenter = DataConfig(**found["data"]), SegmenterConfig(**found["segmenter"])
        closed_set = ClosedSetConfig(**found["closed_set"])
        return closed_hash(ExperimentConfig(seed=found["seed"], data=data, segmenter=segmenter, closed_set=closed_set))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{source} holds no closed set: name a folder that `ignota run` has finished, or a world that it trained"
        ) from None


def take(source: Path, target: Path) -> None:
    """Puts the closed set of `source` at `target`, atomically.

    That of a world is in half precision, as worlds are, and took no time.
    """
    draft = target.parents[1] / ".closed_set"
    shutil.rmtree(draft, ignore_errors=True)  # of a copy that was stopped
    if _is_world(source):
        draft.mkdir(parents=True)
        world = bundle.load(source)
        world.store.close()
        StageFolder(draft, trained_hash(source)).finish(
            save_module(world.networks.segmenter), {"seconds": 0.0, "losses": [], "world": source.name}
        )
    else:
        shutil.copytree(source / _STAGE, draft)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(target)


def _is_world(source: Path) -> bool:
    """Whether it is a world; a folder of a run that is named as a shipped world is the run."""
    shipped = str(source) in bundle.shipped_worlds() and not (source / _STAGE).is_dir()
    return shipped or (source / bundle.WORLD).is_file()
