"""A score of your own, from its formula to a world that holds it.

python examples/new_score.py WORLD CITYSCAPES NEW_WORLD
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import ignota
from ignota.data.datasets import open_dataset
from ignota.scores.fitted_scores import FITTED_SCORES
from ignota.scores.score import AnomalyScore, stacked
from ignota.storage import bundle
from ignota.training.refitting import with_scores


class Margin(AnomalyScore):
    """-(U₁ - U₂) / m: how little the largest logit exceeds the second, in units of its mean m on training pixels."""

    citation = "yours, 2026"

    def observe(self, encoding, label, rng):
        seen = torch.from_numpy(label.ravel() != 255)  # void pixels must leave no trace
        first, second = encoding.logits.flatten(1)[:, seen].topk(2, dim=0).values
        return {"margins": (first - second).cpu()}

    def state(self, observations):
        return {"mean": stacked(observations, "margins").mean().clamp(min=1e-6)}

    def score(self, encoding, state):
        first, second = encoding.logits.topk(2, dim=0).values
        return (second - first) / state["mean"]


FITTED_SCORES["margin"] = lambda coreset, neighbours: Margin()  # before a world that holds it is opened


def main(world: str, root: str, out: str) -> list[str]:
    """Fits the score on the world's training images; returns what the new world can rank."""
    richer = with_scores(ignota.load(world), ["margin"], open_dataset("cityscapes", root, "train"))
    bundle.save(richer, Path(out))
    names = ["margin", "region:margin", "fuse:margin+knn"]
    maps = richer.scores(richer.encode(open_dataset("cityscapes", root, "val")[0].image), names)
    return [f"{name}: {tuple(found.shape)}, mean {float(found.mean()):.2f}" for name, found in maps.items()]


if __name__ == "__main__":
    sys.stdout.write("\n".join(main(*sys.argv[1:])) + "\n")
