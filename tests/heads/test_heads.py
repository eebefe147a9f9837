"""What holds for every head: any rank, any size, all levels, and a place in the table of heads."""

import math

import pytest
import torch
from torch import nn

import vitrail
from tests.heads.pyramids import maps_of, shape
from vitrail.errors import UsageError
from vitrail.heads import (
    HEADS,
    SegFormerConfig,
    SemanticFPNConfig,
    UNetConfig,
    UPerNetConfig,
    head_for,
)
from vitrail.heads.align import aligned
from vitrail.weights import save

TINY = {
    "semantic_fpn": SemanticFPNConfig(pyramid_dim=8, dim=6, groups=3),
    "unet": UNetConfig(dim=3),
    "upernet": UPerNetConfig(dim=6),
    "segformer": SegFormerConfig(dim=6),
}
SIZES = [
    ((37,), [(4,), (8,), (16,)]),
    ((1,), [(4,), (8,), (16,)]),
    ((31, 50), [(4, 4), (8, 8), (16, 16), (32, 32)]),
    ((3, 65), [(2, 2), (4, 4)]),
    ((40, 40), [(16, 16)]),
    ((6, 5), [(1, 1), (2, 2)]),
    ((30, 31), [(6, 6), (12, 12)]),
    ((5, 17, 23), [(2, 4, 4), (2, 8, 8), (2, 16, 16)]),
    ((7, 1, 2), [(2, 2, 2), (4, 4, 4)]),
]


def test_every_head_is_tried_here() -> None:
    dense = {name for name, entry in HEADS.items() if entry.tasks != ("detect",)}
    assert TINY.keys() == dense, "detectors are tried in test_detection.py"


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(("lengths", "strides"), SIZES)
def test_any_rank_any_size_and_every_parameter_learns(name, lengths, strides) -> None:
    torch.manual_seed(0)
    dims = tuple(range(5, 5 + len(strides)))
    head = HEADS[name].head(TINY[name], shape(dims, strides, 3))
    maps = [x.requires_grad_() for x in maps_of(lengths, strides, dims)]
    single = math.prod(maps[-1].shape[2:]) == 1  # which an instance norm makes zero
    logits = head(maps, torch.randn(2, 3, *lengths))
    assert logits.shape == (2, 3, *lengths)
    (logits * torch.randn_like(logits)).sum().backward()
    for what, parameter in (*head.named_parameters(), *((f"map {x.shape}", x) for x in maps)):
        assert parameter.grad is not None, what
        assert parameter.grad.isfinite().all(), what
        assert single or parameter.grad.abs().sum() > 0, what


@pytest.mark.parametrize("name", TINY)
def test_a_location_sees_every_level(name) -> None:
    torch.manual_seed(0)
    strides, dims = [(4, 4), (8, 8), (16, 16)], (4, 4, 4)
    head = HEADS[name].head(TINY[name], shape(dims, strides)).eval()
    x, maps = torch.randn(1, 3, 64, 64), maps_of((64, 64), strides, dims, batch=1)
    before = head(maps, x)
    for level in range(3):
        changed = [one.clone() for one in maps]
        changed[level][..., 0, 0] += 1
        assert (head(changed, x) - before).abs().amax(1)[0, :4, :4].min() > 0


def test_a_unet_draws_from_the_input_at_its_own_resolution() -> None:
    torch.manual_seed(0)
    strides, dims = [(4, 4), (8, 8)], (4, 4)
    head = HEADS["unet"].head(TINY["unet"], shape(dims, strides)).eval()
    x, maps = torch.randn(1, 3, 32, 32), maps_of((32, 32), strides, dims, batch=1)
    other = x.clone()
    other[..., 16, 16] += 1
    assert (head(maps, other) - head(maps, x)).abs().amax(1)[0, 16, 16] > 0


@pytest.mark.parametrize("name", TINY)
def test_a_new_start_on_the_meta_device(name) -> None:
    with torch.device("meta"):
        head = HEADS[name].head(TINY[name], shape((4, 4), [(4,), (8,)]))
    head.to_empty(device="cpu")
    for tensor in (*head.parameters(), *head.buffers()):
        if tensor.is_floating_point():
            nn.init.constant_(tensor, float("nan"))
    head.reset_parameters()
    for what, tensor in head.state_dict().items():
        assert tensor.isfinite().all(), what


@pytest.mark.parametrize("name", TINY)
def test_a_model_with_each_head_is_saved_and_loaded(name, tmp_path) -> None:
    tiny = {"dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window": (2, 2)}
    model = vitrail.create_model(
        "swin_nano", task="segment", head=TINY[name], num_classes=3, **tiny
    ).eval()
    save(model, tmp_path / "model.safetensors")
    again = vitrail.load(tmp_path / "model.safetensors")
    x = torch.randn(1, 3, 19, 33)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


def test_cells_stay_where_they_are() -> None:
    """A grid of which the last cell is half empty is cut, not stretched; one too short repeats."""
    ramp = torch.arange(4.0)[None, None]
    whole = aligned(ramp, (2,), (8,), smooth=True)
    assert torch.equal(aligned(ramp, (2,), (7,), smooth=True), whole[..., :7])
    assert aligned(ramp, (2,), (5,), smooth=False).tolist() == [[[0, 0, 1, 1, 2]]]
    assert aligned(ramp, (2,), (10,), smooth=False)[0, 0, -4:].tolist() == [3, 3, 3, 3]
    assert aligned(ramp, (1,), (4,), smooth=True) is ramp
    torch.testing.assert_close(whole[0, 0, 1:-1].diff(), torch.full((5,), 0.5))


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
        ("classify", "unet", "head='unet' for task='classify'", "add task='segment'"),
        ("classify", None, "task='classify', which has no head", "task='segment'"),
        ("segment", "fpn", "head='fpn' for task='segment'", "head='semantic_fpn'"),
    ],
)
def test_heads_that_do_not_serve(task, head, given, fix) -> None:
    with pytest.raises(UsageError) as caught:
        head_for(task, head)
    assert given in caught.value.given
    assert fix in caught.value.fix
