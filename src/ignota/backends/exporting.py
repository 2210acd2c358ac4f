"""A world as one file for other programs: networks, pixel scores, thresholds and the label map.

What a graph can hold is in it: the networks, every score of the logits, nearest neighbours cell by cell, the thresholds
from held-out training images. What it cannot hold is Felzenszwalb's regions, so the world's own score `raml`, which is
averaged over them, and all that is taught later stay with ignota.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ignota.data.drafts import draft_folder
from ignota.functional import scores
from ignota.models.objectness import objectness_taps
from ignota.models.onnx_export import OPSET, PortableEncoder, PortableSegmenter, exported_program, write_onnx
from ignota.perception.networks import Networks
from ignota.perception.tiles import grid_strides
from ignota.scores.logit_scores import LOGIT_SCORES
from ignota.scores.score import LEVEL
from ignota.structures import Encoding, InputError
from ignota.taxonomy import UNKNOWN_INDEX, nearest
from ignota.world.model import OpenWorldModel

FORMATS = ("onnx", "exported-program")
KNN = "knn"
SCORES = (*LOGIT_SCORES, KNN)
"""What a graph can compute."""

_STRIDE = 8


class PortableWorld(nn.Module):
    """An unlearnt world as a function of one working image.

    forward: image "H W 3" uint8 RGB -> labels "H W" uint8; labels_with_unknown, the same with 254 where `score` exceeds
    its threshold; anomaly "H W" in 0..1, one half there; logits "C h w"; score_NAME "H W" for each of `scores`, higher
    = more anomalous; and with `features` each tap "F h w", embedding "F h w" in the world's own space at stride 8, and
    embedding_NAME "D h w" for every D.
    """

    def __init__(self, world: OpenWorldModel, score: str, features: bool) -> None:
        super().__init__()
        known, networks = world.known, world.networks
        if objectness_taps(networks.taps):
            raise InputError("this world keeps features of its objectness network, which no graph holds")
        self.taps_kept, self.magnify = networks.taps, magnification(networks)
        self.segmenter = PortableSegmenter(networks.segmenter, networks.taps)
        self.encoder = None
        if networks.frozen is not None and networks.reads_frozen:
            self.encoder = PortableEncoder(networks.frozen, networks.taps)
            if self.magnify < 1:  # by area, which not every runtime can
                raise InputError(
                    f"a graph sees one image, and this world's frozen encoder wants one of {networks.frozen_size} "
                    f"pixels, less than the segmenter's {networks.size}: take --size {networks.frozen_size} or less"
                )
        self.score, self.features = score, features
        self.scores = tuple(name for name in SCORES if LEVEL in known.states.get(name, {}))
        if score not in self.scores:
            raise InputError(f"no score {score!r} in a graph of this world{nearest(score, list(self.scores))}")
        self.pitches = grid_pitches(networks)
        self.neighbours, self.taps = known.recipe.neighbours, known.recipe.taps
        for name in self.scores:
            for key, value in known.states[name].items():
                self.register_buffer(f"state_{name}_{key}", value.detach().cpu().float().clone())
        self.spaces: Any = nn.ModuleDict({name: space.embedder.cpu() for name, space in known.spaces.items()})
        self.space_taps = {name: space.taps for name, space in known.spaces.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs in order."""
        plain = ("labels", "labels_with_unknown", "anomaly", "logits", *(f"score_{name}" for name in self.scores))
        spaces = [f"embedding_{name}" for name in self.space_taps]
        return (*plain, *self.taps_kept, "embedding", *spaces) if self.features else plain

    def forward(self, image: UInt8[Tensor, "H W 3"]) -> dict[str, Tensor]:
        found = self.segmenter(image)
        if self.encoder is not None:
            found |= self.encoder(self._magnified(image))
        logits, size = found["logits"], [image.shape[0], image.shape[1]]
        labels = pixel_labels(logits, size)
        vectors = self._cells(found, self.taps, size)
        units = F.normalize((vectors - self._state(KNN, "mean")) / self._state(KNN, "std"), dim=-1)
        maps = {name: self._score(name, logits, units, size) for name in self.scores}
        _, spread, threshold = self._state(self.score, LEVEL).unbind()
        excess = maps[self.score] - threshold
        out = {
            "labels": labels,
            "labels_with_unknown": torch.where(excess > 0, torch.full_like(labels, UNKNOWN_INDEX), labels),
            "anomaly": torch.sigmoid(excess / spread),
            "logits": logits[0],
        }
        out |= {f"score_{name}": value for name, value in maps.items()}
        if self.features:
            out |= {tap: found[tap][0] for tap in self.taps_kept} | {"embedding": units.permute(2, 0, 1)}
            for name, embedder in self.spaces.items():
                out[f"embedding_{name}"] = self._embedded(embedder, found, self.space_taps[name], size)
        return {name: out[name] for name in self.names}

    def _magnified(self, image: UInt8[Tensor, "H W 3"]) -> Float[Tensor, "Hc Wc 3"]:
        """What the frozen encoder sees: an approximation, as there is no larger original to bring to its size."""
        share = self.magnify
        if share == 1:
            return image.float()
        size = [side * share.numerator // share.denominator for side in image.shape[:2]]
        pixels = image.float().permute(2, 0, 1)[None]
        larger = torch.ops.aten.upsample_bilinear2d(pixels, size, False, None, None)
        return larger[0].permute(1, 2, 0).round()

    def _state(self, score: str, key: str) -> Tensor:
        return self.get_buffer(f"state_{score}_{key}")

    def _score(self, name: str, logits: Tensor, units: Tensor, size: list[int]) -> Float[Tensor, "H W"]:
        if name == KNN:
            cosines = units.flatten(0, 1) @ scores.unit_rows(self._state(KNN, "coreset")).T
            found = 1 - cosines.topk(self.neighbours, dim=1).values.mean(1)
            grid = found.view(1, 1, units.shape[0], units.shape[1])
            fine = F.interpolate(grid, size=[logits.shape[2], logits.shape[3]], mode="bilinear")
        else:
            state = {key: self._state(name, key) for key in ("mean", "std") if hasattr(self, f"state_{name}_{key}")}
            # the image and its features are not looked at by a score of the logits
            encoding = Encoding(None, (0, 0), logits[0], {})  # type: ignore[arg-type]
            fine = LOGIT_SCORES[name].score(encoding, state)[None, None]
        return F.interpolate(fine, size=size, mode="bilinear")[0, 0]

    def _cells(self, found: dict[str, Tensor], taps: tuple[str, ...], size: list[int]) -> Float[Tensor, "h w F"]:
        """`anomaly.nearest.joined`: the taps on one grid of stride 8, finer ones averaged, coarser interpolated."""
        rows, columns = ((side + _STRIDE - 1) // _STRIDE for side in size)
        grids = [_resized(found[tap], rows, columns, self.pitches[tap]) for tap in taps]
        return torch.cat(grids, dim=1)[0].permute(1, 2, 0)

    def _embedded(
        self, embedder: nn.Module, found: dict[str, Tensor], taps: tuple[str, ...], size: list[int]
    ) -> Tensor:
        return embedded_cells(embedder, self._cells(found, taps, size))


def pixel_labels(logits: Float[Tensor, "1 C h w"], size: list[int]) -> UInt8[Tensor, "H W"]:
    """The class of the largest logit of each pixel, logits resized bilinearly."""
    return F.interpolate(logits, size=size, mode="bilinear")[0].argmax(0).to(torch.uint8)


def embedded_cells(embedder: nn.Module, cells: Float[Tensor, "h w F"]) -> Float[Tensor, "D h w"]:
    """The embedding of each cell of a grid."""
    embedded = embedder(cells.flatten(0, 1))
    return embedded.view(cells.shape[0], cells.shape[1], -1).permute(2, 0, 1)


def magnification(networks: Networks) -> Fraction:
    """How much larger than the segmenter the frozen encoder sees an image."""
    return Fraction(networks.frozen_size, networks.size)


def grid_pitches(networks: Networks) -> dict[str, Fraction]:
    """How many pixels of the working image a cell of each grid is wide."""
    found = {name: Fraction(stride) for name, stride in grid_strides(networks).items()}
    if networks.frozen is not None:
        taps, share = networks.frozen.taps, magnification(networks)
        found |= {name: Fraction(tap.stride) / share for name, tap in taps.items() if name in networks.taps}
    return found


def _resized(grid: Float[Tensor, "1 F h w"], rows: int, columns: int, pitch: Fraction) -> Float[Tensor, "1 F H W"]:
    if pitch == _STRIDE:
        return grid
    if pitch > _STRIDE:
        return F.interpolate(grid, size=[rows, columns], mode="bilinear")
    # area means as two products, as no exporter knows adaptive pooling to a size of its own
    down, across = _area_means(grid.shape[2], rows), _area_means(grid.shape[3], columns)
    planes = grid.shape[1]
    narrow = torch.bmm(grid[0], across.T.expand(planes, -1, -1))
    return torch.bmm(down.expand(planes, -1, -1), narrow)[None]


def _area_means(cells: int, bins: int) -> Float[Tensor, "bins cells"]:
    """Row i averages the cells from ⌊i·cells/bins⌋ up to ⌈(i+1)·cells/bins⌉, as adaptive pooling does."""
    i, j = torch.arange(bins)[:, None], torch.arange(cells)[None]
    inside = ((j >= i * cells // bins) & (j < ((i + 1) * cells + bins - 1) // bins)).float()
    return inside / inside.sum(1, keepdim=True)


def export_world(world: OpenWorldModel, form: str, path: Path, score: str = KNN, features: bool = False) -> None:
    """Writes the unlearnt world to `path` as ONNX or as an exported program; raises InputError.

    score: what `anomaly` and `labels_with_unknown` go by.
    """
    module = PortableWorld(world, score, features).eval()
    write_graph(module, form, path, metadata(world, module))


def write_graph(module: Any, form: str, path: Path, properties: dict[str, Any]) -> None:
    """Writes a portable module and its metadata atomically in one of FORMATS; raises InputError."""
    try:
        with draft_folder(path) as folder:
            draft = folder / path.name
            if form == "onnx":
                write_onnx(module, draft, module.names, properties)
            else:
                extra = {"ignota.json": json.dumps(properties, ensure_ascii=False, indent=2)}
                torch.export.save(exported_program(module), draft, extra_files=extra)
            draft.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name a folder that exists and is yours") from None


def metadata(world: OpenWorldModel, module: PortableWorld) -> dict[str, Any]:
    """What a reader of the graph must know: how to bring an image to size, what numbers mean, where thresholds lie."""
    return about(world) | {
        "unknown": str(UNKNOWN_INDEX),
        "score": module.score,
        "thresholds": {name: float(world.known.states[name][LEVEL][2]) for name in module.scores},
        "target_fpr": str(world.known.recipe.target_fpr),
        "left_out": "regions (scores raml, raml_paper, raml_released) and taught classes: they need ignota",
    }


def about(world: OpenWorldModel) -> dict[str, Any]:
    """What every graph of a world says of itself: version, input, working size, classes and their colours."""
    from ignota import __version__

    return {
        "ignota": __version__,
        "opset": str(OPSET),
        "input": "image: H W 3 uint8 RGB, upright, resized so that the short side is working_size",
        "working_size": str(world.networks.size),
        "taxonomy": world.taxonomy.name,
        "labels": {str(i): label.name for i, label in enumerate(world.taxonomy.classes)},
        "colours": {str(i): list(label.colour) for i, label in enumerate(world.taxonomy.classes)},
    }
