"""Which images of a call are finished: those with results of the same world and the same image, by fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignota.cli.inputs import PARTS
from ignota.perception.branch import BRANCH_SCORES
from ignota.scores.fitted_scores import code_of
from ignota.storage.seals import perception_fingerprint, world_fingerprint
from ignota.world.labelling import systems_of
from ignota.world.model import OpenWorldModel

LARGEST_RESULT = 50_000_000


def image_fingerprint(path: Path) -> str:
    """16 hexadecimal digits of a file's size and time of change: a hash of its content would read all of it again."""
    try:
        state = path.stat()
    except OSError:
        return ""
    return hashlib.sha256(f"{state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:16]


def makers(world: OpenWorldModel, form: str = "") -> dict[str, str]:
    """What a result tells of the world that made it: its fingerprint after `form`, and that of its perception alone,
    which does not change when the world is taught."""
    state = f"{form} {world_fingerprint(world)}".strip()
    return {"world": state, "perception": perception_fingerprint(world)}


def method_form(world: OpenWorldModel, method: str) -> str:
    """What tells results of a method from those of `raml`: its name, and the weights of the branch that it runs on."""
    if method == "raml":
        return ""
    systems = systems_of((method,))
    return " ".join([method, *(world.branch(system).networks.digest[:16] for system in systems)])


def score_marks(world: OpenWorldModel, scores: Sequence[str]) -> dict[str, str]:
    """What tells maps of a score from those of another world: perception, size and backend, as teaching changes none,
    the weights of the branch that the score runs on, and the code of a plugin."""
    networks = world.networks
    common = f"{perception_fingerprint(world)} {networks.size} {networks.backend}"
    marks = {}
    for score in scores:
        parts = re.split(r"[:+]", score)
        systems = sorted({BRANCH_SCORES[part] for part in parts if part in BRANCH_SCORES})
        own = [*(world.branch(system).networks.digest[:16] for system in systems), *map(code_of, parts)]
        marks[score] = " ".join([common, *filter(None, own)])
    return marks


def made_by(makers: dict[str, str], image: Path) -> dict[str, str]:
    """The `made_by` of a result."""
    return makers | {"image": image_fingerprint(image)}


def is_finished(out: Path, name: str, made_by: dict[str, str]) -> bool:
    """Whether all results of an image are there and come from this world and this image; NAME.json is written last."""
    if not all((out / f"{name}{part}").is_file() for part in PARTS):
        return False
    result = read_result(out / f"{name}.json")
    return bool(made_by["image"]) and result is not None and result.get("made_by") == made_by


def read_result(path: Path) -> dict[str, Any] | None:
    """A NAME.json of `segment`; None for whatever else is called so."""
    try:
        if path.stat().st_size > LARGEST_RESULT or not path.is_file():
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("made_by"), dict) else None
