"""Focal attention: the layer against its pattern, by values and by gradients, on any map."""

import math
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from tests.laws import words
from tests.laws.test_locality import influence
from tests.patterns.test_focal import focal, focal_cases, nearest_cases
from tests.support import drawn
from vitrail.layers import Attend, FocalAttention, NearestAttention
from vitrail.patterns import Focal, Nearest
from vitrail.shapes import Size

Layer = FocalAttention | NearestAttention


def layer_of(pattern: Focal | Nearest, **options: Any) -> Layer:
    kind = FocalAttention if isinstance(pattern, Focal) else NearestAttention
    return drawn(kind(4, 2, pattern, **options)).double().eval()  # type: ignore[arg-type]


def tokens(spatial: Size, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, *spatial, 4, generator=generator, dtype=torch.float64)


def places(spatial: Size) -> list[Size]:
    return list(product(*(range(n) for n in spatial)))


def sources(layer: Layer, x: Tensor) -> tuple[list[tuple[int, Size]], Tensor]:
    """Return what can be a key: (level, place), level -1 for tokens; and its vector."""
    spatial = tuple(x.shape[1:-1])
    size = layer.pattern.window
    names = [(-1, place) for place in places(spatial)]
    vectors = [x[(slice(None), *place)] for _, place in names]
    for k, pool in enumerate(layer.pool):
        weight, bias = pool.parameters()
        cell = tuple(m // 2**k for m in size)
        grid = tuple(-(-n // m) * 2**k for n, m in zip(spatial, size, strict=True))
        for place in places(grid):
            total = torch.zeros_like(vectors[0]) + bias
            for part, step in enumerate(places(cell)):
                at = tuple(p * c + s for p, c, s in zip(place, cell, step, strict=True))
                if all(a < n for a, n in zip(at, spatial, strict=True)):
                    total = total + weight[0, part] * x[(slice(None), *at)]
            names.append((k, place))
            vectors.append(total)
    return names, torch.stack(vectors, dim=1)


def bias_of(layer: Layer, query: Size, key: tuple[int, Size]) -> Tensor:
    """Return the bias of each head for one pair: by where the two lie, and nothing else."""
    size, (level, place) = layer.pattern.window, key
    first = tuple(q // m * m for q, m in zip(query, size, strict=True))
    local = tuple(q - f for q, f in zip(query, first, strict=True))
    if isinstance(layer, NearestAttention):
        if level == 0:
            place = tuple(p * m + m // 2 for p, m in zip(place, size, strict=True))
        offset = torch.tensor([q - p for q, p in zip(query, place, strict=True)])
        return layer.bias.levels[level + 1](offset.double())
    there = tuple(p - f for p, f in zip(place, first, strict=True))
    if level == -1 and there in places(size):
        table = layer.bias.own.table.view(*(2 * m - 1 for m in size), -1)
        return table[tuple(q - t + m - 1 for q, t, m in zip(local, there, size, strict=True))]
    if level == -1:
        margin = layer.pattern.margin
        box = product(*(range(-e, m + e) for e, m in zip(margin, size, strict=True)))
        ring = [step for step in box if step not in places(size)]
        assert layer.bias.halo is not None
        return layer.bias.halo[0, :, places(size).index(local), ring.index(there)]
    reach = [f - 1 + 2**level for f in layer.pattern.levels[level]]
    sides = [f // 2 for f in layer.pattern.levels[level]]
    near = [p - f // m * 2**level + s
            for p, f, m, s in zip(place, first, size, sides, strict=True)]  # fmt: skip
    table = layer.bias.pooled[level].view(
        -1, *(m + r - 1 for m, r in zip(size, reach, strict=True))
    )
    at = tuple(q - n + r - 1 for q, n, r in zip(local, near, reach, strict=True))
    return table[(slice(None), *at)]


def oracle(layer: Layer, x: Tensor) -> Tensor:
    """Return what the layer must return, from the words of its pattern: dense."""
    spatial, heads = tuple(x.shape[1:-1]), layer.num_heads
    names, vectors = sources(layer, x)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2)
               for part in layer.qkv(vectors).chunk(3, dim=-1))  # fmt: skip
    count = math.prod(spatial)
    scores = q[:, :, :count] @ k.mT / math.sqrt(q.shape[-1])
    allowed = words.allowed(layer.pattern, spatial)
    assert allowed.shape == (count, len(names))
    bias = torch.full((heads, count, len(names)), -math.inf, dtype=torch.float64)
    for row, column in allowed.nonzero().tolist():
        bias[:, row, column] = bias_of(layer, names[row][1], names[column])
    out = ((scores + bias).softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    return layer.proj(out).unflatten(1, spatial)


@given(focal_cases(halo=("exact",)))
@settings(max_examples=30)
def test_exact_equals_the_oracle(case: tuple[dict[str, Any], Size]) -> None:
    layer, x = layer_of(focal({**case[0], "padding": "masked"})), tokens(case[1])
    with torch.no_grad():
        torch.testing.assert_close(layer(x), oracle(layer, x))


@given(nearest_cases())
@settings(max_examples=30)
def test_nearest_equals_the_oracle(case: tuple[Size, int, Size]) -> None:
    layer, x = layer_of(Nearest(case[0], case[1])), tokens(case[2])
    with torch.no_grad():
        torch.testing.assert_close(layer(x), oracle(layer, x))


@given(focal_cases())
@settings(max_examples=30)
def test_gradients_are_zero_exactly_where_the_pattern_says_so(
    case: tuple[dict[str, Any], Size],
) -> None:
    pattern, spatial = focal(case[0]), case[1]
    seen = influence(layer_of(pattern), tokens(spatial, batch=1)) > 0  # type: ignore[arg-type]
    assert torch.equal(seen, words.reach(pattern, spatial) | torch.eye(len(seen)).bool())


@given(nearest_cases())
@settings(max_examples=30)
def test_gradients_reach_the_nearest_alone(case: tuple[Size, int, Size]) -> None:
    pattern, spatial = Nearest(case[0], case[1]), case[2]
    seen = influence(layer_of(pattern), tokens(spatial, batch=1)) > 0  # type: ignore[arg-type]
    assert torch.equal(seen, words.reach(pattern, spatial) | torch.eye(len(seen)).bool())


class _Recorder(Attend):
    """Stands for ``Attend`` and keeps what it was given."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:  # type: ignore[override]
        self.q, self.k, self.region = q, k, options["region"]
        return q


def assert_same_order(layer: Layer, spatial: Size) -> None:
    """Keys and labels come to ``Attend`` in the order in which the pattern writes them down."""
    groups = layer.pattern.groups(spatial)
    x = tokens(spatial, batch=1)
    recorder = layer.attend = _Recorder()
    with torch.no_grad():
        layer(x)
        _, vectors = sources(layer, x)
        q, k, _ = layer.qkv(vectors[0]).chunk(3, dim=-1)
    there = groups.k_index >= 0
    found = recorder.k[0].transpose(1, 2).flatten(2)
    torch.testing.assert_close(found[there], k[groups.k_index[there]])
    real = groups.q_index >= 0
    found = recorder.q[0].transpose(1, 2).flatten(2)
    torch.testing.assert_close(found[real], q[groups.q_index[real]])
    if recorder.region is None:
        assert (groups.labels[1] == 0).all()
    else:
        seen = recorder.region[0][..., :, None] == recorder.region[1][..., None, :]
        q_region, k_region = groups.labels
        assert torch.equal(seen[0], q_region[..., :, None] == k_region[..., None, :])


@given(focal_cases(levels=1))
def test_groups_are_what_the_layer_gathers(case: tuple[dict[str, Any], Size]) -> None:
    assert_same_order(layer_of(focal(case[0])), case[1])


@given(nearest_cases())
def test_groups_are_what_the_fast_layer_gathers(case: tuple[Size, int, Size]) -> None:
    assert_same_order(layer_of(Nearest(case[0], case[1])), case[2])


def test_many_nearest_on_a_large_map() -> None:
    """A box around the middle holds them all, on wide, thin and cornered maps."""
    for count, spatial in product((1, 5, 64, 128), ((40, 3), (1, 200), (37, 41), (2, 90))):
        assert_same_order(layer_of(Nearest((7, 7), count)), spatial)
    for count, volume in product((7, 64), ((20, 3, 4), (12, 13, 9), (1, 1, 100))):
        assert_same_order(layer_of(Nearest((3, 3, 3), count)), volume)


def test_what_the_rolled_halo_has_twice_the_exact_one_has_once() -> None:
    """Inside, rolled equals exact when the numbers of a key that is there twice are added up.

    Two equal keys with biases a and b weigh as much as one with the logarithm of e^a + e^b.
    """
    rolled = layer_of(Focal((5, 4), (2, 1), ((3, 1),), "rolled"))
    exact = layer_of(Focal((5, 4), (2, 1), ((3, 1),)))
    assert isinstance(rolled, FocalAttention)
    assert isinstance(exact, FocalAttention)
    assert rolled.bias.halo is not None
    assert exact.bias.halo is not None
    keys = [p.groups((15, 12)).k_index[4, 20:] for p in (rolled.pattern, exact.pattern)]
    same = keys[1][: exact.pattern.halo_keys, None] == keys[0][None, : rolled.pattern.halo_keys]
    assert sorted(set(same.sum(1).tolist())) == [1, 2]
    state = rolled.state_dict()
    table = rolled.bias.halo[:, :, :, None].masked_fill(~same, -math.inf)
    exact.load_state_dict({**state, "bias.halo": table.logsumexp(-1)})
    x = tokens((15, 12))
    with torch.no_grad():
        inside = (slice(None), slice(5, 10), slice(4, 8))
        torch.testing.assert_close(exact(x)[inside], rolled(x)[inside])
        assert not torch.allclose(exact(x), rolled(x))  # wraps at the borders


PATTERNS: dict[str, Focal | Nearest] = {
    "exact": Focal((4, 2), (2, 1), ((3, 1), (1, 3))),
    "rolled": Focal((5, 3), (2, 1), ((3, 1), (1, 3)), "rolled", "visible"),
    "nearest": Nearest((3, 2), 9),
    "one axis": Focal((4,), (5,), ((3,),)),
    "three axes": Nearest((2, 1, 3), 9),
}
TINY = (1, 2, 7)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("length", TINY)
def test_gradients_are_finite_on_tiny_maps(name: str, length: int) -> None:
    layer = layer_of(PATTERNS[name])
    x = tokens((length,) * len(layer.pattern.window)).requires_grad_()
    out = layer(x)
    out.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("name", ["exact", "rolled", "nearest"])
def test_gradients_equal_finite_differences(name: str) -> None:
    layer = layer_of(PATTERNS[name])
    torch.autograd.gradcheck(layer, tokens((5, 3), batch=1).requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", PATTERNS)
def test_the_fused_kernel_equals_the_reference(name: str) -> None:
    layer = layer_of(PATTERNS[name]).float()
    x = tokens((11,) * len(layer.pattern.window)).float()
    with torch.no_grad():
        answers = []
        for backend in ("sdpa", "reference"):
            layer.attend.backend = backend
            answers.append(layer(x))
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["exact", "nearest"])
def test_samples_of_a_batch_do_not_meet(name: str) -> None:
    layer, x = layer_of(PATTERNS[name]), tokens((5, 9), batch=3)
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[1], layer(x[1:2])[0])


def test_padding_is_seen_where_it_is_visible() -> None:
    masked = layer_of(Focal((4, 3), (2, 2), ((3, 3),)))
    visible = layer_of(Focal((4, 3), (2, 2), ((3, 3),), padding="visible"))
    with torch.no_grad():
        x = tokens((6, 7))
        assert not torch.allclose(masked(x), visible(x))
        x = tokens((8, 9))
        torch.testing.assert_close(masked(x), visible(x))


def without_bias(pattern: Focal | Nearest) -> Layer:
    return layer_of(pattern, qkv_bias=False)


@pytest.mark.parametrize("name", ["exact", "nearest"])
def test_queries_keys_and_values_may_have_no_bias(name: str) -> None:
    layer = without_bias(PATTERNS[name])
    assert layer.qkv.bias is None
    assert layer(tokens((5, 3))).isfinite().all()
