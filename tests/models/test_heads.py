"""The small trained heads: meta channels and the region embedder D."""

from __future__ import annotations

import pytest
import torch

from ignota.models.heads import MetaChannelHead, RegionEmbedder


def test_known_channels_start_as_the_closed_set_s_own_logits() -> None:
    logits = torch.randn(2, 5, 6, 7)
    channels = MetaChannelHead(5, 3)(logits)
    assert channels.shape == (2, 8, 6, 7)
    torch.testing.assert_close(channels[:, :5], logits)
    assert 0 < channels[:, 5:].abs().mean() < logits.abs().mean()


def test_meta_channels_come_from_the_generator_alone() -> None:
    heads = [MetaChannelHead(5, 3, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    kernels = [head.convolution.weight for head in heads]
    assert torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[0], kernels[2])
    assert all(not head.convolution.bias.any() for head in heads)


def test_the_released_head_starts_as_any_convolution() -> None:
    own = MetaChannelHead(5, 3, torch.Generator().manual_seed(1), identity=False).convolution
    for value in (own.weight, own.bias):
        assert 0 < value.abs().max() <= 5**-0.5 and 0.1 < value.std() < 0.4
    other = MetaChannelHead(5, 3, torch.Generator().manual_seed(1), identity=False).convolution
    assert torch.equal(own.weight, other.weight) and torch.equal(own.bias, other.bias)


def test_meta_channel_head_learns() -> None:
    head = MetaChannelHead(5, 3)
    head(torch.randn(1, 5, 4, 4)).square().sum().backward()
    assert head.convolution.weight.grad is not None and head.convolution.weight.grad.abs().min() > 0


def test_embeddings_have_length_one() -> None:
    embedder = RegionEmbedder(6, 4, hidden=8, embedding=3)
    vectors = torch.randn(10, 6, requires_grad=True)
    embedded = embedder(vectors)
    assert embedded.shape == (10, 3)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(10))
    torch.testing.assert_close(embedded, embedder.raw(vectors) / embedder.raw(vectors).norm(dim=1, keepdim=True))
    embedded[:, 0].sum().backward()
    assert vectors.grad is not None and vectors.grad.abs().sum() > 0


def test_vectors_are_standardised_by_the_stored_statistics() -> None:
    plain = RegionEmbedder(6, 4, hidden=8, embedding=3)
    fitted = RegionEmbedder(6, 4, hidden=8, embedding=3)
    fitted.load_state_dict(plain.state_dict())
    mean, std = torch.randn(6), torch.rand(6) + 0.5
    fitted.mean.copy_(mean)
    fitted.std.copy_(std)
    vectors = torch.randn(9, 6)
    torch.testing.assert_close(fitted(vectors * std + mean), plain(vectors), atol=1e-5, rtol=1e-4)
    assert {"mean", "std"} <= set(fitted.state_dict())


@pytest.mark.parametrize("regions", [0, 1])
def test_no_region_and_one(regions: int) -> None:
    embedder = RegionEmbedder(6, 4)
    assert embedder(torch.zeros(regions, 6)).shape == (regions, 128)
    assert embedder.classifier(embedder.raw(torch.zeros(regions, 6))).shape == (regions, 4)
