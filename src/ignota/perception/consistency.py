"""Whether the parts of a world fit together; checked at every opening, without an image."""

from __future__ import annotations

from torch import Tensor

from ignota.perception.known import KnownEvidence
from ignota.perception.networks import Networks
from ignota.structures import InputError


def check_shapes(networks: Networks, known: KnownEvidence, classes: int) -> None:
    """Raises InputError where taps, tensors and classes disagree."""
    offered = networks.offered
    for tap in networks.taps:
        _check(tap in offered, f"the networks have no tap {tap!r}; there are {', '.join(offered)}")
    _check("decoder" in networks.taps, "the tap 'decoder' is not kept")
    width = {tap: offered[tap].channels for tap in networks.taps}
    _check_own_space(known, sum(width[tap] for tap in known.recipe.taps), classes)
    _check_shape("means", known.means, (classes, width["decoder"]))
    for name in ("mean", "std"):
        _check_shape(f"score.sml.{name}", known.states["sml"][name], (classes,))
    for name, space in known.spaces.items():
        features = sum(width[tap] for tap in space.taps)
        _check_shape(f"space.{name}.embedder.mean", space.embedder.mean, (features,))
        _check_shape(f"space.{name}.prototypes", space.prototypes, (classes, space.embedder.second.out_features))


def _check_own_space(known: KnownEvidence, features: int, classes: int) -> None:
    """Nearest neighbours and held-out regions, in the taps of the recipe."""
    state, held_out = known.states["knn"], known.held_out
    rows, regions = len(state["owner"]), len(held_out.label)
    for name, shape in {"mean": (features,), "std": (features,), "coreset": (rows, features), "owner": (rows,)}.items():
        _check_shape(f"score.knn.{name}", state[name], shape)
    _check(bool((state["std"] > 0).all()), "score.knn.std holds values that are not above 0")
    _check_shape("held_out.vectors", held_out.vectors, (regions, features))
    for name in ("area", "strange"):
        _check_shape(f"held_out.{name}", getattr(held_out, name), (regions,))
    for name, ids in (("score.knn.owner", state["owner"]), ("held_out.label", held_out.label)):
        inside = not len(ids) or 0 <= int(ids.min()) <= int(ids.max()) < classes
        _check(inside, f"{name} names classes that are not there")


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    _check(tuple(tensor.shape) == shape, f"{name} has shape {tuple(tensor.shape)}, not {shape}")


def _check(holds: bool, fault: str) -> None:
    if not holds:
        raise InputError(f"this world's parts do not fit together ({fault}): copy or train it again")
