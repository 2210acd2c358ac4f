"""RAML's incremental stage on a branch: meta channels, candidate regions, D, θ (Section 3.3 and Appendix C.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ignota.functional.prototypes import assign_novel, class_prototypes, cosine_similarity, novel_similarity
from ignota.functional.regions import paint
from ignota.perception.branch import Branch, BranchReading, feature_key, share_key
from ignota.perception.known import Recipe
from ignota.perception.novel import Exemplar
from ignota.perception.proposals import MetaChannelRegions, StrongestChannelRegions
from ignota.perception.scene import resize_mask
from ignota.structures import InputError, RegionSet

Proposer = MetaChannelRegions | StrongestChannelRegions


@dataclass(frozen=True)
class IncrementalRule:
    """How candidate regions are found and named.

    system: of the branch. regions: what proposes them. kappa: Equation 13. theta: θ_novel of Equation 12. inclusive:
    similarity ≥ θ, as released, rather than > θ. features: weight of the cosine of the mean features beside that of
    D's embedding, which has 1 - features; 0 as printed and as released.
    """

    system: str
    regions: Proposer
    kappa: float
    theta: float = 0.8
    inclusive: bool = False
    features: float = 0.0


RULES: dict[str, IncrementalRule] = {
    "raml_paper": IncrementalRule("paper", MetaChannelRegions(min_area=0.0005), kappa=0.1),
    "raml_released": IncrementalRule(
        "released",
        MetaChannelRegions(min_area=250 / (256 * 512), fill_holes=False, closing=5 / 256),
        kappa=0.15,
        inclusive=True,
    ),
    "raml_tuned": IncrementalRule(
        "paper", StrongestChannelRegions(min_area=0.0005, threshold=0.7), kappa=0.1, theta=0.75, features=1.0
    ),
}
"""`raml_tuned` departs from the paper where training images say so, see docs/differences.md."""


def rule_of(method: str, recipe: Recipe) -> IncrementalRule:
    """The rule of a method in a world; printed and released ones take θ and κ of its recipe."""
    rule = RULES[method]
    if method == "raml_tuned":
        return rule
    kappa = recipe.kappa_released if method == "raml_released" else recipe.kappa
    return dataclasses.replace(rule, kappa=kappa, theta=recipe.theta)


@dataclass(frozen=True)
class BranchEvidence:
    """Taught classes as a branch sees them, in order of teaching.

    prototypes: "K D" mean embeddings of D, Equation 10. means: "K F" mean features. shares: "N M" the ratio of Equation
    13 of each exemplar and meta channel.
    """

    names: tuple[str, ...]
    prototypes: Float[Tensor, "K D"]
    means: Float[Tensor, "K F"]
    shares: Float[Tensor, "N M"]

    def selected(self, kappa: float) -> Bool[Tensor, " M"]:
        """The candidate meta channels of Equation 14: those whose ratio exceeds κ in any exemplar."""
        return (self.shares > kappa).any(0)


def branch_evidence(branch: Branch, exemplars: Sequence[Exemplar]) -> BranchEvidence:
    """Prototypes and channel shares of all taught classes; raises InputError for an exemplar that was taught without
    this branch."""
    exemplars = [exemplar for exemplar in exemplars if exemplar.whole]  # others hold counter-examples alone
    names = tuple(dict.fromkeys(exemplar.name for exemplar in exemplars))
    feature, share = feature_key(branch.system), share_key(branch.system)
    for exemplar in exemplars:
        if feature not in exemplar.whole or share not in exemplar.shares:
            raise InputError(
                f"{exemplar.name!r} was taught without the branch {branch.system!r}: forget it and teach it again "
                f"with --branches {branch.system}"
            )
    device = branch.networks.device
    owner = torch.tensor([names.index(exemplar.name) for exemplar in exemplars], dtype=torch.long, device=device)
    width = branch.networks.segmenter.taps["decoder"].channels
    vectors = torch.cat([exemplar.whole[feature] for exemplar in exemplars]) if names else torch.zeros(0, width)
    vectors = vectors.float().to(device)
    with torch.inference_mode():
        prototypes = class_prototypes(branch.embedder(vectors), owner, len(names))
    shares = [exemplar.shares[share].to(device) for exemplar in exemplars]
    none = torch.zeros(0, branch.head.meta_channels, device=device)
    means = class_prototypes(vectors, owner, len(names))
    return BranchEvidence(names, prototypes, means, torch.stack(shares) if shares else none)


def candidate_regions(
    reading: BranchReading,
    evidence: BranchEvidence,
    rule: IncrementalRule,
    within: Bool[np.ndarray, "H W"] | None = None,
) -> RegionSet:
    """The regions that Equations 13 to 15 propose, on the working grid; none where nothing is taught.

    within: only these pixels, as the unknown region that RAML's Figure 2 hands to the incremental stage.
    """
    if not evidence.names:
        return RegionSet(np.zeros(reading.size, np.int32), 0)
    channels = reading.channels
    if within is not None:
        grid = resize_mask(within, (channels.shape[1], channels.shape[2]))
        channels = channels * torch.from_numpy(grid).to(channels)
    return rule.regions(channels, evidence.selected(rule.kappa), reading.size)


def region_similarities(
    branch: Branch, reading: BranchReading, regions: RegionSet, evidence: BranchEvidence, features: float = 0.0
) -> Float[Tensor, "R K"]:
    """Cosine of each region to each taught class, Equation 11: of D's embeddings, or with weight `features` of the
    mean features themselves."""
    with torch.inference_mode():
        vectors = reading.pool(regions)
        found = novel_similarity(branch.embedder(vectors), evidence.prototypes)
        if features:
            found = (1 - features) * found + features * cosine_similarity(vectors, evidence.means)
        return found


def named_regions(
    branch: Branch, reading: BranchReading, regions: RegionSet, evidence: BranchEvidence, rule: IncrementalRule
) -> UInt8[np.ndarray, "H W"]:
    """World ids: the branch's known labels, overwritten where a region is assigned a taught class (Equation 12)."""
    if not evidence.names:
        return reading.known
    similarity = region_similarities(branch, reading, regions, evidence, rule.features)
    novel = paint(assign_novel(similarity, rule.theta, rule.inclusive), regions, -1.0).cpu().numpy()
    return np.where(novel >= 0, (novel + branch.head.num_classes).astype(np.uint8), reading.known)
