"""The functions of `import ignota`: they do what the commands do, by the same code.

Training is imported where it is called, as opening a world needs nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ignota.backends.choosing import device_called
from ignota.data.datasets import open_dataset
from ignota.errors import InputError
from ignota.evaluation.choices import AnomalyChoice, Edges, checked_methods, chosen_shots, default_methods
from ignota.evaluation.incremental_evaluation import evaluate_incremental as measure_incremental
from ignota.formats.score_maps import MapFolder
from ignota.models.opening import Hints, open_segmenter, triple
from ignota.perception.known import RecipeChoice
from ignota.storage import bundle
from ignota.training.configuration import System
from ignota.training.settings import LARGEST, SMALLEST, checked, configuration, read_preset
from ignota.world.model import OpenWorldModel as World

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Trained:
    """What `train` leaves. world: the folder of the new world. results: as in results.json. report: an HTML page."""

    world: Path
    results: Mapping[str, object] = field(repr=False)
    report: Path


def load(
    world: str | Path = "camvid-11",
    *,
    writable: bool = False,
    device: Device = "auto",
    size: int | None = None,
    allow_code: bool = False,
    allow_download: bool = False,
    recipe: RecipeChoice = "auto",
) -> World:
    """Opens a world by its folder or shipped name.

    writable: whether it may be taught, which shipped worlds may not. size: the short side of the working images in
    pixels, by default the world's own. allow_code: run the code that its segmenter is made of. allow_download: let a
    hub be asked for weights. recipe: `full` finds objects with an objectness network, `light` does without; `auto`
    takes `full` where the world holds it and its packages are installed. Raises InputError for a world that is not
    there, damaged or of another version.
    """
    return bundle.load(world, device_called(device), writable, checked_size(size), allow_code, allow_download, recipe)


def train(
    preset: str | Path,
    out: str | Path,
    data: str | Path | None = None,
    *,
    settings: Mapping[str, object] | None = None,
    device: Device = "auto",
    allow_download: bool = False,
    quiet: bool = False,
) -> Trained:
    """Runs all stages of an experiment in the folder `out`, as `ignota run`; called again, it goes on.

    preset: a shipped name or a YAML file. data: the folder of the images. settings: what differs from the preset, by
    dotted key, such as `{"closed_set.steps": 500, "seed": 1}`. quiet: no progress on standard error. Raises InputError.
    """
    from ignota.training import experiment
    from ignota.training.training import hush_training

    config = configuration(read_preset(str(preset)) | checked(settings or {}, "settings"))
    checked_size(config.size)
    hush_training()
    folder = Path(out)
    results = experiment.run_experiment(
        config, folder, _path(data), device_called(device), quiet, allow_download=allow_download
    )
    return Trained(folder / experiment.WORLD, results, folder / experiment.REPORT)


def adapt(
    segmenter: str | Path,
    data: str | Path | None,
    out: str | Path,
    *,
    dataset: str | None = None,
    split: str | None = None,
    classes: Sequence[str] = (),
    branches: Sequence[System] = (),
    settings: Mapping[str, object] | None = None,
    architecture: str | None = None,
    encoder: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    taps: Mapping[str, str] | None = None,
    device: Device = "auto",
    allow_code: bool = False,
    allow_download: bool = False,
    quiet: bool = False,
    watch: Callable[[str], object] | None = None,
) -> World:
    """A world around a segmenter that somebody already has, written to the new folder `out`, as `ignota adapt`.

    segmenter: a save_pretrained folder, an exported program (.pt2), an ONNX file, a state dict or checkpoint of the
    network that `architecture` and `encoder` name, a name on a hub or "torchvision:NAME", which need `allow_download`,
    or "package:function", which needs `allow_code` once. dataset: by default `folder` where `data` has a classes.yaml,
    else the taxonomy of `split`; split: known and novel classes, such as "camvid:8+3", by default all are known.
    classes: what the segmenter's outputs are, in order, by default the names in its files, else in the data set's
    order. mean, std: how its images are normalised. taps: {tap: node} of an ONNX file. branches: systems of the paper
    to train on copies of the segmenter. settings: as for `train`. watch: called with the segmenter's check on its
    classes. Raises InputError, also where it does not know them.
    """
    from ignota.training import adapting
    from ignota.training.training import hush_training

    target, root = Path(out), _path(data)
    if target.exists():
        raise InputError(f"{target} exists already: choose another name or remove it")
    name = dataset or (split or "").partition(":")[0] or adapting.folder_at(root)
    if not name:
        raise InputError("which data set is it", "say dataset=NAME, such as cityscapes")
    images = adapting.training_images(name, root)
    if images.taxonomy is None:
        raise InputError(f"{name} has no classes to know: adapt needs a data set with classes, such as cityscapes")
    base = {"data.dataset": name, "data.train": images.split, "meta_channels.branches": list(branches)}
    base |= {"data.split": split} if split else {}
    config = configuration(checked(base, "adapt") | checked(settings or {}, "settings"))
    hush_training()
    known = adapting.known_of(images.taxonomy, split)
    hints = Hints(architecture, encoder, triple("mean", mean), triple("std", std), taps or {}, len(classes) or known)
    network = open_segmenter(str(segmenter), hints, allow_code, allow_download)
    config = adapting.with_classes(config, images.taxonomy, split, network, classes)
    return adapting.adapt(
        network,
        root,
        target,
        config,
        device_called(device),
        quiet,
        allow_download,
        allow_code,
        watch or (lambda _: None),
    )


def evaluate_anomaly(
    world: World | str | Path,
    dataset: str,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    scores: Sequence[str] | None = None,
    protocol: Literal["standard", "dmlnet"] = "standard",
    edges: Edges = "training",
    maps: Mapping[str, str | Path] | None = None,
    device: Device = "auto",
) -> Mapping[str, object]:
    """Measures anomaly scores on a data set by the world as it was before it was taught: `ignota evaluate anomaly`.

    world: an open one, or what `load` takes, then on `device`. data: the data set's folder. split: by default `val`.
    scores: by default every score of the world. maps: of other methods by name, a folder of .npy or .hdf5 each. Gives
    {"dataset", "images", "scores": {NAME: {"pooled": {"aupr", "auroc", "fpr95", "tpr5"}, "per_image", "component"}}},
    fractions in 0..1; "open_miou" too where known classes are labelled. Raises InputError.
    """
    outside = tuple(MapFolder.parse(f"{name}={folder}") for name, folder in (maps or {}).items())
    images = open_dataset(dataset, data, split)
    with _opened(world, device) as opened:
        return AnomalyChoice(scores, protocol, edges, outside).figures(opened, images)


def evaluate_incremental(
    world: World | str | Path,
    dataset: str,
    data: str | Path | None = None,
    *,
    split: str | None = None,
    methods: Sequence[str] | None = None,
    shots: int = 5,
    draws: int = 0,
    min_share: float = 0.0,
    seed: int = 0,
    novel: Sequence[str] = (),
    support: str | Path | None = None,
    device: Device = "auto",
) -> Mapping[str, object]:
    """Teaches a copy of the world the novel classes of a data set, then measures: `ignota evaluate incremental`.

    methods: by default every one. shots: examples of each class, by default the largest in the split `train` of
    `support` or `data`; draws: so many random draws by `seed` instead, from images that show at least `min_share` of
    the class. novel: the classes to teach, by default all novel ones. Gives {"miou": {"all", "novel", "old",
    "harmonic"}, "iou": {CLASS: …}, "methods": {NAME: the same}, …}, fractions in 0..1. Raises InputError.
    """
    drawn, named = chosen_shots(shots, draws, min_share, seed), checked_methods(methods)
    images, examples = open_dataset(dataset, data, split), open_dataset(dataset, support or data, "train")
    with _opened(world, device) as opened:
        return measure_incremental(opened, images, examples, named or default_methods(opened), drawn, novel=novel)


def checked_size(size: int | None) -> int | None:
    """The short side of working images; raises InputError for one that is too small or too large."""
    if size is not None and not SMALLEST <= size <= LARGEST:
        raise InputError.of_argument("size", f"is the short side in pixels, {SMALLEST} to {LARGEST}, not {size}")
    return size


@contextmanager
def _opened(world: World | str | Path, device: Device) -> Iterator[World]:
    """The world itself, or one that is opened for the block alone."""
    if isinstance(world, World):
        yield world
        return
    opened = load(world, device=device)
    try:
        yield opened
    finally:
        opened.store.close()


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
