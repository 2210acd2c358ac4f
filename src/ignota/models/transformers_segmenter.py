"""Semantic segmenters of transformers: SegFormer, UPerNet, BEiT, DPT, MobileViT, Mask2Former, MaskFormer, EoMT."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import errors as hub_errors
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor, nn

from ignota.models.names import checked, without_sources
from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, AdaptedSegmenter
from ignota.models.tapped import captured, find_classifier
from ignota.models.weights import read_state_dict
from ignota.structures import InputError, Preprocessing
from ignota.taxonomy import nearest

EVIDENCE_FLOOR = 1e-3
"""ε below: the evidence at which a mask classifier's logit starts to rise."""

# how a configuration or a file that does not fit fails, depending on what is wrong with it
_DAMAGED = (OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ImportError, AssertionError,
            ArithmeticError, SafetensorError, getattr(hub_errors, "StrictDataclassError", ValueError))  # fmt: skip

_PICKLED = "pytorch_model.bin"
_STAGES = 4  # encoder maps that are kept: the pyramid's four, or four evenly spread layers of a plain transformer


def mask_logits(class_logits: Float[Tensor, "B Q C1"], masks: Float[Tensor, "B Q h w"]) -> Float[Tensor, "B C h w"]:
    """Per-class logits of a mask classifier: U = log(1 + L / ε), L = Σ_q softmax(class)[:, :C] · sigmoid(mask).

    L is the map that Mask2Former (Cheng et al. 2022, Section 3) takes the arg max of; its last class, void, is left
    out. L itself is no logit: it lies in 0..Q, so that its softmax is nearly flat and no threshold on probabilities
    would carry over from other segmenters. U keeps L's order, is never negative (Equation 5 multiplies it by a
    similarity), gives softmax(U) = (L + ε) / Σ(L + ε), uniform where no mask claims the pixel, and L = ε(exp(U) - 1)
    brings L back. ε = 10⁻³.
    """
    classes = class_logits.float().softmax(-1)[..., :-1]
    evidence = torch.einsum("bqc,bqhw->bchw", classes, masks.float().sigmoid())
    return torch.log1p(evidence / EVIDENCE_FLOOR)


class TransformersSegmenter(AdaptedSegmenter):
    """A segmenter from a folder that `save_pretrained` wrote, or, without weights, from its configuration alone.

    Nothing is downloaded, no code from the folder runs, weights are read from safetensors, or from a
    PyTorch file by weights_only=True. Taps: `decoder`, what
    the last classifier layer reads (for a mask classifier the per-pixel embeddings that its masks are made of), and
    `stageN`, N from 2 on as in SmpSegmenter: the encoder's maps, or four evenly spread layers of a plain transformer.
    preprocessing: mean and std of preprocessor_config.json, else ImageNet's. class_names: from id2label.
    A network with fixed position embeddings gets images resized to its own size. Raises InputError.
    """

    def __init__(self, source: str | Path | Mapping[str, Any], preprocessing: Preprocessing | None = None) -> None:
        super().__init__()
        if isinstance(source, Mapping):
            self.origin = f"transformers network {source.get('model_type')}"
            self.network = _from_config(source)
        else:
            self.origin = str(source)
            self.network = _from_folder(Path(source))
            preprocessing = preprocessing or _read_preprocessing(Path(source))
        self.preprocessing = preprocessing or Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
        config: Any = self.network.config
        self.class_names = tuple(str(config.id2label[i]) for i in sorted(config.id2label, key=int))
        self.eval()
        self._backbone = next(
            (name for name, module in self.network.named_modules() if hasattr(module, "forward_with_filtered_kwargs")),
            None,
        )
        self._by_masks = hasattr(self.network, "class_predictor")
        patch = getattr(config, "patch_size", None)
        self._patch = patch if isinstance(patch, int) else 16
        self._decoder: str | None = None
        self._adapt(config)

    def _adapt(self, config: Any) -> None:
        """Settles the image size, the decoder's layer and the taps."""
        self.multiple = 32
        try:
            self._settle()
        except InputError:
            size = getattr(config, "image_size", None)
            if not isinstance(size, (int, list, tuple)):
                raise
            self.fixed_size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
            self._settle()
            self.multiple = 1
        if self.num_classes != len(self.class_names):
            raise InputError(f"{self.origin} gives {self.num_classes} logits for {len(self.class_names)} class names")

    def _settle(self) -> None:
        if self._by_masks:
            scale = [name for name, _ in self.network.named_modules() if name == "upscale_block"]
            self._decoder = scale[0] if scale else None
        else:
            images = torch.randn(1, 3, *self.probe_size(), generator=torch.Generator().manual_seed(0))
            with torch.no_grad():
                try:
                    self._decoder = find_classifier(self.network, images, lambda output: output.logits)
                except _DAMAGED as error:
                    raise InputError(f"{self.origin} cannot take an image: {_first_line(error)}") from None
            if self._decoder is None:
                raise InputError(f"{self.origin}: no convolution gives its logits; wrap it by TappedModule")
        self.measure()

    def grids(self, images: Tensor) -> dict[str, Tensor]:
        names = [name for name in (self._backbone, self._decoder) if name is not None]
        with captured(self.network, names) as calls:
            output = self.network(pixel_values=images, output_hidden_states=True, return_dict=True)
        if self._by_masks:
            logits = mask_logits(output.class_queries_logits, output.masks_queries_logits)
            decoder = calls[self._decoder][1] if self._decoder else output.pixel_decoder_last_hidden_state
        else:
            decoder, logits = calls[str(self._decoder)]
        states = calls[self._backbone][1].feature_maps if self._backbone else _hidden_states(output)
        height, width = images.shape[-2:]
        maps = [_as_map(state, height, width, self._patch) for state in states]
        maps = _spread([grid for grid in maps if grid.shape[-1] * 4 <= width])
        return {"logits": logits, "decoder": decoder} | {f"stage{i + 2}": grid for i, grid in enumerate(maps)}

    def configuration(self) -> dict[str, Any]:
        """The network's configuration, fit for JSON: what builds it again without a folder."""
        config: Any = self.network.config
        plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
        return without_sources({name: value for name, value in plain.items() if not name.startswith("_")})

    def encoder_parameters(self) -> list[nn.Parameter]:
        whole: Any = self.network
        encoder = whole.get_submodule(self._backbone) if self._backbone else whole.base_model
        if encoder is self.network:  # EoMT: a plain transformer whose heads are beside its layers
            head = {id(p) for name in ("class_predictor", "mask_head", "upscale_block", "query")
                    for p in getattr(self.network, name, nn.Identity()).parameters()}  # fmt: skip
            return [parameter for parameter in self.parameters() if id(parameter) not in head]
        return list(encoder.parameters())


