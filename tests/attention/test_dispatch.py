"""What groups can say beyond a pattern of tokens: queries of their own, samples, biases."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tests.support import refuses
from vitrail.attention import Attend, Problem, QueryBias, dispatch
from vitrail.attention.arrange import Heads, read
from vitrail.fused import why_not
from vitrail.patterns import Global, Groups, Pattern, Window
from vitrail.patterns.lines import arange, cross, within
from vitrail.shapes import Size

HEADS, HEAD_DIM = 2, 8
DIM = HEADS * HEAD_DIM
BACKENDS = ("reference", "sdpa", "plain", "cpp")


@dataclass(frozen=True)
class PooledQueries(Pattern):
    """Windows whose tokens answer queries that are pooled by ``stride`` (Hiera, MViTv2)."""

    window: Size
    stride: Size

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        lengths = [-(-n // m) * m for n, m in zip(spatial, self.window, strict=True)]
        q_grid = tuple(-(-n // s) for n, s in zip(spatial, self.stride, strict=True))
        part = tuple(m // s for m, s in zip(self.window, self.stride, strict=True))
        steps = zip(lengths, self.stride, q_grid, strict=True)
        queries = [within(arange(n // s, device), count) for n, s, count in steps]
        keys = [within(arange(n, device), m) for n, m in zip(lengths, spatial, strict=True)]
        q_index, k_index = cross(queries, part, q_grid), cross(keys, self.window, spatial)
        return Groups(q_index, k_index, q_index.clamp(max=0), k_index.clamp(max=0), q_grid=q_grid)

    def pairs(self, spatial: Size) -> int:
        return int(self.allowed(spatial).sum())

    scores = pairs


@dataclass(frozen=True)
class StridedQueries(PooledQueries):
    """Every ``stride``-th token along each axis is a query of all tokens (LeViT)."""

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        q_grid = tuple(-(-n // s) for n, s in zip(spatial, self.stride, strict=True))
        queries, keys = arange(math.prod(q_grid), device)[None], arange(math.prod(spatial), device)
        return Groups(queries, keys[None], q_grid=q_grid, full=True, all_keys=True)


PATTERNS: dict[str, tuple[PooledQueries, Size]] = {
    "pooled": (PooledQueries((4, 6), (2, 3)), (8, 12)),
    "pooled, padded": (PooledQueries((4, 6), (2, 3)), (9, 14)),
    "pooled line": (PooledQueries((4,), (2,)), (11,)),
    "strided": (StridedQueries((1, 1), (2, 2)), (5, 7)),
}


class Made(NamedTuple):
    """The numbers of a call, as leaves."""

    x: Tensor
    weight: Tensor
    queries: Tensor
    bias: Tensor


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).requires_grad_()


def made(groups: Groups, spatial: Size, batch: int, sets: tuple[int, ...]) -> Made:
    count = math.prod(groups.q_grid or spatial)
    pairs = groups.q_index.shape[-1], groups.k_index.shape[-1]
    parts = 2 if groups.q_grid else 3
    return Made(
        drawn(batch, math.prod(spatial), DIM), drawn(parts * DIM, DIM, seed=1),
        drawn(batch, count, DIM, seed=2), drawn(*sets, HEADS, *pairs, seed=3),
    )  # fmt: skip


def call(given: Made, groups: Groups, backend: str) -> Tensor:
    attend = Attend(backend=backend).eval()
    return attend.grouped(
        given.x, lambda x: nn.functional.linear(x, given.weight), groups,
        heads=(HEADS, HEAD_DIM), scale=0.3, bias=given.bias,
        queries=given.queries if groups.q_grid else None,
    )  # fmt: skip


def dense(given: Made, groups: Groups) -> Tensor:
    """Return the same from one matrix of all queries and keys a sample."""
    wide, bias = given.x @ given.weight.T, given.bias
    parts = wide.chunk(wide.shape[-1] // DIM, dim=-1)
    q = given.queries if groups.q_grid else parts[0]
    answers = []
    for b in range(len(given.x)):
        own = [t if t.ndim == 2 else t[b] for t in (groups.q_index, groups.k_index, *groups.labels)]
        q_index, k_index, q_region, k_region = (t.long() for t in own)
        seen = (q_region[:, :, None] == k_region[:, None]) & (q_index >= 0)[:, :, None]
        g, i, j = (seen & (k_index >= 0)[:, None]).nonzero().unbind(-1)
        table = bias[b] if bias.ndim == 5 else bias
        table = table[None] if table.ndim == 3 else table
        added = table[g if len(table) > 1 else torch.zeros_like(g), :, i, j].T
        heads = [t[b].unflatten(-1, (HEADS, -1)).transpose(0, 1) for t in (q, *parts[-2:])]
        scores = heads[0].new_full((HEADS, q.shape[1], wide.shape[1]), -math.inf)
        rows, columns = q_index[g, i], k_index[g, j]
        scores = scores.index_put(
            (torch.arange(HEADS)[:, None], rows, columns),
            (heads[0] @ heads[1].mT * 0.3)[:, rows, columns] + added,
        )
        answers.append((scores.softmax(-1) @ heads[2]).transpose(0, 1).flatten(1))
    return torch.stack(answers)


def assert_same(given: Made, groups: Groups, backend: str) -> None:
    if backend == "cpp" and (reason := why_not()) is not None:
        pytest.skip(reason)
    exact = backend in ("reference", "plain")  # the others have no float64
    dtype, tolerance = (torch.float64, 1e-9) if exact else (torch.float32, 1e-4)
    answers = []
    for make, kind in ((lambda g: call(g, groups, backend), dtype),
                       (lambda g: dense(g, groups), torch.float64)):  # fmt: skip
        leaves = Made(*(leaf.detach().to(kind).requires_grad_() for leaf in given))
        out = make(leaves)
        wanted = [leaf for leaf in leaves if leaf is not leaves.queries or groups.q_grid]
        answers.append((out.detach(), *torch.autograd.grad(out.sin().sum(), wanted)))
    for found, expected in zip(*answers, strict=True):
        scale = max(1.0, expected.abs().max().item())
        assert (found - expected).abs().max().item() <= tolerance * scale


@pytest.mark.parametrize("own", [False, True], ids=["one bias", "a bias a group"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PATTERNS)
def test_queries_of_a_grid_of_their_own(name: str, backend: str, own: bool) -> None:
    pattern, spatial = PATTERNS[name]
    groups = pattern.groups(spatial)
    assert_same(made(groups, spatial, 2, (len(groups.q_index),) if own else ()), groups, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PATTERNS)
def test_gradients_reach_what_the_pattern_allows(name: str, backend: str) -> None:
    if backend == "cpp" and (reason := why_not()) is not None:
        pytest.skip(reason)
    pattern, spatial = PATTERNS[name]
    groups = pattern.groups(spatial)
    given = made(groups, spatial, 1, ())
    out = call(given, groups, backend).sum(-1).flatten()
    gradient = [torch.autograd.grad(one, given.x, retain_graph=True)[0] for one in out]
    seen = torch.stack(gradient)[:, 0].norm(dim=-1) > 0
    assert torch.equal(seen, pattern.allowed(spatial))


def by_sample(batch: int, tokens: int, size: int) -> Groups:
    """Return groups along another order of the tokens for each sample, as of points on curves."""
    generator = torch.Generator().manual_seed(5)
    order = [torch.randperm(tokens, generator=generator) for _ in range(batch)]
    index = torch.full((batch, -(-tokens // size) * size), -1, dtype=torch.int32)
    index[:, :tokens] = torch.stack(order)
    index = index.view(batch, -1, size)
    region = index.clamp(max=0)
    return Groups(index, index, region, region, unique_keys=True)


def apart(groups: Groups) -> Groups:
    """Return the same with keys that are no longer known to be the queries."""
    return replace(groups, k_index=groups.k_index.clone(), unique_keys=False)


SETS: dict[str, Callable[[Groups], tuple[int, ...]]] = {
    "one bias": lambda _: (),
    "a bias a group": lambda groups: groups.q_index.shape[1:2],
    "a bias a group and sample": lambda groups: groups.q_index.shape[:2],
}


@pytest.mark.parametrize("sets", SETS)
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_that_differ_by_sample(backend: str, closed: bool, sets: str) -> None:
    groups = by_sample(3, 11, 4)
    groups = groups if closed else apart(groups)
    assert_same(made(groups, (11,), 3, SETS[sets](groups)), groups, backend)


def test_cells_alone_are_counted_from_the_tokens() -> None:
    """Two groups of queries, each with cells of its own: every way to attend reads the same."""
    q_index = torch.arange(6, dtype=torch.int32).view(2, 3)
    k_index = torch.tensor([[6, 7], [8, -1]], dtype=torch.int32)
    k_region = k_index.clamp(max=0)
    groups = Groups(q_index, k_index, torch.zeros_like(q_index), k_region, grids=((3,),))
    x, cells = drawn(2, 6, DIM), drawn(2, 3, 2 * DIM, seed=1)
    options: dict[str, Any] = {"heads": (HEADS, HEAD_DIM), "scale": 0.3}
    answers = [
        Attend(backend=backend).grouped(x, None, groups, queries=x, pooled=cells, **options)
        for backend in ("reference", "plain")
    ]
    torch.testing.assert_close(*answers)
    torch.testing.assert_close(answers[0][:, 3:], cells[:, 2:, DIM:].expand(-1, 3, -1))


WITH_QUERIES: dict[str, tuple[Groups, Size, tuple[int, ...], tuple[int, ...]]] = {
    "windows": (Window((4, 3), (0, 0)).groups((8, 9)), (8, 9), (4, 3), (4, 3)),
    "shifted, ragged": (Window((4, 3), (2, 1)).groups((7, 8)), (7, 8), (4, 3), (4, 3)),
    "global": (Global().groups((3, 5)), (3, 5), (3, 5), (3, 5)),
    "pooled queries": (PATTERNS["pooled"][0].groups((8, 12)), (8, 12), (2, 2), (4, 6)),
    "volume": (Window((2, 3, 2), (0, 0, 0)).groups((4, 3, 4)), (4, 3, 4), (2, 3, 2), (2, 3, 2)),
}


def decomposed(q: Tensor, tables: list[Tensor]) -> Tensor:
    """Return ``q . R`` of every axis, pair by pair."""
    queries = list(product(*(range(len(t)) for t in tables)))
    keys = list(product(*(range(t.shape[1]) for t in tables)))
    vectors = torch.stack([
        torch.stack([sum(t[a, b] for t, a, b in zip(tables, i, j, strict=True)) for j in keys])  # type: ignore[misc]
        for i in queries
    ])  # fmt: skip
    return torch.einsum("bghid,ijd->bghij", q, vectors)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", WITH_QUERIES)
def test_a_bias_that_depends_on_the_query(name: str, backend: str, bias: bool) -> None:
    """By every implementation; gradients where they have them, and the others give way."""
    if backend == "cpp" and (reason := why_not()) is not None:
        pytest.skip(reason)
    groups, spatial, q_box, k_box = WITH_QUERIES[name]
    exact = backend in ("reference", "plain")
    dtype, tolerance = (torch.float64, 1e-9) if exact else (torch.float32, 1e-4)
    given = made(groups, spatial, 2, ())
    tables = [
        drawn(n, m, HEAD_DIM, seed=7 + axis)
        for axis, (n, m) in enumerate(zip(q_box, k_box, strict=True))
    ]

    def answers(name: str, kind: torch.dtype, dense: bool) -> list[Tensor]:
        leaves = [t.detach().to(kind).requires_grad_() for t in (*given, *tables)]
        x, weight, queries, added, *own = leaves
        options: dict[str, Any] = {"heads": (HEADS, HEAD_DIM), "scale": 0.3}
        q_rows = queries if groups.q_grid else (x @ weight[:DIM].T)
        if dense:
            q = read(q_rows, groups.q_index, None).unflatten(-1, (HEADS, -1)).transpose(2, 3)
            total = decomposed(q, own)
            options["bias"] = total + added if bias else total
        else:
            options["query_bias"] = QueryBias(own)
            options["bias"] = added if bias else None
        attend = Attend(backend=name).eval()
        own = queries if groups.q_grid else None

        def run() -> Tensor:
            return attend.grouped(x, lambda x: x @ weight.T, groups, queries=own, **options)

        out = run()
        found = torch.autograd.grad(
            out.sin().sum(), leaves, materialize_grads=True, allow_unused=True
        )
        with torch.no_grad():  # where kernels serve
            return [run(), out, *found]

    expected = answers("reference", torch.float64, True)
    for found, right in zip(answers(backend, dtype, False), expected, strict=True):
        scale = max(1.0, right.abs().max().item())
        assert (found - right).abs().max().item() <= tolerance * scale


def triton_reason(problem: Problem) -> str | None:
    kernel = pytest.importorskip("vitrail.attention.triton.kernel")
    return kernel.why_not(replace(problem, device="cuda"))


def test_a_kernel_serves_the_forward_pass_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    groups, spatial, q_box, _ = WITH_QUERIES["windows"]
    given = made(groups, spatial, 1, ())
    own = QueryBias([drawn(n, n, HEAD_DIM) for n in q_box])
    seen: list[str] = []
    right = dispatch.attend_groups

    def counted(*args: Any, **options: Any) -> Tensor:
        seen.append(options["backend"])
        return right(*args, **options)

    monkeypatch.setattr(dispatch, "attend_groups", counted)
    options: dict[str, Any] = {"heads": (HEADS, HEAD_DIM), "scale": 0.3, "query_bias": own}
    attend = Attend(backend="plain").eval()
    attend.grouped(given.x, lambda x: x @ given.weight.T, groups, **options)
    assert not seen
    with torch.no_grad():
        attend.grouped(given.x, lambda x: x @ given.weight.T, groups, **options)
    assert seen == ["plain"]
    problem = attend.problem(given.x, groups, Heads(2, 8), query_bias=True)
    assert "depends on the query" in str(triton_reason(problem))
    qkv, terms = drawn(1, 72, 3, HEADS, HEAD_DIM), drawn(1, 6, HEADS, 12, 7)
    with refuses("terms of queries", "torch.no_grad()"):
        right(qkv, groups, scale=1.0, terms=terms, key_terms=own.key_terms(terms.device))
