import numpy as np
import pytest
import torch

from vitrail.data.joint import Motion, Shade

SHAPES = ((40,), (40, 33), (20, 24, 17))


def coordinates(spatial: tuple[int, ...]) -> torch.Tensor:
    """Each place along each axis: what linear interpolation reproduces."""
    axes = [torch.arange(n) for n in spatial]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


@pytest.mark.parametrize("spatial", SHAPES)
@pytest.mark.parametrize("seed", range(6))
def test_input_and_labels_move_together(spatial, seed) -> None:
    """Labels used as an input lie at the same places, to half a sample."""
    places = coordinates(spatial)
    size = tuple(n // 2 + 1 for n in spatial)
    motion = Motion(size=size, rotate=90.0, scale=1.5, flip="all")
    for axis, labels in enumerate(places):
        image, moved = motion(places.float(), labels, seed)
        assert image.shape == (len(spatial), *size)
        assert (image[axis] - moved).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("spatial", SHAPES)
def test_a_crop_without_rotation_is_exact(spatial) -> None:
    image = torch.rand(2, *spatial)
    numbers = torch.arange(image[0].numel()).reshape(spatial)
    size = tuple(n - 7 for n in spatial)
    found = set()
    for seed in range(20):
        crop, places = Motion(size=size, flip="none")(image, numbers, seed)
        start = np.unravel_index(int(places.flatten()[0]), spatial)
        window = tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))
        assert torch.equal(places, numbers[window])
        assert torch.allclose(crop, image[:, *window], atol=1e-5)
        found.add(start)
    assert len(found) > 5, "crops are drawn from everywhere"


@pytest.mark.parametrize("axis", [0, 1])
def test_flips(axis) -> None:
    numbers = torch.arange(6 * 5).reshape(6, 5)
    outcomes = {
        tuple(Motion(size=(6, 5), flip=flip)(torch.rand(1, 6, 5), numbers, seed)[1][:, 0].tolist())
        for seed in range(60)
        for flip in (("all",) if axis == 0 else ("last",))
    }
    left, right = numbers[:, 0].tolist(), numbers[:, -1].tolist()
    assert {tuple(left), tuple(right)} <= outcomes
    assert (tuple(left[::-1]) in outcomes) == (axis == 0)


@pytest.mark.parametrize("spatial", [(50, 90), (40, 60, 50)])
def test_a_rotation_keeps_lengths_and_angles(spatial) -> None:
    """Also where the lengths of the axes differ."""
    turned = set()
    for seed in range(10):
        motion = Motion(size=(3,) * len(spatial), rotate=180.0, flip="all")
        (image, _), middle = motion(coordinates(spatial).float(), coordinates(spatial)[0], seed), 1
        centre = image[(slice(None), *(middle,) * len(spatial))]
        if not all(3 < c < n - 4 for c, n in zip(centre.tolist(), spatial, strict=True)):
            continue  # beside the edge it is reflected
        steps = torch.stack([image.diff(dim=n + 1).flatten(1)[:, 0] for n in range(len(spatial))])
        assert torch.allclose(steps @ steps.T, torch.eye(len(spatial)), atol=1e-4)
        turned.add(round(float(steps[0, 0]), 2))
    assert len(turned) > 3


def test_scale_enlarges_and_reduces() -> None:
    labels = torch.zeros(80, 80, dtype=torch.long)
    labels[30:50, 30:50] = 1
    areas = [
        int(Motion(size=(80, 80), scale=2.0)(torch.zeros(1, 80, 80), labels, seed)[1].sum())
        for seed in range(40)
    ]
    assert 100 <= min(areas) < 200
    assert 800 < max(areas) <= 1700


def test_a_crop_longer_than_the_input_reflects_it() -> None:
    labels = torch.arange(4)
    motion = Motion(size=(8,), flip="none")
    image, moved = motion(labels[None].float(), labels, 0)
    assert moved.tolist() == [1, 0, 0, 1, 2, 3, 3, 2]
    assert torch.allclose(image[0], moved.float(), atol=1e-5)


def test_large_numbers_stay_as_they_are() -> None:
    labels = torch.tensor([[65_535, 65_534], [1, 0]])
    _, moved = Motion(size=(2, 2), flip="none")(torch.zeros(1, 2, 2), labels, 0)
    assert torch.equal(moved, labels)


@pytest.mark.parametrize("seed", range(3))
def test_the_key_alone_decides(seed) -> None:
    image, labels = torch.rand(3, 20, 20), coordinates((20, 20))[0]
    motion, shade = (
        Motion(size=(9, 9), rotate=30.0),
        Shade(brightness=0.2, contrast=1.5, gamma=1.5, channels=True),
    )
    one = motion(shade(image, seed), labels, seed)
    torch.rand(5)
    other = motion(shade(image, seed), labels, seed)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], motion(shade(image, seed + 9), labels, seed + 9)[0])


def test_shade_keeps_the_range_and_the_order() -> None:
    image = torch.linspace(0, 1, 50)[None].expand(3, 50)
    values = []
    for seed in range(20):
        out = Shade(brightness=0.3, contrast=2.0, gamma=2.0)(image, seed)
        assert 0 <= out.min() <= out.max() <= 1
        assert (out.diff(dim=1) >= 0).all()
        values.append(float(out[0, 25]))
    assert max(values) - min(values) > 0.2
    assert Shade()(image, 0) is image


def test_channels_change_their_order_only_when_wanted() -> None:
    image = torch.arange(3.0)[:, None].expand(3, 4) / 4
    orders = {tuple(Shade(channels=True)(image, seed)[:, 0].tolist()) for seed in range(60)}
    assert len(orders) == 6


def test_light_and_dark_are_exchanged_in_a_share_of_the_images() -> None:
    image = torch.arange(3.0)[:, None].expand(3, 4) / 4
    outs = [Shade(invert=0.25)(image, seed) for seed in range(400)]
    inverted = [torch.equal(out, 1 - image) for out in outs]
    assert 60 < sum(inverted) < 140
    assert all(
        torch.equal(out, image) for out, turned in zip(outs, inverted, strict=True) if not turned
    )