def _hidden_states(output: Any) -> tuple[Tensor, ...]:
    states = getattr(output, "encoder_hidden_states", None) or getattr(output, "hidden_states", None)
    return tuple(states or ())


def _as_map(state: Tensor, height: int, width: int, patch: int) -> Float[Tensor, "B F h w"]:
    """A hidden state as a map; tokens "B L F" lose what precedes the patches and are laid out."""
    if state.ndim == 4:
        return state
    rows, columns = height // patch, width // patch
    return state[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))


def _spread(maps: list[Tensor]) -> list[Tensor]:
    """At most four, evenly spread, the last included."""
    step = len(maps) / _STAGES
    return maps if step <= 1 else [maps[round(step * (i + 1)) - 1] for i in range(_STAGES)]


def _library() -> Any:
    try:
        import transformers
    except ImportError:
        raise InputError("this segmenter needs transformers: run `pip install ignota[transformers]`") from None
    return transformers


def _network_class(model_type: str) -> Any:
    """The class of transformers that segments for this model type."""
    library = _library()
    auto = import_module("transformers.models.auto.modeling_auto")
    known = {
        **auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
        **auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
    }
    for name in ("detr", "oneformer", "videomt"):  # boxes, a text prompt, video: no classes per pixel from one image
        known.pop(name, None)
    if model_type not in known:
        raise InputError(
            f"transformers has no semantic segmenter of type {model_type!r}{nearest(model_type, list(known))}"
        )
    return getattr(library, known[model_type])


def _from_config(config: Mapping[str, Any]) -> nn.Module:
    """The network with weights to be loaded later; nothing is read or downloaded."""
    model_type = str(config.get("model_type"))
    network_class = _network_class(model_type)
    try:
        with _quiet():
            network: nn.Module = network_class(_configuration(config, network_class))
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"the configuration of this {model_type} network is damaged: {_first_line(error)}") from None
    return network


def _configuration(config: Mapping[str, Any], network_class: Any) -> Any:
    """transformers' own object of a configuration; raises InputError where that names anything outside it."""
    settings = {name: value for name, value in checked(config).items() if name != "model_type"}
    return network_class.config_class.from_dict(settings)


def _from_folder(folder: Path) -> nn.Module:
    config = read_json(folder / "config.json")
    network_class = _network_class(str(config.get("model_type")))
    safe = any(folder.glob("*.safetensors"))
    if not safe and not (folder / _PICKLED).exists():
        raise InputError(
            f"{folder} holds no .safetensors weights: save them by save_pretrained(safe_serialization=True)"
        )
    weights = None if safe else read_state_dict(folder / _PICKLED)  # read here, as only tensors are
    with _quiet():
        try:
            network, report = network_class.from_pretrained(
                folder if safe else None, config=_configuration(without_sources(config), network_class),
                state_dict=weights, local_files_only=True, use_safetensors=safe, trust_remote_code=False,
                output_loading_info=True,
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"{folder / 'config.json'}: {error}") from None
        except _DAMAGED as error:
            raise InputError(f"cannot load {folder}: {_first_line(error)}") from None
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if report.get(kind):
            first = sorted(map(str, report[kind]))[0]
            raise InputError(f"{folder}: weights and config.json disagree, {kind.replace('_', ' ')}: {first}")
    loaded: nn.Module = network.float()
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and loading reports: what matters of them becomes an InputError."""
    logging = _library().logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _read_preprocessing(folder: Path) -> Preprocessing | None:
    file = folder / "preprocessor_config.json"
    if not file.exists():
        return None
    settings = read_json(file)
    if settings.get("do_normalize") is False:
        return Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Preprocessing(
        _three(settings.get("image_mean", IMAGENET_MEAN), "image_mean", file),
        _three(settings.get("image_std", IMAGENET_STD), "image_std", file),
    )


def _three(value: Any, field: str, file: Path) -> tuple[float, float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 3 or not all(isinstance(v, (int, float)) for v in value):
        raise InputError(f"{file}: {field} must be three numbers, not {value!r}")
    if field == "image_std" and min(value) <= 0:
        raise InputError(f"{file}: {field} must be positive, not {value!r}")
    return float(value[0]), float(value[1]), float(value[2])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises InputError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no readable JSON ({_first_line(error)})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object")
    return content


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
