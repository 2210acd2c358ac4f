"""A score of your own in every command, by one file.

ignota fit margin --plugin examples/new_score.py --world WORLD --data CITYSCAPES --out NEW_WORLD
ignota compare road_anomaly_21 --data ROOT --plugin examples/new_score.py --world NEW_WORLD --scores margin,raml,msp
"""

from __future__ import annotations

import torch

from ignota.plugins import FITTED_SCORES, AnomalyScore, stacked


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


FITTED_SCORES["margin"] = lambda coreset, neighbours: Margin()
