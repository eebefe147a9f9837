"""MBConv and the stem: padding, averages and statistics, against convolutions written out."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tests.support import drawn, refuses
from vitrail.layers import ConvStem, MBConv
from vitrail.layers.mbconv import ConvPadding, pad_strided, statistics_kept


@given(st.integers(1, 20), st.integers(1, 3), st.booleans())
def test_every_stride_begun_gives_a_value(length: int, stride: int, same: bool) -> None:
    """And the first kernel begins where the words say: TensorFlow's middle, or half a kernel."""
    padding: ConvPadding = "same" if same else "symmetric"
    x = torch.arange(1.0, length + 1).view(1, 1, length)
    windows = pad_strided(x, (3,), (stride,), padding).unfold(2, 3, stride)[0, 0]
    assert len(windows) == -(-length // stride)
    if same:
        short = max(0, (len(windows) - 1) * stride + 3 - length)
        near = short // 2
    else:
        near = 1
    for index, window in enumerate(windows):
        first = index * stride - near
        expected = [p + 1 if 0 <= p < length else 0 for p in range(first, first + 3)]
        assert window.tolist() == expected


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("length", [5, 6])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same", "shortcut_pool": "stride"},
        {"padding": "symmetric", "shortcut_pool": "kernel", "shortcut_proj": True},
    ],
)
def test_a_strided_block_is_what_the_paper_says(
    axes: int, length: int, options: dict[str, Any]
) -> None:
    """Written once more, axis by axis, with sums instead of torch's averages."""
    block = drawn(MBConv(4, 4, (2,) * axes, **options)).double().eval()
    x = torch.randn(2, *(length + a for a in range(axes)), 4, dtype=torch.float64)

    def norm(layer: Any, y: Tensor) -> Tensor:
        scale = layer.weight / (layer.running_var + layer.eps).sqrt()
        return (y - layer.running_mean) * scale + layer.bias

    def point(layer: Any, y: Tensor) -> Tensor:
        return F.linear(y, layer.weight.flatten(1), layer.bias)

    def sums(y: Tensor, kernel: int, weight: Tensor) -> Tensor:
        """Sum a kernel's values, each times its ``weight[channel, *place]``, by hand."""
        near = 1 if kernel == 3 and (options["padding"] == "symmetric") else None
        out: Any = None
        counts = [(n + 1) // 2 for n in y.shape[1:-1]]
        for place in torch.cartesian_prod(*[torch.arange(kernel)] * axes).view(-1, axes).tolist():
            part = y
            for axis, (offset, count) in enumerate(zip(place, counts, strict=True), start=1):
                n = y.shape[axis]
                start = near if near is not None else max(0, (count - 1) * 2 + kernel - n) // 2
                at = torch.arange(count) * 2 + offset - start
                inside = (at >= 0) & (at < n)
                shape = [1] * part.ndim
                shape[axis] = count
                part = part.index_select(axis, at.clamp(0, n - 1)) * inside.view(shape)
            part = part * weight[(slice(None), *place)]
            out = part if out is None else out + part
        return out

    y = F.gelu(norm(block.norm1, point(block.conv1, norm(block.norm, x))))
    y = F.gelu(norm(block.norm2, sums(y, 3, block.conv2.weight[:, 0])))
    whole = y.flatten(1, -2).mean(1)
    gate = point(block.excite, F.silu(point(block.squeeze, whole))).sigmoid()
    y = point(block.conv3, y * gate.view(2, *(1,) * axes, -1))
    kernel = 3 if options["shortcut_pool"] == "kernel" else 2
    average = sums(x, kernel, torch.full((4, *(kernel,) * axes), kernel**-axes).double())
    short = point(block.shortcut, average) if "shortcut_proj" in options else average
    torch.testing.assert_close(block(x), short + y)


@settings(max_examples=10)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_a_block_keeps_its_grid_and_each_sample_its_own(spatial: list[int]) -> None:
    block = drawn(MBConv(4, 4, (1,) * len(spatial))).eval()
    x = torch.randn(2, *spatial, 4)
    with torch.no_grad():
        out = block(x)
        assert out.shape == x.shape
        torch.testing.assert_close(block(x[1:]), out[1:], rtol=1e-4, atol=1e-5)


def test_statistics_are_kept_on_request() -> None:
    block = MBConv(4, 4, (1, 1)).train()
    x = torch.randn(2, 3, 3, 4)
    block(x)
    before = {name: buffer.clone() for name, buffer in block.named_buffers()}
    with statistics_kept(block):
        block(x)
    assert all(torch.equal(buffer, before[name]) for name, buffer in block.named_buffers())
    block(x)
    assert not all(torch.equal(buffer, before[name]) for name, buffer in block.named_buffers())


def test_a_stem_refuses_another_type() -> None:
    with refuses("an input of torch.float64 for weights of torch.float32", "x.to(torch.float32)"):
        ConvStem(3, 4, (2, 2))(torch.randn(1, 3, 8, 8, dtype=torch.float64))
