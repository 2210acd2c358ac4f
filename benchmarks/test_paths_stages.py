"""What RAML adds to a segmenter's forward pass, stage by stage, and how long teaching takes; `make bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.memory import peak
from benchmarks.racing import OURS, Bar
from benchmarks.references import components_by_compare, novel_labels_by_region, pool_by_multiplication

from ignota.functional.edges import edge_map
from ignota.functional.pooling import region_pool
from ignota.functional.prototypes import assign_novel, known_similarity, novel_similarity
from ignota.functional.regions import candidate_regions, mask_regions, paint
from ignota.functional.scores import uncertainty_intensity
from ignota.models.heads import RegionEmbedder
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec
from ignota.perception.hierarchy import image_hierarchy
from ignota.perception.networks import network_input
from ignota.perception.proposals import edge_evidence
from ignota.storage import bundle
from ignota.structures import Encoding, RegionSet
from ignota.synthetic.scene import draw_scene
from ignota.synthetic.streets import SyntheticStreets
from ignota.world.model import OpenWorldModel

HEIGHT, WIDTH, CLASSES, NOVEL = 1024, 2048, 19, 3
FORWARD = "the forward pass of DeepLabV3+ EfficientNet-Lite0"
SHARE, SMALLEST, THETA = 0.1, 0.0005, 0.0


class Street:
    """One image of 2048×1024 as networks give it: features and logits at stride 4, and untrained networks."""

    def __init__(self, device: str) -> None:
        random = torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        self.image = draw_scene(3, HEIGHT, WIDTH, 0).image
        self.segmenter = SmpSegmenter(SmpSpec(CLASSES)).eval().to(device, memory_format=torch.channels_last)
        self.input = ((torch.from_numpy(self.image)[None].float() - 127.5) / 127.5).permute(0, 3, 1, 2).to(device)
        with torch.inference_mode():
            self.features = self.segmenter(self.input).features["decoder"][0]
        # An untrained network knows no classes: smooth logits stand in, with uncertain pixels where they cross.
        coarse = torch.randn(1, CLASSES, 32, 64, generator=random) * 4
        self.logits = F.interpolate(coarse, size=self.features.shape[1:], mode="bilinear")[0].to(device)
        self.embedder = RegionEmbedder(len(self.features), CLASSES).eval().to(device)
        self.prototypes = F.normalize(torch.randn(CLASSES + NOVEL, 128, generator=random), dim=1).to(device)
        sobel, unsure = (e.flatten()[::7].cpu().numpy() for e in edge_evidence(self.image, self.logits))
        self.alpha, self.beta = float(np.quantile(sobel, 1 - SHARE)), float(np.quantile(unsure, 1 - SHARE))
        blobs = torch.rand(1, 1, 16, 32, generator=random)
        smooth = F.interpolate(blobs, size=self.logits.shape[1:], mode="bicubic")[0, 0]
        self.union = (smooth > smooth.quantile(0.6)).to(device)

    @torch.inference_mode()
    def forward(self) -> object:
        return self.segmenter(self.input)

    @torch.inference_mode()
    def anomaly(self) -> torch.Tensor:
        """Eq. 2 to 5: edges, components, pooling, D and Q."""
        sobel, unsure = edge_evidence(self.image, self.logits)
        regions = candidate_regions(edge_map(sobel, unsure, self.alpha, self.beta)[0], SMALLEST)
        similarity = known_similarity(self.embedder(region_pool(self.features, regions)), self.prototypes[:CLASSES])
        return uncertainty_intensity(self.best(), similarity, regions, sign="printed")

    def best(self) -> torch.Tensor:
        return F.interpolate(self.logits.amax(0)[None, None], size=(HEIGHT, WIDTH), mode="bilinear")[0, 0]

    @torch.inference_mode()
    def anomaly_by_loops(self) -> torch.Tensor:
        """The same with a compare for every component and a multiplication for every region."""
        sobel, unsure = edge_evidence(self.image, self.logits)
        edges = edge_map(sobel, unsure, self.alpha, self.beta)[0].cpu().numpy()
        regions = components_by_compare(edges, SMALLEST * edges.size)
        grid = RegionSet(np.ascontiguousarray(regions.ids[::4, ::4]), regions.count)
        pooled = pool_by_multiplication(self.features, grid).nan_to_num()
        similarity = known_similarity(self.embedder(pooled), self.prototypes[:CLASSES])
        return uncertainty_intensity(self.best(), similarity, regions, sign="printed")

    @torch.inference_mode()
    def novel(self) -> torch.Tensor:
        """Eq. 3, 11 and 12 on the grid of the features; labels of known classes are the closed set's own."""
        regions = mask_regions(self.union, SMALLEST, fill_holes=False)
        similarity = novel_similarity(self.embedder(region_pool(self.features, regions)), self.prototypes[CLASSES:])
        return paint(assign_novel(similarity, THETA), regions, -1)

    @torch.inference_mode()
    def novel_by_loops(self) -> torch.Tensor:
        return novel_labels_by_region(
            self.logits, self.union.cpu(), self.features, self.embedder, self.prototypes[CLASSES:], THETA, SMALLEST,
            (HEIGHT, WIDTH),
        )  # fmt: skip


