"""The states of all scores: one pass over training images for all, then each state from its observations.

What a score has learnt is kept on disk as soon as it is there, if a folder is given: a call that was killed goes on
with the next score.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from ignota.perception.networks import Networks
from ignota.scores.fitted_scores import code_of
from ignota.scores.score import OUTLIER, AnomalyScore, State
from ignota.scores.trained import TrainedScore
from ignota.structures import InputError, Sample
from ignota.synthetic.pasting import CutOut, cut_outs, paste
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.distributed import each
from ignota.training.embedder_run import training_label
from ignota.training.fitting import image_generator
from ignota.training.stage_run import RECORD, StageFolder, fingerprint
from ignota.training.stream import TrainingImages

Bars = Callable[[str, int, str], AbstractContextManager[Callable[[], object]]]
"""Title, total and unit of something that takes long -> a bar's tick."""
_AS_IS = np.arange(256, dtype=np.uint8)
_SCENES, _PASTED = 40, 3
"""How many synthetic scenes things are cut from, and how many are pasted into a picture."""


@contextmanager
def no_bars(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
    """Nothing is shown."""
    yield lambda: None


@dataclass(frozen=True)
class KeptStates:
    """A folder that keeps finished states until the whole world is written. origin: what they all depend on."""

    folder: Path
    origin: str

    def of(self, name: str, score: AnomalyScore) -> StageFolder:
        return StageFolder(self.folder / name, fingerprint(self.origin, name, score.settings(), code_of(name)))

    def drop(self) -> None:
        """Removes what was kept, once it is part of a world."""
        for record in self.folder.glob(f"*/{RECORD}"):
            shutil.rmtree(record.parent)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def fit_states(
    networks: Networks,
    data: TrainingImages,
    catalogue: Mapping[str, AnomalyScore],
    tick: Callable[[], object],
    bars: Bars = no_bars,
    kept: KeptStates | None = None,
) -> dict[str, State]:
    """The state of every score of `catalogue`; raises InputError where no pixel is labelled.

    tick: called once an image. bars: shows what is learnt by gradient descent. kept: holds finished states.
    """
    fitted_as = {
        name: next(first for first in catalogue if first == name or score.learns_like(catalogue[first]))
        for name, score in catalogue.items()
    }
    wanted = {name: score for name, score in catalogue.items() if fitted_as[name] == name}
    states = {name: found for name, score in wanted.items() if (found := _taken_up(kept, name, score)) is not None}
    missing = {name: score for name, score in wanted.items() if name not in states}
    observations = observed(networks, data, missing, tick) if missing else {}
    for name, score in missing.items():
        seen = observations.pop(name)  # one score's sample need not lie about while the next one learns
        if isinstance(score, TrainedScore):
            with bars(name, score.steps, "step") as step:
                states[name] = score.train(seen, data.seed, step)
        else:
            states[name] = score.state(seen)
        if kept is not None:
            folder = kept.of(name, score)
            folder.begin()
            folder.finish({key: value.contiguous() for key, value in states[name].items()}, {"score": name})
    # Copies: a file of tensors can hold none of them under two names.
    return {name: {k: v.clone().to(networks.device) for k, v in states[one].items()} for name, one in fitted_as.items()}


def observed(
    networks: Networks, data: TrainingImages, catalogue: Mapping[str, AnomalyScore], tick: Callable[[], object]
) -> dict[str, list[State]]:
    """What each score takes from the images. One forward pass an image, and one for the picture with things pasted in
    where a score asks for it."""
    views = {score.pasted for score in catalogue.values()}
    things = cut_outs(_SCENES, data.seed) if True in views else ()

    def read(image: int) -> dict[str, State]:
        sample, found = data.samples[image], {}
        for pasted in sorted(views):
            shown, table = (_pasted(sample, data, things, image), _AS_IS) if pasted else (sample, data.lut)
            encoding = networks.encode(shown.image)
            label = training_label(shown, table, (encoding.logits.shape[1], encoding.logits.shape[2]))
            if (label != IGNORE_INDEX).any():
                for name, score in catalogue.items():
                    if score.pasted == pasted:
                        found[name] = score.observe(encoding, label, image_generator(data.seed, image))
        return found

    observations: dict[str, list[State]] = {name: [] for name in catalogue}
    for seen in each(data.images, read):
        for name, observation in seen.items():
            observations[name].append(observation)
        tick()
    if data.images and not any(observations.values()):
        raise InputError("no training image has a labelled pixel of a known class: check the images and their split")
    return observations


def _pasted(sample: Sample, data: TrainingImages, things: tuple[CutOut, ...], image: int) -> Sample:
    """The picture with unknown objects pasted in, labelled in training ids; their pixels are OUTLIER."""
    height, width = sample.image.shape[:2]
    label = training_label(sample, data.lut, (height, width))
    view, target = paste(sample.image, label, things, _PASTED, image_generator(data.seed + 1, image))
    return Sample(sample.key, view, np.where(target == 1, np.uint8(OUTLIER), label))


def _taken_up(kept: KeptStates | None, name: str, score: AnomalyScore) -> dict[str, Tensor] | None:
    folder = None if kept is None else kept.of(name, score)
    return folder.tensors() if folder is not None and folder.finished() is not None else None


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
