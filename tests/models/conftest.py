"""Small random networks of every kind, each built once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ignota.models.exported import ExportedSegmenter
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec
from ignota.models.tapped import TappedModule

CLASSES = 5


class Street(nn.Module):
    """A small network in torchvision's manner: a backbone that returns a dict, and logits under "out"."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.backbone = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1))
        self.head = nn.Sequential(nn.Conv2d(16, 10, 1), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(10, CLASSES, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        logits = self.head(self.backbone(self.stem(images)))
        size = images.shape[-2:]
        return {"out": nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)}


class Exportable(nn.Module):
    """The same with named features, a buffer and a constant, as somebody would export it."""

    def __init__(self) -> None:
        super().__init__()
        street = Street()
        self.encoder = nn.ModuleDict({"stem": street.stem, "backbone": street.backbone})
        self.head = street.head
        self.register_buffer("scale", torch.tensor([2.0]))

    def forward(self, images: Tensor) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        early = self.encoder["stem"](images)
        late = self.encoder["backbone"](early) * self.scale + torch.arange(16, device=images.device)[:, None, None]
        logits = nn.functional.interpolate(self.head(late), size=images.shape[-2:], mode="bilinear")
        return {"logits": logits, "early": early, "more": (late, late.mean((2, 3)))}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def _segformer() -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=16,
        num_labels=CLASSES,
    )  # fmt: skip
    return SegformerForSemanticSegmentation(config)


def _upernet() -> nn.Module:
    from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = ConvNextConfig(depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], out_features=stages)
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=16, num_labels=CLASSES, pool_scales=[1, 2], use_auxiliary_head=False
    )
    return UperNetForSemanticSegmentation(config)


def _mask2former() -> nn.Module:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=2, out_features=stages
    )
    config = Mask2FormerConfig(
        backbone_config=backbone, num_labels=CLASSES, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=32, dim_feedforward=32, encoder_layers=1, decoder_layers=2, num_attention_heads=2,
        num_queries=7,
    )  # fmt: skip
    return Mask2FormerForUniversalSegmentation(config)


def _eomt() -> nn.Module:
    from transformers import EomtConfig, EomtForUniversalSegmentation

    config = EomtConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=64, patch_size=16, num_blocks=2,
        num_queries=7, num_labels=CLASSES, num_upscale_blocks=2, mlp_ratio=2,
    )  # fmt: skip
    return EomtForUniversalSegmentation(config)


_TRANSFORMERS = {"segformer": _segformer, "upernet": _upernet, "mask2former": _mask2former, "eomt": _eomt}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of save_pretrained, by the network's name."""
    folders: dict[str, Path] = {}

    def save(name: str) -> Path:
        if name not in folders:
            transformers = pytest.importorskip("transformers")
            transformers.logging.disable_progress_bar()
            torch.manual_seed(1)
            folders[name] = tmp_path_factory.mktemp(name)
            _TRANSFORMERS[name]().save_pretrained(folders[name])
        return folders[name]

    return save


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, nn.Module]:
    """The same network exported for free sizes (multiples of 8) and for one image of 64×96, and the network."""
    torch.manual_seed(2)
    folder, network = tmp_path_factory.mktemp("programs"), Exportable().eval()
    images = torch.randn(2, 3, 64, 96)
    side = torch.export.Dim
    free = {0: side("b", min=1, max=64), 2: 8 * side("h", min=2, max=512), 3: 8 * side("w", min=2, max=512)}
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=(free,)), folder / "free.pt2")
    torch.export.save(torch.export.export(network, (images[:1],)), folder / "fixed.pt2")
    return folder / "free.pt2", folder / "fixed.pt2", network


@pytest.fixture(scope="session")
def make(saved: Callable[[str], Path], programs: tuple[Path, Path, nn.Module]) -> Callable[[str], ClosedSetSegmenter]:
    """A fresh segmenter of a kind, always with the same weights."""
    from ignota.models.transformers_segmenter import TransformersSegmenter

    def build(kind: str) -> ClosedSetSegmenter:
        torch.manual_seed(3)
        if kind == "deeplabv3plus":
            return SmpSegmenter(SmpSpec(CLASSES, decoder_channels=16))
        if kind == "deeplabv3plus_detail":
            return SmpSegmenter(SmpSpec(CLASSES, decoder_channels=16, detail=6))
        if kind == "pspnet":
            return SmpSegmenter(SmpSpec(CLASSES, "pspnet", "resnet18", output_stride=8, decoder_channels=16))
        if kind.startswith("exported"):
            return ExportedSegmenter(programs[1] if kind == "exported_fixed" else programs[0])
        if kind == "tapped":
            return TappedModule(Street(), {"stage1": "stem", "stage3": "backbone"}, CLASSES, multiple=8)
        return TransformersSegmenter(saved(kind))

    return build