@pytest.fixture
def street(device: str, threads: int) -> Street:
    return Street(device)


def test_the_anomaly_stage(race, street: Street, device: str) -> None:
    street.forward()
    street.anomaly()
    race(
        "anomaly stage",
        "all that RAML adds to the anomaly stage at 2048×1024, on decoder features",
        {
            OURS: street.anomaly,
            FORWARD: street.forward,
            "a compare and a multiplication per region": street.anomaly_by_loops,
        },
        [Bar(OURS, FORWARD, most=0.1)],
        device,
        rounds=7,
        notes={
            "peak memory of the forward pass in MB": peak("forward"),
            "peak memory of both in MB": peak("forward and stage"),
        },
    )


def test_the_incremental_stage(race, street: Street, device: str) -> None:
    regions = mask_regions(street.union, SMALLEST, fill_holes=False)
    # The reference writes closed-set labels too, at full resolution; ours leaves them to whoever wants them.
    ours = np.kron(street.novel().cpu().numpy(), np.ones((4, 4), np.int64))
    slow = street.novel_by_loops().cpu().numpy()
    assert ((ours >= 0) == (slow >= CLASSES)).mean() > 0.999
    race(
        "incremental stage",
        f"all that RAML adds to the incremental stage at 2048×1024, {regions.count} regions, on the feature grid",
        {OURS: street.novel, FORWARD: street.forward, "per-region reference": street.novel_by_loops},
        [Bar(OURS, FORWARD, most=0.05), Bar("per-region reference", OURS, least=20)],
        device,
        rounds=7,
        notes={"regions": regions.count},
    )


def test_regions_of_the_image(race) -> None:
    image = SyntheticStreets("anomaly", 1, (720, 1280), 0)[0].image
    race(
        "image regions",
        "regions of the image alone, 1280×720",
        {OURS: lambda: image_hierarchy(image), "a copy of the image": image.copy},
        [],
        rounds=5,
    )


def test_the_world_s_own_score(race, threads: int) -> None:
    """What `raml` adds with its frozen encoder, regions, neighbours and smoothing, camvid-11 read at 1280×720."""
    world = bundle.load("camvid-11")
    networks = world.networks
    image = SyntheticStreets("anomaly", 1, (720, 1280), 0)[0].image
    encoding = world.encode(image, 720)
    assert encoding.image.shape == image.shape
    frozen, close = networks.frozen, networks.views(image)[1]
    assert frozen is not None and close is not None

    @torch.inference_mode()
    def forward() -> object:
        return networks.segmenter(network_input(image, networks.segmenter.preprocessing, networks.device))

    @torch.inference_mode()
    def encoder() -> object:
        return frozen(network_input(close, frozen.preprocessing, networks.device))

    def tables() -> object:
        world._read.clear()
        return world.tables(encoding)

    race(
        "own score",
        "all that the score `raml` adds, camvid-11 read at 1280×720",
        {
            OURS: lambda: (encoder(), tables()),
            "its segmenter's forward pass": forward,
            "its frozen encoder alone": encoder,
            "its regions alone": lambda: image_hierarchy(image),
        },
        [Bar(OURS, "its segmenter's forward pass", most=0.6)],
        rounds=5,
    )


@pytest.fixture
def lesson(tmp_path: Path, threads: int) -> tuple[OpenWorldModel, list[tuple[Encoding, np.ndarray]]]:
    """A copy of a shipped world, and five encoded images with their masks."""
    bundle.copy("camvid-11", tmp_path / "world")
    world = bundle.load(tmp_path / "world", writable=True)
    samples = [SyntheticStreets("anomaly", 5, (720, 960), 0)[i] for i in range(5)]
    return world, [(world.encode(sample.image), sample.label == 1) for sample in samples]


def test_a_lesson_of_five_images(race, lesson: Any) -> None:
    world, examples = lesson

    def learn() -> None:
        world.learn("thing", examples, force=True)

    def learn_unread() -> None:
        world._read.clear()
        learn()

    def forget() -> None:
        if "thing" in world.classes.names:
            world.forget("thing")

    learn()
    assert world.classes.names[-1] == "thing"
    race(
        "lesson",
        "one class learnt from five images of 960×720 that were encoded and read before",
        {OURS: learn, "encoded but not yet read (regions, neighbours)": learn_unread},
        [],
        rounds=7,
        notes={"most ms": 50},
        before=forget,
    )
