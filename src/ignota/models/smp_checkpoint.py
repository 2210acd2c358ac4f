"""Trained networks of segmentation_models_pytorch: any of its architectures on any encoder."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from ignota.models.names import refuse_place, shown, smp_name
from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from ignota.models.tapped import TappedModule
from ignota.models.weights import imagenet_preprocessing, load_strictly
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import nearest

NETWORKS = ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN",
            "UPerNet", "Segformer", "DPT")  # fmt: skip
_HEAD = "segmentation_head."
_SMALLEST = {"PAN": 128}
"""Sides that an architecture needs at least: images are padded to multiples of them."""
_HYPER = {"architecture": ("architecture", "arch", "model_name"), "encoder": ("encoder_name", "encoder", "backbone")}
"""What trainers call architecture and encoder among the hyper-parameters of a checkpoint."""
_OTHERS = {
    "decoder_pyramid_channels": "decoder.p5.weight", "decoder_pab_channels": "decoder.center.top_conv.weight",
}  # fmt: skip
_BLOCKS = re.compile(r"decoder\.blocks\.(?:x_0_)?(\d+)\.conv2\.0\.weight")


class SmpCheckpoint(TappedModule):
    """A network from a folder of smp's save_pretrained: any of its architectures, by its own constructor."""

    def __init__(self, config: Mapping[str, Any], preprocessing: Preprocessing | None = None) -> None:
        self_config = dict(config)
        network: Any = _smp_network(self_config)
        encoder = str(self_config.get("encoder_name"))
        used = [n for n, channels in enumerate(network.encoder.out_channels) if n >= 2 and channels > 0]
        super().__init__(
            network, {f"stage{n}": f"encoder:{n}" for n in used}, encoder="encoder",
            multiple=_SMALLEST.get(str(self_config["_model_class"]), 32),
            preprocessing=preprocessing or smp_preprocessing(encoder), origin=f"smp {self_config['_model_class']}",
        )  # fmt: skip
        self.config = self_config


def _smp_network(config: Mapping[str, Any]) -> nn.Module:
    """The architecture that config.json of smp names, without weights."""
    name = str(config.get("_model_class"))
    if name not in NETWORKS:
        raise InputError(f"smp has no architecture {name!r}{nearest(name, NETWORKS)}")
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


def smp_preprocessing(encoder: str) -> Preprocessing:
    """The normalisation that the encoder was pretrained with: timm's own record, or ImageNet's mean and std."""
    return imagenet_preprocessing(encoder[3:]) if encoder[:3] == "tu-" else Preprocessing(IMAGENET_MEAN, IMAGENET_STD)


def network_called(architecture: str) -> str | None:
    """smp's name of an architecture, however it is written ("deeplabv3plus", "unet++"); None where it has none."""
    plain = architecture.lower().replace("++", "plusplus").replace("+", "plus").replace("_", "").replace("-", "")
    return next((name for name in NETWORKS if name.lower() == plain), None)


def hinted(hyper: Mapping[str, Any], what: str) -> str | None:
    """The architecture or the encoder that the hyper-parameters of a checkpoint name, if they do."""
    return next((hyper[name] for name in _HYPER[what] if isinstance(hyper.get(name), str)), None)


def below_prefix(weights: Mapping[str, Tensor], marks: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of the network proper, where a trainer wrapped it ("model.encoder…") and kept others beside it."""
    for name in weights:
        for mark in marks:
            if name.startswith(mark):
                return dict(weights)
            at = name.find(f".{mark}")
            if at >= 0:
                prefix = name[: at + 1]
                return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return dict(weights)


def from_weights(
    weights: Mapping[str, Tensor], name: str, encoder: str, hyper: Mapping[str, Any], origin: str
) -> SmpCheckpoint:
    """smp's network `name` with these tensors; classes and widths are read from them, all else is smp's default.

    hyper: settings of its constructor that a checkpoint names. Raises InputError.
    """
    settings = {**_widths(weights, name, origin), "encoder_name": smp_name(encoder)}
    known = inspect.signature(getattr(smp, name)).parameters
    told = {key: value for key, value in hyper.items() if key in known and key.startswith(("decoder_", "encoder_"))}
    told = {key: value for key, value in told.items() if key not in ("encoder_name", "encoder_weights")}
    segmenter = SmpCheckpoint({"_model_class": name, **settings, **told})
    load_strictly(segmenter.module, weights, origin)
    return segmenter.eval()


def _widths(weights: Mapping[str, Tensor], name: str, origin: str) -> dict[str, Any]:
    """The settings of smp's constructor that the shapes of the tensors tell."""
    heads = [value for key, value in weights.items() if key.startswith(_HEAD) and value.ndim == 4]
    if not heads:
        raise InputError(f"{origin} has no {_HEAD}0.weight: it is of another network than smp's {name}")
    classes, width = heads[-1].shape[:2]
    found: dict[str, Any] = {"classes": classes}
    known = inspect.signature(getattr(smp, name)).parameters
    for setting in ("decoder_segmentation_channels", "psp_out_channels", "decoder_channels"):
        if setting in known and isinstance(known[setting].default, int):
            found[setting] = width
    blocks = {int(match[1]): value.shape[0] for key, value in weights.items() if (match := _BLOCKS.fullmatch(key))}
    if blocks and "decoder_channels" in known and "decoder_channels" not in found:
        found |= {"decoder_channels": [blocks[i] for i in sorted(blocks)], "encoder_depth": len(blocks)}
    for setting, key in _OTHERS.items():
        if setting in known and key in weights:
            found[setting] = weights[key].shape[0]
    return found
