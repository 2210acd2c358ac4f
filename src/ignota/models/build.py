"""Segmenters from what people have (a folder, a file, a factory) and from what world.json holds."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import hashlib
import inspect
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from ignota.models.adapted import IMAGENET_MEAN, IMAGENET_STD
from ignota.models.description import SegmenterDescription
from ignota.models.exported import ExportedSegmenter, copy_program
from ignota.models.names import refuse_place, shown, smp_name
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec
from ignota.models.tapped import TappedModule, from_factory
from ignota.models.timm_levels import Undrawn
from ignota.models.transformers_segmenter import TransformersSegmenter, read_json
from ignota.models.weights import imagenet_preprocessing, read_state_dict
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import nearest

__all__ = ["SegmenterDescription", "build_segmenter", "describe", "load_strictly", "open_segmenter"]

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
_SMP_NETWORKS = ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN",
                 "UPerNet", "Segformer", "DPT")  # fmt: skip


def open_segmenter(source: str, allow_code: bool = False, spec: SmpSpec | None = None) -> ClosedSetSegmenter:
    """The segmenter that somebody already has: what `ignota adapt SEGMENTER` takes.

    source: a folder that transformers' or smp's `save_pretrained` wrote, an exported program (.pt2), a state dict
    (.safetensors, .pth) of the network that `spec` describes, its classes and decoder channels being read from the
    weights, or "package.module:function", whose code runs only if `allow_code`. Raises InputError.
    """
    path = Path(source)
    if path.is_dir():
        return _open_folder(path)
    if path.is_file():
        if path.suffix == ".pt2":
            return ExportedSegmenter(path)
        if path.suffix in _WEIGHT_FILES:
            return _open_state_dict(path, spec)
        kinds = ", ".join((".pt2", *_WEIGHT_FILES))
        raise InputError(f"{source} is of no known kind: give a folder with config.json or a file that ends in {kinds}")
    if _FACTORY.fullmatch(source):
        return from_factory(source, allow_code)
    siblings = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
    hint = nearest(path.name, siblings) if siblings else ""
    raise InputError(
        f"{source} does not exist{hint if 'did you mean' in hint else ''}: give a segmenter's folder or file"
    )


def build_segmenter(
    description: SegmenterDescription,
    weights: Mapping[str, Tensor] | None,
    folder: Path | None = None,
    allow_code: bool = False,
) -> ClosedSetSegmenter:
    """The described segmenter with these weights, by the names of its state dict; half precision is widened.

    folder: the bundle, for an exported program. weights None leaves them as built. Nothing is downloaded; any misfit
    raises InputError.
    """
    replaced = weights is not None and description.smp is not None  # others are probed while they are built
    with Undrawn() if replaced else contextlib.nullcontext():
        segmenter = _build(description, folder, allow_code)
    if segmenter.num_classes != description.num_classes:
        raise InputError(
            f"segmenter.num_classes is {description.num_classes}, "
            f"but the {description.kind} network has {segmenter.num_classes}"
        )
    if weights is not None and description.has_weights:
        load_strictly(segmenter, weights, f"weights of the {description.kind} segmenter")
    return segmenter


def _build(description: SegmenterDescription, folder: Path | None, allow_code: bool) -> ClosedSetSegmenter:
    config, preprocessing = description.config, description.preprocessing
    if description.kind == "smp":
        return SmpSegmenter(description.smp) if description.smp else _SmpCheckpoint(config or {}, preprocessing)
    if description.kind == "transformers":
        return TransformersSegmenter(config or {}, preprocessing)
    if description.kind == "exported":
        path = (folder or Path()) / str(description.file)
        _check_digest(path, str(description.sha256))
        return ExportedSegmenter(path, preprocessing, description.multiple)
    options = dict(description.options or {})
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        raise InputError(f"segmenter.options: unknown field {unknown[0]!r}{nearest(unknown[0], _OPTIONS)}")
    return from_factory(str(description.factory), allow_code, preprocessing=preprocessing, **options)


_OPTIONS = ("layers", "classifier", "encoder", "multiple", "fixed_size")


def describe(segmenter: ClosedSetSegmenter) -> tuple[SegmenterDescription, list[Path]]:
    """The description from which build_segmenter makes this segmenter again, and files to lay beside it.

    Raises InputError for a network that only lives in memory.
    """
    base = SegmenterDescription("", segmenter.num_classes, segmenter.preprocessing)
    if isinstance(segmenter, SmpSegmenter):
        return dataclasses.replace(base, kind="smp", smp=segmenter.spec), []
    if isinstance(segmenter, _SmpCheckpoint):
        return dataclasses.replace(base, kind="smp", config=segmenter.config), []
    if isinstance(segmenter, TransformersSegmenter):
        return dataclasses.replace(base, kind="transformers", config=segmenter.configuration()), []
    if isinstance(segmenter, ExportedSegmenter):
        file = _without_pickle(segmenter.path)
        multiple = None if segmenter.fixed_size else segmenter.multiple
        return dataclasses.replace(base, kind="exported", file=file.name, sha256=_digest(file), multiple=multiple), [
            file
        ]
    factory = getattr(segmenter, "factory", None)
    if not isinstance(factory, str):
        raise InputError(
            f"{type(segmenter).__name__} cannot be written to a world: build it by from_factory('package:function')"
        )
    options = segmenter.options() if isinstance(segmenter, TappedModule) else None
    return dataclasses.replace(base, kind="module", factory=factory, options=options), []


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


class _SmpCheckpoint(TappedModule):
    """A network from a folder of smp's save_pretrained: any of its architectures, by its own constructor."""

    def __init__(self, config: Mapping[str, Any], preprocessing: Preprocessing | None = None) -> None:
        self_config = dict(config)
        network: Any = _smp_network(self_config)
        encoder = str(self_config.get("encoder_name"))
        used = [n for n, channels in enumerate(network.encoder.out_channels) if n >= 2 and channels > 0]
        super().__init__(
            network, {f"stage{n}": f"encoder:{n}" for n in used}, encoder="encoder",
            preprocessing=preprocessing or _smp_preprocessing(encoder), origin=f"smp {self_config['_model_class']}",
        )  # fmt: skip
        self.config = self_config


