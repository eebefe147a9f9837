import pytest
import torch
from torch import nn

from tests.heads.pyramids import maps_of, shape
from tests.support import unchecked
from vitrail.errors import UsageError
from vitrail.heads import SemanticFPN, SemanticFPNConfig

TINY = SemanticFPNConfig(pyramid_dim=8, dim=6, groups=3)


def test_a_volume_of_one_slice_is_an_image() -> None:
    strides, dims, lengths = [(4, 4), (8, 8), (16, 16)], (4, 5, 6), (27, 41)
    torch.manual_seed(1)
    flat = SemanticFPN(TINY, shape(dims, strides)).double().eval()
    deep = SemanticFPN(TINY, shape(dims, [(1, *s) for s in strides])).double()
    for one, other in zip(flat.modules(), deep.modules(), strict=True):
        if isinstance(one, nn.Conv2d) and isinstance(other, nn.Conv3d):
            with torch.no_grad():
                other.weight.zero_()
                other.weight[:, :, other.weight.shape[2] // 2] = one.weight
                if one.bias is not None and other.bias is not None:
                    other.bias.copy_(one.bias)
        elif isinstance(one, nn.GroupNorm):
            other.load_state_dict(one.state_dict())
    maps = [x.double() for x in maps_of(lengths, strides, dims)]
    expected = flat(maps, torch.zeros(2, 3, *lengths))
    found = deep.eval()([x[:, :, None] for x in maps], torch.zeros(2, 3, 1, *lengths))
    torch.testing.assert_close(found[:, :, 0], expected, rtol=1e-12, atol=1e-12)


def test_a_level_of_the_pyramid_sees_the_coarser_ones_alone() -> None:
    torch.manual_seed(0)
    strides, dims = [(4, 4), (8, 8), (16, 16)], (4, 4, 4)
    head = SemanticFPN(TINY, shape(dims, strides)).eval()
    maps = maps_of((40, 40), strides, dims, batch=1)
    before = head._pyramid(maps)
    for level in range(3):
        changed = [x.clone() for x in maps]
        changed[level] += 1
        same = [torch.equal(a, b) for a, b in zip(before, head._pyramid(changed), strict=True)]
        assert same == [number > level for number in range(3)]


@pytest.mark.parametrize(
    ("fields", "given", "fix"),
    [
        ({"dim": 10, "groups": 3}, "groups=3 for dim=10", "groups=5"),
        ({"dim": 8, "groups": 8}, "groups=8 for dim=8", "groups=4"),
        ({"dim": 1, "groups": 1}, "groups=1 for dim=1", "dim=128"),
        ({"dim": 0}, "dim=0", "dim=32"),
        ({"drop": 1.0}, "drop=1.0", "drop=0.1"),
        ({"dim": "wide"}, "dim='wide'", "dim="),
    ],
)
def test_refused_numbers(fields, given, fix) -> None:
    with unchecked(), pytest.raises(UsageError) as caught:
        SemanticFPNConfig(**fields)
    assert given in caught.value.given
    assert fix in caught.value.fix
