"""The cutoff for the score of an unknown object, chosen on held-out training images with and without pasted objects.

The cutoff of what is listed is the smallest one that leaves at most `FALSE_OBJECTS` false objects an image. That of
what counts as a component is the one with the best mean F1 of components.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8

from ignota.data.images import resize_label
from ignota.metrics.components import ComponentMetrics, Sizes
from ignota.metrics.objects import listed_and_false
from ignota.perception.known import KnownEvidence
from ignota.perception.objects import find_objects, snapped
from ignota.perception.reading import own_score, read_regions
from ignota.perception.scene import SMALLEST_REGION
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.embedder_run import training_label
from ignota.training.fitting import image_generator
from ignota.training.held_out import HeldOutReader

FALSE_OBJECTS = 2.0
"""False objects an image that a user accepts."""
CUTOFFS = (2.0, 4.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0)
"""Of components, to choose from."""
SMALLEST = Sizes(1, 30)
"""Components that count, in pixels of the working grid."""


def false_scores(z: Float[np.ndarray, "H W"], target: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, " N"]:
    """Scores of the false objects of an image. z: anomaly in scales above the threshold. target: 0 known, 1 unknown,
    255 void."""
    found = find_objects(z, -np.inf, SMALLEST_REGION)
    _, false = listed_and_false(found.ids, target)
    return np.asarray(found.scores[false])


def object_cutoff(scores: Sequence[Float[np.ndarray, " N"]]) -> float:
    """The smallest cutoff that at most FALSE_OBJECTS of the false objects an image exceed. scores: of each image."""
    joined = np.sort(np.concatenate([*scores, np.zeros(0)]))
    allowed = int(FALSE_OBJECTS * len(scores))
    return float(joined[-allowed - 1]) if len(joined) > allowed else 0.0


def add_components(
    components: Mapping[float, ComponentMetrics],
    z: Float[np.ndarray, "H W"],
    image: UInt8[np.ndarray, "H W 3"],
    target: UInt8[np.ndarray, "H W"],
) -> None:
    """Adds an image to the components at each cutoff. z, target: as for `false_scores`."""
    found = find_objects(z, min(components), SMALLEST_REGION)
    for cutoff, state in components.items():
        listed = np.where(found.ids <= (found.scores > cutoff).sum(), found.ids, 0).astype(np.int32)
        state.update("held out", snapped(listed, image) > 0, target)


def best_cutoff(components: Mapping[float, ComponentMetrics]) -> float | None:
    """The cutoff with the best mean F1, the lowest of equal ones; None where nothing was to be found."""
    f1 = {cutoff: state.compute()["f1"] or 0.0 for cutoff, state in components.items()}
    return max(sorted(f1), key=lambda cutoff: f1[cutoff]) if any(f1.values()) else None


def with_cutoffs(
    reader: HeldOutReader, known: KnownEvidence, held_out: Sequence[int], tick: Callable[[], object] = lambda: None
) -> KnownEvidence:
    """The same evidence whose recipes have a cutoff: two passes of the networks an image."""
    recipes = dict(known.recipes)
    scores: dict[str, list[np.ndarray]] = {name: [] for name in recipes}
    components = {cutoff: ComponentMetrics(SMALLEST) for cutoff in CUTOFFS}
    for image in held_out:
        for encoding, target in _views(reader, image):
            for name in recipes:
                z = _standardised(encoding, known.under(name))
                scores[name].append(false_scores(z, target))
                if name == "full":
                    add_components(components, z, encoding.image, target)
        tick()
    recipes = {
        name: dataclasses.replace(recipe, cutoff=object_cutoff(scores[name])) for name, recipe in recipes.items()
    }
    if "full" in recipes:
        recipes["full"] = dataclasses.replace(recipes["full"], component_cutoff=best_cutoff(components))
    own = recipes.pop(known.name)
    return dataclasses.replace(known, recipe=own, others=recipes)


def _views(reader: HeldOutReader, image: int) -> Iterator[tuple[Encoding, UInt8[np.ndarray, "H W"]]]:
    """An image bare, and as another camera might take it with things in it; targets are on the working grid."""
    sample = reader.samples[image]
    label = training_label(sample, reader.lut, (sample.image.shape[0], sample.image.shape[1]))
    bare = np.where(label == IGNORE_INDEX, IGNORE_INDEX, 0).astype(np.uint8)
    pasted = reader.pasted_picture(sample, image_generator(reader.seed + 3, image))
    for picture, target in ((sample.image, bare), pasted):
        encoding = reader.networks.encode(picture)
        yield encoding, resize_label(target, (encoding.image.shape[0], encoding.image.shape[1]))


def _standardised(encoding: Encoding, known: KnownEvidence) -> Float[np.ndarray, "H W"]:
    recipe = known.recipe
    with torch.inference_mode():
        score = own_score(encoding, known, read_regions(encoding, known))
    return np.asarray((score.cpu().numpy() - recipe.threshold) / recipe.scale, np.float32)