def _smp_network(config: Mapping[str, Any]) -> nn.Module:
    """The architecture that config.json of smp names, without weights."""
    name = str(config.get("_model_class"))
    if name not in _SMP_NETWORKS:
        raise InputError(f"smp has no architecture {name!r}{nearest(name, _SMP_NETWORKS)}")
    settings = {key: value for key, value in config.items() if key != "_model_class"}
    for key, value in settings.items():
        refuse_place(value, f"config.{key}")
    # an activation would hide the logits; weights come from the checkpoint
    settings |= {"encoder_weights": None, "activation": None, "aux_params": None}
    if "encoder_name" in settings:
        settings["encoder_name"] = smp_name(settings["encoder_name"], "config.encoder_name")
    _check_for_encoder(settings, getattr(smp, name))
    try:
        network: nn.Module = getattr(smp, name)(**settings)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, NotImplementedError) as error:
        raise InputError(f"cannot build smp {name} from its config.json: {error}".splitlines()[0]) from None
    return network


def _check_for_encoder(settings: Mapping[str, Any], network: type[nn.Module]) -> None:
    """Refuses what smp would hand on to timm beyond numbers: timm takes files and addresses of weights there."""
    own = inspect.signature(network).parameters
    for name, value in settings.items():
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if name not in own and (name == "pretrained" or not all(isinstance(v, (int, float)) for v in numbers)):
            raise InputError(f"config.{name}: {shown(value)} is no setting of smp's {network.__name__}: leave it out")


def _smp_preprocessing(encoder: str) -> Preprocessing:
    """The normalisation that the encoder was pretrained with: timm's own record, or ImageNet's mean and std."""
    return imagenet_preprocessing(encoder[3:]) if encoder[:3] == "tu-" else Preprocessing(IMAGENET_MEAN, IMAGENET_STD)


def _open_folder(folder: Path) -> ClosedSetSegmenter:
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} holds no config.json: give a folder that save_pretrained wrote")
    config = read_json(folder / "config.json")
    if "_model_class" not in config:
        return TransformersSegmenter(folder)
    if not (folder / "model.safetensors").exists():
        raise InputError(f"{folder} holds no model.safetensors: save the network by its save_pretrained")
    segmenter = _SmpCheckpoint(config)
    load_strictly(segmenter.module, read_state_dict(folder / "model.safetensors"), str(folder))
    return segmenter.eval()


def _open_state_dict(path: Path, spec: SmpSpec | None) -> ClosedSetSegmenter:
    if spec is None:
        raise InputError(
            f"{path} holds weights alone", "say architecture= and encoder=, or give a save_pretrained folder"
        )
    weights = _our_names(read_state_dict(path))
    head = weights.get("classifier.weight")
    if head is None or head.ndim != 4:
        raise InputError(f"{path} has no classifier.weight or segmentation_head.0.weight: it is of another network")
    fine = weights.get("detail.classifier.weight")
    detail = fine.shape[1] if fine is not None and fine.ndim == 4 else 0
    spec = dataclasses.replace(spec, num_classes=head.shape[0], decoder_channels=head.shape[1], detail=detail)
    segmenter = SmpSegmenter(spec)
    load_strictly(segmenter, weights, str(path))
    return segmenter.eval()


def _our_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """smp's names, perhaps below a trainer's prefix, as SmpSegmenter's."""
    for prefix in ("module.", "model.", "network.", "segmenter."):
        if weights and all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return {name.replace("segmentation_head.0.", "classifier."): value for name, value in weights.items()}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path} ({type(error).__name__}): copy the world anew") from None


def _check_digest(path: Path, expected: str) -> None:
    if _digest(path) != expected:
        raise InputError(f"{path} is not the program that this world was built with (SHA-256): copy the world anew")


def _without_pickle(path: Path) -> Path:
    """The program itself, or, where its archive holds more than is ever read, a copy without that."""
    with zipfile.ZipFile(path) as archive:
        if not any("/data/sample_inputs/" in name for name in archive.namelist()):
            return path
    folder = Path(tempfile.mkdtemp(prefix="ignota-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy_program(path, folder / path.name)
    return folder / path.name
