"""Label maps of one encoded image, by every incremental method that a world supports."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from ignota.incremental.methods import novel_prototype_method
from ignota.perception.branch import BranchReading
from ignota.perception.perception import Perception, closed_labels
from ignota.perception.raml import RULES, BranchEvidence, branch_evidence, candidate_regions, named_regions, rule_of
from ignota.structures import Encoding, InputError
from ignota.taxonomy import nearest

METHODS = ("raml", *RULES, "raml_urs", "npm_frozen")
SYSTEM_OF = {name: rule.system for name, rule in RULES.items()} | {"raml_urs": "paper"}
"""The branch that a method runs on; others run on the closed set."""


def check_methods(methods: Sequence[str]) -> None:
    """Raises InputError for a name that is no method."""
    for name in methods:
        if name not in METHODS:
            raise InputError(f"no incremental method {name!r}{nearest(name, METHODS)}")


def systems_of(methods: Sequence[str]) -> tuple[str, ...]:
    """The branches that the methods run on."""
    return tuple(dict.fromkeys(SYSTEM_OF[name] for name in methods if name in SYSTEM_OF))


def held_methods(world: Perception) -> tuple[str, ...]:
    """The methods that the world can follow: those that need no branch, or one that it has."""
    return tuple(name for name in METHODS if SYSTEM_OF.get(name, "") in ("", *world.branches.systems))


def label_maps(world: Perception, encoding: Encoding, methods: Sequence[str]) -> dict[str, UInt8[np.ndarray, "H W"]]:
    """World ids on the working grid by the named methods; `closed`, what the closed set says; and `closed:SYSTEM`, the
    known labels of each branch that a method runs on. Raises InputError."""
    check_methods(methods)
    closed = closed_labels(encoding)
    maps = {"closed": closed}

    @cache
    def read(system: str) -> tuple[BranchReading, BranchEvidence]:
        branch = world.branch(system)
        reading, evidence = branch.read(encoding), branch_evidence(branch, world.exemplars)
        maps[f"closed:{system}"] = reading.known
        return reading, evidence

    for name in methods:
        if name == "raml":
            maps[name] = world.segment(encoding).working_labels
        elif name == "npm_frozen":
            maps[name] = _npm(world, encoding, closed)
        else:
            maps[name] = _on_branch(world, encoding, name, *read(SYSTEM_OF[name]))
    return maps


def _on_branch(
    world: Perception, encoding: Encoding, name: str, reading: BranchReading, evidence: BranchEvidence
) -> UInt8[np.ndarray, "H W"]:
    """A method of RAML: its own regions, or URS's (Section 3.2) in the rule of the paper."""
    branch = world.branch(SYSTEM_OF[name])
    if name == "raml_urs":
        regions = world.known.recipe.urs(encoding.image, encoding.logits)
        return named_regions(branch, reading, regions, evidence, rule_of("raml_paper", world.known.recipe))
    rule = rule_of(name, world.known.recipe)
    return named_regions(branch, reading, candidate_regions(reading, evidence, rule), evidence, rule)


def _npm(world: Perception, encoding: Encoding, closed: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
    with torch.inference_mode():
        novel = novel_prototype_method(encoding.features["decoder"], world.known.means, world.novel.means)
    size = (closed.shape[1], closed.shape[0])
    resized = cv2.resize(novel.cpu().numpy().astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return np.where(resized >= 0, (resized + len(world.taxonomy)).astype(np.uint8), closed)
