"""Colours are principal components, the same ones every time."""

import pytest
import torch

from vitrail.explain import features as module
from vitrail.explain.features import principal_colours


def test_colours_are_the_three_largest_components() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    spread = torch.tensor([9.0, 5.0, 2.0, 0.1, 0.1, 0.1, 0.1, 0.1])
    features = torch.randn(30, 40, 8, generator=generator) * spread @ basis + 3
    colours = principal_colours(features).double() / 127.5 - 1
    flat = features.flatten(0, 1).double()
    _, values, vectors = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    for channel in range(3):
        own = (flat - flat.mean(0)) @ vectors[channel] / (2.5 * values[channel] / 1200**0.5)
        own = own.clamp(-1, 1).reshape(30, 40)
        difference = min((colours[..., channel] - sign * own).abs().max() for sign in (1, -1))
        assert difference <= 0.5 / 127.5 + 1e-6, channel


def test_the_sign_is_that_of_the_channel_that_counts_most() -> None:
    ramp = torch.linspace(-1, 1, 11)[:, None, None]
    features = ramp * torch.tensor([0.1, -2.0, 0.3])
    red = principal_colours(features)[:, 0, 0].tolist()
    assert red == sorted(red, reverse=True)
    assert red[5] == 128
    again = principal_colours(-features).flip(0).int() - principal_colours(features).int()
    assert again.abs().max() <= 1, "no more than rounding"


def test_what_has_no_spread_is_grey() -> None:
    ramp = torch.linspace(-1, 1, 11)[:, None, None] * torch.tensor([1.0, 0.0])
    assert (principal_colours(ramp)[..., 1:] == 128).all()
    assert (principal_colours(torch.ones(3, 4, 6)) == 128).all()
    assert (principal_colours(torch.randn(1, 1, 6)) == 128).all()


def test_of_a_large_grid_a_sample_gives_the_components(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([9.0, 5.0, 2.0, 0.1])
    features = torch.randn(64, 64, 4, generator=generator) * spread
    whole = principal_colours(features).int()
    monkeypatch.setattr(module, "SAMPLE", 1000)
    assert not torch.equal(whole, principal_colours(features).int()), "the sample is not all"
    difference = (whole - principal_colours(features)).float()
    assert difference.abs().mean() < 8, "nearly the same axes and scales"
    monkeypatch.setattr(module, "SAMPLE", 64 * 64)
    assert torch.equal(whole, principal_colours(features).int())
