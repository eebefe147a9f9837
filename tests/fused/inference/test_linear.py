"""Packed linear layers and perceptrons against torch's, with whatever they do beside."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

from tests.support import drawn, refuses
from vitrail.fused import support
from vitrail.fused.inference.layers import PackedDepthwiseMlp, PackedLinear, PackedMlp, PackedNorm
from vitrail.layers import DepthwiseMlp, Mlp

pytestmark = [
    pytest.mark.skipif(support.why_not() is not None, reason="no C++ compiler"),
    pytest.mark.usefixtures("poison"),
]

# Of a layer's outputs, which are near one.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
# Rows, inputs, outputs: whole tiles and panels of both widths, and none; pairs that do not pair.
SHAPES = [(48, 96, 64), (49, 32, 48), (7, 33, 50), (1, 5, 1), (200, 18, 129)]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn_linear(inputs: int, outputs: int, dtype: torch.dtype, bias: bool = True) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        linear.weight.copy_(numbers(outputs, inputs, seed=1) / inputs**0.5)
        if bias:
            linear.bias.copy_(numbers(outputs, seed=2))
    return linear.to(dtype)


def drawn_norm(width: int, dtype: torch.dtype) -> nn.LayerNorm:
    norm = nn.LayerNorm(width, eps=1e-3)
    with torch.no_grad():
        norm.weight.copy_(1 + 0.3 * numbers(width, seed=3))
        norm.bias.copy_(numbers(width, seed=4))
    return norm.to(dtype)


def wide(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).double()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), SHAPES)
def test_linear_alone_and_with_all(
    rows: int, inputs: int, outputs: int, dtype: torch.dtype
) -> None:
    x, add = numbers(rows, inputs, seed=5).to(dtype), numbers(rows, outputs, seed=6).to(dtype)
    linear, norm = drawn_linear(inputs, outputs, dtype), drawn_norm(inputs, dtype)
    with torch.no_grad():
        plain = wide(linear)(x.double())
        found = PackedLinear(linear)(x)
        torch.testing.assert_close(found.double(), plain, atol=TOLERANCE[dtype], rtol=1e-2)
        assert found.dtype == dtype
        every = F.gelu(wide(linear)(wide(norm)(x.double()))) + add.double()
        found = PackedLinear(linear, norm, gelu=True)(x, add)
    bound = 4 * TOLERANCE[dtype] * max(1.0, every.abs().max().item())
    assert (found.double() - every).abs().max() <= bound


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "dim", "hidden"), [(50, 48, 192), (3, 9, 21), (400, 16, 33)])
@pytest.mark.parametrize("residual", [True, False])
def test_perceptron(rows: int, dim: int, hidden: int, residual: bool, dtype: torch.dtype) -> None:
    mlp, norm = Mlp(dim, hidden), drawn_norm(dim, dtype)
    mlp.fc1, mlp.fc2 = drawn_linear(dim, hidden, dtype), drawn_linear(hidden, dim, dtype)
    x = numbers(rows, dim, seed=5).to(dtype)
    with torch.no_grad():
        y = wide(mlp)(wide(norm)(x.double())) + residual * x.double()
        found = PackedMlp(mlp, norm, residual=residual)(x)
    bound = 4 * TOLERANCE[dtype] * max(1.0, y.abs().max().item())
    assert (found.double() - y).abs().max() <= bound


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "spatial",
    [(7,), (1,), (2,), (3, 5), (1, 4), (4, 1), (3, 2), (2, 3, 4), (2, 1, 3), (3, 2, 1), (1, 1, 1)],
    ids=str,
)
@pytest.mark.parametrize(("hidden", "relu"), [(21, True), (21, False), (32, False), (48, True)])
def test_perceptron_with_a_depthwise_convolution(
    spatial: tuple[int, ...], hidden: int, relu: bool, dtype: torch.dtype
) -> None:
    looks_around(spatial, hidden, relu, dtype)


# So wide that few lines fit into the cache: the ring goes round, across images and planes.
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("spatial", "hidden"),
    [((50,), 3000), ((41, 3), 2050), ((7, 90), 1100), ((5, 6, 4), 1500), ((3, 3, 90), 700),
     ((20, 3, 5), 300)],
    ids=str,
)  # fmt: skip
# Two share the lines, or begin amid an image; three have one each.
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_depthwise_convolution_a_few_lines_at_a_time(
    spatial: tuple[int, ...], hidden: int, threads: int, dtype: torch.dtype
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        looks_around(spatial, hidden, True, dtype)
    finally:
        torch.set_num_threads(before)


def looks_around(spatial: tuple[int, ...], hidden: int, relu: bool, dtype: torch.dtype) -> None:
    mlp, norm = DepthwiseMlp(6, hidden, len(spatial), relu=relu), drawn_norm(6, dtype)
    drawn(mlp).to(dtype)
    x = numbers(3, *spatial, 6, seed=5).to(dtype)
    with torch.no_grad():
        y = wide(mlp)(wide(norm)(x.double())) + x.double()
        found = PackedDepthwiseMlp(mlp, norm)(x)
    bound = 4 * TOLERANCE[dtype] * max(1.0, y.abs().max().item())
    assert (found.double() - y).abs().max() <= bound


def test_gelu_over_the_whole_line() -> None:
    x = torch.cat([torch.linspace(-12, 12, 4001), torch.tensor([-1e30, 1e30])])[:, None]
    linear = nn.Linear(1, 1)
    with torch.no_grad():
        linear.weight.fill_(1)
        linear.bias.zero_()
    found = PackedLinear(linear, gelu=True)(x).double()
    torch.testing.assert_close(found, F.gelu(x.double()), atol=3e-6, rtol=3e-7)
    assert PackedLinear(linear, gelu=True)(torch.tensor([[torch.nan]])).isnan().all()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (3, 5), (4, 16), (7, 33), (130, 64)])
@pytest.mark.parametrize("adds", [False, True])
def test_a_norm_alone_and_with_a_sum(rows: int, width: int, adds: bool, dtype: torch.dtype) -> None:
    norm, x = drawn_norm(width, dtype), numbers(rows, width, seed=5).to(dtype)
    # Of a wider tensor, so that its rows do not lie one behind the other.
    add = numbers(rows, width + 3, seed=6).to(dtype)[:, :width] if adds else None
    with torch.no_grad():
        y = wide(norm)(x.double()) + (0 if add is None else add.double())
        found = PackedNorm(norm)(x, add=add)
    assert found.dtype == dtype
    bound = 2 * TOLERANCE[dtype] * max(1.0, y.abs().max().item())
    assert (found.double() - y).abs().max() <= bound


def test_a_norm_of_equal_numbers_is_its_bias() -> None:
    norm, linear = drawn_norm(20, torch.float32), nn.Linear(20, 20)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(20))
        linear.bias.zero_()
    found = PackedLinear(linear, norm)(torch.full((3, 20), 1e4))
    torch.testing.assert_close(found, norm.bias.detach().expand(3, -1), atol=1e-3, rtol=0)


def test_a_norm_without_numbers_and_a_layer_without_bias() -> None:
    norm, linear = nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 4, bias=False)
    x = numbers(5, 6)
    torch.testing.assert_close(PackedLinear(linear, norm)(x), linear(norm(x)).detach())


def test_any_memory_layout_and_no_rows() -> None:
    linear = drawn_linear(8, 5, torch.float32)
    packed = PackedLinear(linear)
    x = numbers(8, 2, 3).movedim(0, -1)
    torch.testing.assert_close(packed(x), linear(x).detach())
    assert packed(x[:0]).shape == (0, 3, 5)
    assert PackedMlp(Mlp(8, 16), residual=True)(x[:0]).shape == (0, 3, 8)
    looking = PackedDepthwiseMlp(DepthwiseMlp(8, 16, 1), nn.LayerNorm(8))
    assert looking(x[:0]).shape == (0, 3, 8)
    norm = nn.LayerNorm(8)
    torch.testing.assert_close(PackedNorm(norm)(x), norm(x).detach())
    assert PackedNorm(norm)(x[:0]).shape == (0, 3, 8)


def test_what_is_no_number_stays_so_and_goes_no_further_than_its_neighbours() -> None:
    for relu in (True, False):
        looking = PackedDepthwiseMlp(DepthwiseMlp(4, 8, 1, relu=relu), nn.LayerNorm(4))
        x = numbers(1, 5, 4)
        x[0, 1] = torch.nan
        assert looking(x)[0].isnan().any(-1).tolist() == [True] * 3 + [False] * 2


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("threads", [1, 3, 8])
@pytest.mark.parametrize("rows", [1, 2, 50, 73, 200, 500])
def test_threads_share_rows_or_panels(rows: int, threads: int, dtype: torch.dtype) -> None:
    linear, mlp = drawn_linear(40, 300, dtype), Mlp(40, 77)
    mlp.fc1, mlp.fc2 = drawn_linear(40, 77, dtype), drawn_linear(77, 40, dtype)
    x = numbers(rows, 40).to(dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            found = PackedLinear(linear)(x), PackedMlp(mlp, drawn_norm(40, dtype), residual=True)(x)
    finally:
        torch.set_num_threads(before)
    with torch.no_grad():
        wide_x = x.double()
        wanted = wide(linear)(wide_x), wide(mlp)(wide(drawn_norm(40, dtype))(wide_x)) + wide_x
    for ours, right in zip(found, wanted, strict=True):
        bound = 4 * TOLERANCE[dtype] * max(1.0, right.abs().max().item())
        assert (ours.double() - right).abs().max() <= bound


def test_what_the_numbers_do_not_fit_is_refused() -> None:
    packed, perceptron = PackedLinear(nn.Linear(4, 4)), PackedMlp(Mlp(4, 8), residual=True)
    looking = PackedDepthwiseMlp(DepthwiseMlp(4, 8, 1), nn.LayerNorm(4))
    for module in (packed, perceptron, PackedNorm(nn.LayerNorm(4))):
        with refuses("torch.float64", "x.to(torch.float32)"):
            module(torch.zeros(2, 4, dtype=torch.float64))
        with refuses("5 channels", "the layer it was made from"):
            module(torch.zeros(2, 5))
    with refuses("torch.float64", "x.to(torch.float32)"):
        looking(torch.zeros(2, 3, 4, dtype=torch.float64))
    with refuses("torch.float64", "leave the layer as it is"):
        PackedLinear(nn.Linear(4, 4).double())
    with refuses("meta", "leave the layer as it is"):
        PackedLinear(nn.Linear(4, 4, device="meta"))


def test_an_operation_shows_its_shape_and_type() -> None:
    packed = PackedLinear(nn.Linear(4, 6).bfloat16())
    perceptron = PackedMlp(Mlp(4, 8), residual=True)
    looking = PackedDepthwiseMlp(DepthwiseMlp(4, 8, 1), nn.LayerNorm(4))
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(2, 3, 4)
        assert packed(x.bfloat16()).shape == (2, 3, 6)
        assert packed(x.bfloat16()).dtype == torch.bfloat16
        assert perceptron(x).shape == x.shape
        assert looking(x).shape == x.shape
        assert PackedNorm(nn.LayerNorm(4))(x).shape == x.shape


@pytest.mark.parametrize(("channels", "mean", "deviation"), [(20, 300.0, 0.05), (100, 1234.6, 0.1)])
def test_a_norm_of_numbers_far_from_zero(channels: int, mean: float, deviation: float) -> None:
    x = mean + deviation * numbers(9, channels, seed=3)
    norm = nn.LayerNorm(channels)
    wanted = wide(norm)(x.double()).float()
    found = PackedNorm(norm)(x)
    # The mean is rounded: to so much of the deviation.
    atol = 4 * mean * 2**-23 / deviation
    torch.testing.assert_close(found, wanted, atol=atol, rtol=1e-5)


@pytest.mark.skipif("avx512f" not in Path("/proc/cpuinfo").read_text(), reason="no AVX-512")
def test_gelu_needs_no_fused_products(tmp_path: Path) -> None:
    """Where a product and a sum are rounded one by one, the last piece is still the last."""
    code = (
        "import torch; from vitrail.fused.inference.layers import PackedLinear;"
        "from torch import nn;"
        "f = nn.Linear(1, 1, bias=False); f.weight.data.fill_(1.0);"
        "x = torch.linspace(-9, 9, 4001)[:, None];"
        "y = PackedLinear(f, gelu=True)(x);"
        "w = torch.nn.functional.gelu(x.double());"
        "torch.testing.assert_close(y.double(), w, atol=3e-6, rtol=1e-6)"
    )
    flags = {"CXX": "g++ -O1 -ffp-contract=off", "VITRAIL_CACHE": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **flags})
