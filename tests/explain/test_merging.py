"""A child's part is what the real layer makes of this child alone."""

import math

import pytest
import torch

from vitrail.explain.merging import merge_parts, merge_shares
from vitrail.layers import ConvMerging, PatchMerging, PostNormPatchMerging


def drawn(layer: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer.eval()


@pytest.mark.parametrize("kind", [PatchMerging, PostNormPatchMerging])
@pytest.mark.parametrize("spatial", [(6, 6), (5, 9)])
def test_parts_of_swins_merges_add_up_to_the_linear_map(kind, spatial) -> None:
    layer = drawn(kind(3, 7, (2, 3)))
    seen: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, __: object, out: torch.Tensor) -> None:
        seen.append(out)

    handle = layer.get_submodule("reduction").register_forward_hook(keep)
    x = torch.randn(1, *spatial, 3)
    layer(x)
    handle.remove()
    parts = merge_parts(layer, x)
    assert parts is not None
    assert parts.shape == (*(math.ceil(n / f) for n, f in zip(spatial, (2, 3), strict=True)), 6, 7)
    torch.testing.assert_close(parts.sum(-2), seen[0][0])


@pytest.mark.parametrize(
    ("make", "factor", "spatial"),
    [
        (lambda: PostNormPatchMerging(3, 7, (2, 3)), (2, 3), (5, 9)),
        (lambda: PostNormPatchMerging(3, 7, (2,)), (2,), (5,)),
        (lambda: PostNormPatchMerging(3, 7, (1, 2, 2)), (1, 2, 2), (2, 5, 4)),
        (lambda: ConvMerging(3, 7, (2, 3)), (2, 3), (5, 9)),
        (lambda: ConvMerging(3, 7, (2, 3), patch_fit="floor"), (2, 3), (5, 10)),
        (lambda: ConvMerging(3, 7, (2, 2), kernel=(3, 3)), (2, 2), (6, 5)),
        (lambda: ConvMerging(3, 7, (2, 2), kernel=(3, 3), padding=(0, 0)), (2, 2), (7, 7)),
        (lambda: ConvMerging(3, 7, (2, 2), patch_fit="floor"), (2, 2), (1, 1)),
    ],
)
def test_a_part_is_what_the_layer_makes_of_one_token(make, factor, spatial) -> None:
    """Each token alone through the layer's linear map, at the place that it is merged into."""
    layer = drawn(make())
    name = "reduction" if hasattr(layer, "reduction") else "proj"
    seen: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, __: object, out: torch.Tensor) -> None:
        seen.append(out)

    layer.get_submodule(name).register_forward_hook(keep)
    x = torch.randn(1, *spatial, 3)
    parts = merge_parts(layer, x)
    assert parts is not None
    merged = parts.shape[:-2]

    def linear(x: torch.Tensor) -> torch.Tensor:
        layer(x)
        out = seen.pop()[0]
        return out.movedim(0, -1) if name == "proj" else out

    nothing = linear(torch.zeros_like(x))
    expected = torch.zeros_like(parts)
    for token in torch.cartesian_prod(*(torch.arange(n) for n in spatial)).view(-1, len(spatial)):
        place = tuple(int(t) // f for t, f in zip(token, factor, strict=True))
        if any(p >= n for p, n in zip(place, merged, strict=True)):
            continue  # dropped by patch_fit="floor"
        child = 0
        for t, f in zip(token.tolist(), factor, strict=True):
            child = child * f + t % f
        alone = torch.zeros_like(x)
        at = (0, *token.tolist())
        alone[at] = x[at]
        expected[(*place, child)] = (linear(alone) - nothing)[place]
    torch.testing.assert_close(parts, expected, atol=1e-5, rtol=1e-5)


def test_shares_sum_to_one_and_follow_the_parts() -> None:
    layer = PostNormPatchMerging(2, 4, (2, 2))
    with torch.no_grad():
        layer.reduction.weight.copy_(torch.eye(4).repeat(1, 2))
    x = torch.zeros(1, 2, 4, 2)
    # Row by row: (0, 0) has length 3, (0, 1) length 1, the others none.
    x[0, 0, 0, 0], x[0, 0, 1, 1] = 3.0, -1.0
    shares = merge_shares(layer, x)
    assert shares is not None
    expected = [[[0.75, 0.25, 0, 0], [0.25] * 4]]
    torch.testing.assert_close(shares, torch.tensor(expected))


def test_an_unknown_merge_has_no_shares() -> None:
    assert merge_shares(torch.nn.Linear(3, 3), torch.zeros(1, 2, 2, 3)) is None
