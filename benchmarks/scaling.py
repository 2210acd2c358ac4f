"""How time grows with the size of the question: pixels, regions, classes, prototypes, evaluated pixels.

    python -m benchmarks.scaling [--record experiments/measured/performance/scaling.json] [--most 1e9]

Each curve is measured at rising sizes, the median of a few runs, and an exponent is fitted to its upper half, where
what does not grow no longer counts. `experiments.render` draws them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.racing import Run, machine, timed

from ignota.functional.confusion import confusion_matrix
from ignota.functional.curves import add_scores, curve_from_histogram, curve_metrics, empty_histogram
from ignota.functional.edges import edge_map, sobel_magnitude, softmax_uncertainty
from ignota.functional.pooling import region_pool
from ignota.functional.prototypes import known_similarity
from ignota.functional.regions import candidate_regions, region_mean
from ignota.functional.scores import max_logit, uncertainty_intensity
from ignota.heap import keep_freed_memory
from ignota.structures import RegionSet

_SECONDS, _RUNS = 8.0, 7
_FEATURES, _CLASSES = 64, 19
Case = tuple[int, Run]


def blobs(rows: int, columns: int, count: int, seed: int = 0) -> RegionSet:
    """A partition into the cells of so many random points."""
    rng = np.random.default_rng(seed)
    free = np.ones((rows, columns), np.uint8)
    free.ravel()[rng.choice(rows * columns, count, replace=False)] = 0
    _, ids = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    return RegionSet(np.asarray(ids, np.int32), int(ids.max()))


def over_pixels() -> Iterator[Case]:
    """The anomaly stage: edges, components, pooling of features at stride 4, Q."""
    for pixels in (125_000, 500_000, 2_000_000, 8_000_000, 16_000_000):
        rows = round((pixels / 2) ** 0.5) // 4 * 4
        size = rows, 2 * rows
        random = torch.Generator().manual_seed(0)
        # The same street, nearer: edges grow with the side, regions do not.
        scene = torch.rand(1, 3, 24, 48, generator=random)
        image = (F.interpolate(scene, size=size, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
        logits = F.interpolate(torch.randn(1, _CLASSES, 16, 32, generator=random), size=(rows // 4, rows // 2)) * 4
        features = torch.randn(rows // 4, rows // 2, _FEATURES, generator=random).permute(2, 0, 1)
        prototypes = torch.randn(_CLASSES, _FEATURES, generator=random)
        alpha = float(np.quantile(sobel_magnitude(image).numpy().ravel()[::7], 0.9))

        def stage(image=image, logits=logits, features=features, alpha=alpha, size=size, prototypes=prototypes) -> None:
            unsure = F.interpolate(softmax_uncertainty(logits)[None], size=size, mode="bilinear")[0]
            edges = edge_map(sobel_magnitude(image), unsure, alpha, 0.7)[0]
            regions = candidate_regions(edges, 0.0005)
            best = F.interpolate(-max_logit(logits)[None], size=size, mode="bilinear")[0, 0]
            uncertainty_intensity(best, known_similarity(region_pool(features, regions), prototypes), regions)

        yield size[0] * size[1], stage


def over_regions() -> Iterator[Case]:
    """Pooling of 256×256×512 features, channels last, and the mean score of each region, over Voronoi cells."""
    random = torch.Generator().manual_seed(0)
    features = torch.randn(256, 512, 256, generator=random).permute(2, 0, 1)
    scores = torch.randn(256, 512, generator=random)
    for count in (10, 100, 1000, 5000, 20_000):
        regions = blobs(256, 512, count)
        yield count, lambda regions=regions: (region_pool(features, regions), region_mean(scores, regions))


def over_classes() -> Iterator[Case]:
    """A confusion matrix of a million pixels, and the largest logit of 256×512 cells."""
    random = torch.Generator().manual_seed(0)
    for classes in (10, 30, 100, 250, 500, 1000):
        target, prediction = (torch.randint(0, classes, (1 << 20,), generator=random) for _ in range(2))
        prediction = torch.where(target == 255, 0, prediction)
        logits = torch.randn(1, classes, 128, 256, generator=random)
        yield (
            classes,
            lambda t=target, p=prediction, x=logits, c=classes: (
                confusion_matrix(t, p, c, -1 if c > 254 else 255),
                max_logit(x),
            ),
        )


def over_prototypes() -> Iterator[Case]:
    """Similarity of 1000 regions of 128 components to the nearest of so many prototypes."""
    random = torch.Generator().manual_seed(0)
    vectors = torch.randn(1000, 128, generator=random)
    for count in (10, 100, 1000, 10_000, 100_000):
        prototypes = torch.randn(count, 128, generator=random)
        yield count, lambda p=prototypes: known_similarity(vectors, p)


def over_evaluated(most: float) -> Iterator[Case]:
    """AUPR, AUROC and FPR95 by streaming images of a million pixels."""
    rng = np.random.default_rng(0)
    labels = rng.random(1 << 20, np.float32) < 0.05
    images = [rng.standard_normal(1 << 20, np.float32) + 2 * labels.astype(np.float32) for _ in range(8)]

    def stream(count: int) -> None:
        hist = empty_histogram()
        for n in range(count):
            add_scores(hist, images[n % 8], labels)
        curve_metrics(curve_from_histogram(hist.numpy()))

    for count in (1, 4, 16, 64, 256, 1024):
        if count << 20 <= most * 1.1:
            yield count << 20, lambda count=count: stream(count)


CURVES: dict[str, tuple[str, Callable[..., Iterator[Case]]]] = {
    "pixels": ("anomaly stage", over_pixels),
    "regions": ("pooling and mean score", over_regions),
    "classes": ("confusion matrix and largest logit", over_classes),
    "prototypes": ("nearest prototype of 1000 regions", over_prototypes),
    "evaluated pixels": ("AUPR, AUROC, FPR95", over_evaluated),
}


def measured(cases: Iterator[Case]) -> dict[str, list[float]]:
    """Sizes and median seconds; slow cases run less often."""
    sizes, seconds = [], []
    for size, run in cases:
        times = [timed(run, "cpu")]
        while len(times) < _RUNS and sum(times) < _SECONDS:
            times.append(timed(run, "cpu"))
        sizes.append(float(size))
        seconds.append(statistics.median(times[1:] or times))
        sys.stderr.write(f"  {size:>13,}  {1e3 * seconds[-1]:10.2f} ms\n")
    return {"sizes": sizes, "seconds": seconds}


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """Slope of the straight line through the upper half of the points, both axes logarithmic."""
    half = len(sizes) // 2
    slope, _ = np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)
    return float(slope)


def main() -> None:
    keep_freed_memory()  # as every command
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, default=Path("experiments/measured/performance/scaling.json"))
    parser.add_argument("--most", type=float, default=1e9, help="evaluated pixels of the longest stream")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=CURVES, action="append", help="these curves alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    held: dict[str, Any] = json.loads(options.record.read_text("utf-8")) if options.record.exists() else {}
    curves = held["curves"] if held.get("machine") == machine() else {}
    for name in options.only or CURVES:
        what, cases = CURVES[name]
        sys.stderr.write(f"{name}: {what}\n")
        points = measured(cases(options.most) if cases is over_evaluated else cases())
        curves[name] = {"what": what, **points, "exponent": exponent(**points), "threads": options.threads}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    whole = {"machine": machine(), "date": date, "curves": curves}
    options.record.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
