"""Scores made of other scores by name: `region:A` and `fuse:A+B`.

region:A is the mean of A over a pixel and its regions of all scales. fuse:A+B+… is the sum of z-scores, each score
measured from its centre in units of its spread on labelled pixels of held-out training images. They nest:
region:fuse:max_logit+knn, fuse:region:sml+vim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from ignota.perception.hierarchy import Hierarchy
from ignota.scores.score import LEVEL, State
from ignota.structures import InputError
from ignota.taxonomy import nearest

REGION, FUSE = "region:", "fuse:"


def check_name(name: str, available: Sequence[str], states: dict[str, State]) -> None:
    """Raises InputError for what is neither a score, nor made of such; states: by score, for their levels."""
    if name.startswith(REGION):
        check_name(name.removeprefix(REGION), available, states)
    elif name.startswith(FUSE):
        parts = name.removeprefix(FUSE).split("+")
        if len(parts) < 2:
            raise InputError(f"{name!r} fuses nothing: write fuse:A+B")
        for part in parts:
            check_name(part, available, states)
            inner = _inner(part)
            if LEVEL not in states.get(inner, {}):
                raise InputError(f"{inner!r} cannot be fused in {name!r}: this world holds no spread of it")
    elif name not in available:
        raise InputError(f"no score {name!r}{nearest(name, available)}")


def composed(
    name: str,
    read: Callable[[str], Float[Tensor, "H W"]],
    hierarchy: Callable[[], Hierarchy],
    states: dict[str, State],
) -> Float[Tensor, "H W"]:
    """The map of a score by a name that `check_name` let pass; read: gives the map of a plain score."""
    if name.startswith(REGION):
        return hierarchy().smooth(composed(name.removeprefix(REGION), read, hierarchy, states))
    if not name.startswith(FUSE):
        return read(name)
    total: Tensor | float = 0.0
    for part in name.removeprefix(FUSE).split("+"):
        centre, spread, _ = states[_inner(part)][LEVEL]
        total = total + (composed(part, read, hierarchy, states) - centre) / spread
    assert isinstance(total, Tensor)
    return total


def _inner(name: str) -> str:
    """The score whose mean over regions `name` is, or itself; both have one level, as a mean is linear."""
    while name.startswith(REGION):
        name = name.removeprefix(REGION)
    return name
