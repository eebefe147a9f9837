import pytest
import torch
from torch import nn

from tests.support import unchecked
from vitrail.errors import UsageError
from vitrail.heads import HEADS, SemanticFPN, SemanticFPNConfig, head_for
from vitrail.heads.semantic_fpn import aligned

TINY = SemanticFPNConfig(pyramid_dim=8, dim=6, groups=3)


def maps_of(lengths, strides, dims, batch=2) -> list[torch.Tensor]:
    """A pyramid as backbones make it: every grid rounded up."""
    generator = torch.Generator().manual_seed(len(lengths))
    return [
        torch.randn(
            batch,
            dim,
            *(-(-n // s) for n, s in zip(lengths, stride, strict=True)),
            generator=generator,
        )
        for dim, stride in zip(dims, strides, strict=True)
    ]


@pytest.mark.parametrize(
    ("lengths", "strides"),
    [
        ((37,), [(4,), (8,), (16,)]),
        ((1,), [(4,), (8,), (16,)]),
        ((31, 50), [(4, 4), (8, 8), (16, 16), (32, 32)]),
        ((3, 65), [(2, 2), (4, 4)]),
        ((40, 40), [(16, 16)]),
        ((5, 17, 23), [(2, 4, 4), (2, 8, 8), (2, 16, 16)]),
        ((7, 1, 2), [(2, 2, 2), (4, 4, 4)]),
    ],
)
def test_any_rank_any_size_and_every_parameter_learns(lengths, strides) -> None:
    torch.manual_seed(0)
    dims = tuple(range(5, 5 + len(strides)))
    head = SemanticFPN(TINY, dims=dims, strides=strides, outputs=3)
    maps = [x.requires_grad_() for x in maps_of(lengths, strides, dims)]
    logits = head(maps, lengths)
    assert logits.shape == (2, 3, *lengths)
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in (*head.named_parameters(), *((f"map {x.shape}", x) for x in maps)):
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_volume_of_one_slice_is_an_image() -> None:
    strides, dims, lengths = [(4, 4), (8, 8), (16, 16)], (4, 5, 6), (27, 41)
    torch.manual_seed(1)
    flat = SemanticFPN(TINY, dims=dims, strides=strides, outputs=2).double().eval()
    deep = SemanticFPN(TINY, dims=dims, strides=[(1, *s) for s in strides], outputs=2).double()
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
    expected = flat(maps, lengths)
    found = deep.eval()([x[:, :, None] for x in maps], (1, *lengths))
    torch.testing.assert_close(found[:, :, 0], expected, rtol=1e-12, atol=1e-12)


def test_cells_stay_where_they_are() -> None:
    """A grid of which the last cell is half empty is cut, not stretched; one too short repeats."""
    ramp = torch.arange(4.0)[None, None]
    whole = aligned(ramp, (2,), (8,), smooth=True)
    assert torch.equal(aligned(ramp, (2,), (7,), smooth=True), whole[..., :7])
    assert aligned(ramp, (2,), (5,), smooth=False).tolist() == [[[0, 0, 1, 1, 2]]]
    assert aligned(ramp, (2,), (10,), smooth=False)[0, 0, -4:].tolist() == [3, 3, 3, 3]
    assert aligned(ramp, (1,), (4,), smooth=True) is ramp
    torch.testing.assert_close(whole[0, 0, 1:-1].diff(), torch.full((5,), 0.5))


def test_a_location_sees_every_level() -> None:
    torch.manual_seed(0)
    strides, dims = [(4, 4), (8, 8), (16, 16)], (4, 4, 4)
    head = SemanticFPN(TINY, dims=dims, strides=strides, outputs=2).eval()
    maps = maps_of((64, 64), strides, dims, batch=1)
    before = head(maps, (64, 64))
    for level in range(3):
        changed = [x.clone() for x in maps]
        changed[level][..., 0, 0] += 1
        difference = (head(changed, (64, 64)) - before).abs().amax(1)[0]
        assert difference[:4, :4].min() > 0


def test_a_new_start_on_the_meta_device() -> None:
    with torch.device("meta"):
        head = SemanticFPN(TINY, dims=(4, 4), strides=[(4,), (8,)], outputs=2)
    head.to_empty(device="cpu")
    for parameter in head.parameters():
        nn.init.constant_(parameter, float("nan"))
    head.reset_parameters()
    assert all(parameter.isfinite().all() for parameter in head.parameters())


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


def test_every_entry_serves_a_task() -> None:
    for name, entry in HEADS.items():
        for task in entry.tasks:
            assert head_for(task, name) == (name, entry.config)
            assert head_for(task, entry.config) == (name, entry.config)
    assert head_for("segment") == ("semantic_fpn", SemanticFPNConfig())


@pytest.mark.parametrize(
    ("task", "head", "given", "fix"),
    [
        ("segmnt", None, "task='segmnt', which is not known", "task='segment'"),
        ("classify", "semantic_fpn", "task='classify', which has no head", "task='segment'"),
        ("segment", "fpn", "head='fpn' for task='segment'", "head='semantic_fpn'"),
    ],
)
def test_heads_that_do_not_serve(task, head, given, fix) -> None:
    with pytest.raises(UsageError) as caught:
        head_for(task, head)
    assert given in caught.value.given
    assert fix in caught.value.fix
