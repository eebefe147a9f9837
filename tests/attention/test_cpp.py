"""Attention by groups in C++: the specification's values and gradients, and its build."""

import ctypes
import math
import platform
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tests.attention.test_grouped import CASES, groups_of
from tests.support import refuses
from vitrail.attention import Problem, attend_groups, plain
from vitrail.attention.call import KernelCall
from vitrail.attention.cpp import build, kernel
from vitrail.patterns import Groups, Pattern, Window
from vitrail.shapes import Size

pytestmark = pytest.mark.skipif(build.why_not() is not None, reason=str(build.why_not()))

BATCH = 2
# Of the largest number: the dtype's own rounding, of weights and of results.
NEAR = {torch.float32: 4e-6, torch.bfloat16: 1.5e-2, torch.float16: 2e-3}
NAMES = ("qkv", "bias", "pooled", "padding_kv", "logit_scale")


class Case(NamedTuple):
    """A call: a pattern on a grid, and what else takes part."""

    pattern: Pattern
    spatial: Size
    heads: int = 2
    head_dim: int = 32
    shared: bool = True
    bias: bool = True
    cosine: bool = False
    padding_kv: bool = False
    mask_value: float = -math.inf


SWIN = Case(Window((7, 7), (3, 3)), (14, 14), heads=3)
MANY = {
    "swin": SWIN,
    "swin, no shift": SWIN._replace(pattern=Window((7, 7), (0, 0)), heads=1),
    "swin v2": SWIN._replace(cosine=True),
    "a bias a window": SWIN._replace(shared=False, heads=2),
    "no bias": SWIN._replace(bias=False),
    "leaking mask": SWIN._replace(mask_value=-2.0),
    "odd heads": Case(Window((3, 4), (1, 2)), (7, 9), head_dim=17),
    "visible padding": Case(*CASES["visible padding"], head_dim=24, padding_kv=True),
    "cosines of padding": Case(*CASES["visible padding"], cosine=True, padding_kv=True),
    "volume": Case(*CASES["shifted volume"], head_dim=48),
    "one token": Case(*CASES["one token"], head_dim=16),
    "sparse": Case(*CASES["fixed"], head_dim=128),
    "reduced": Case(*CASES["reduced"], head_dim=64),
    "focal": Case(*CASES["focal"], head_dim=20),
    "focal volume": Case(*CASES["focal volume"], head_dim=80, cosine=True),
    "nearest": Case(*CASES["nearest"], shared=False),
}


def drawn(case: Case, dtype: torch.dtype) -> tuple[dict[str, Tensor], Groups, dict[str, Any]]:
    """Return the tensors of a call by name, its groups and its numbers."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    groups, tokens, cells = groups_of(case.pattern, case.spatial)
    if case.padding_kv:  # padding takes part, so its labels are those of what it borders on
        q_region, k_region = groups.labels
        groups = replace(groups, q_region=q_region.clamp(min=0), k_region=k_region.clamp(min=0))
    count, queries = groups.q_index.shape
    tensors = {"qkv": random(BATCH, tokens, 3, case.heads, case.head_dim)}
    if case.bias:
        shape = (case.heads, queries, groups.k_index.shape[1])
        tensors["bias"] = random(1 if case.shared else count, *shape)
    if cells:
        tensors["pooled"] = random(BATCH, cells, 2, case.heads, case.head_dim)
    if case.padding_kv:
        tensors["padding_kv"] = random(3, case.heads, case.head_dim)
    if case.cosine:
        tensors["logit_scale"] = random(case.heads).abs() * 5 + 1
    return tensors, groups, {"scale": case.head_dim**-0.5, "mask_value": case.mask_value}


def run(
    tensors: dict[str, Tensor], groups: Groups, options: dict[str, Any], backend: str
) -> dict[str, Tensor]:
    """Return the answer and every gradient of a fixed function of it."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in tensors.items()}
    rest = {name: leaf for name, leaf in leaves.items() if name != "qkv"}
    out = attend_groups(leaves["qkv"], groups, backend=backend, **rest, **options)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)
    found = torch.autograd.grad((out * weight).sum(), list(leaves.values()))
    return {"out": out.detach(), **dict(zip(leaves, found, strict=True))}


def check(case: Case, dtype: torch.dtype) -> None:
    """Compare the kernel with the specification in float64."""
    tensors, groups, options = drawn(case, dtype)
    found = run(tensors, groups, options, "cpp")
    wide = {name: x.double() for name, x in tensors.items()}
    for name, right in run(wide, groups, options, "plain").items():
        assert found[name].dtype == dtype
        assert found[name].shape == right.shape
        error = (found[name].double() - right).abs().max()
        most = right.abs().max().clamp(min=1)  # one key: the gradient of its score is zero
        assert error <= NEAR[dtype] * most, f"{name} is off by {error}"


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("name", MANY)
def test_it_is_the_specification(name: str, dtype: torch.dtype) -> None:
    check(MANY[name], dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("window", "spatial"), [((16, 16), (13, 17)), ((8, 7, 7), (8, 7, 7))])
def test_windows_larger_than_a_block(window: Size, spatial: Size, dtype: torch.dtype) -> None:
    check(Case(Window(window, (0,) * len(window)), spatial, heads=1, head_dim=24), dtype)


@pytest.fixture
def nan_everywhere() -> Iterator[None]:
    """Fill memory that nobody has written with NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("nan_everywhere")
@pytest.mark.parametrize("name", ["swin", "visible padding", "focal", "nearest"])
def test_all_is_written_and_nothing_beside_it_is_read(name: str) -> None:
    tensors, groups, options = drawn(MANY[name], torch.float32)
    expected = run(tensors, groups, options, "plain")
    for key in ("qkv", "pooled"):
        if key in tensors:
            x = tensors[key]
            room = x.new_full((BATCH, x.shape[1] + 2, 4, x.shape[3] + 1, x.shape[4] + 3), math.nan)
            view = room[:, 1:-1, : x.shape[2], 1:, 1:-2].copy_(x)
            tensors[key] = view.requires_grad_()
    rest = {key: x for key, x in tensors.items() if key != "qkv"}
    out = attend_groups(tensors["qkv"], groups, backend="cpp", **rest, **options)
    torch.testing.assert_close(out, expected["out"])
    for value in run(tensors, groups, options, "cpp").values():
        assert value.isfinite().all()


def test_channels_that_do_not_lie_side_by_side() -> None:
    tensors, groups, options = drawn(SWIN, torch.bfloat16)
    expected = attend_groups(tensors["qkv"], groups, backend="cpp", **options)
    spread = tensors["qkv"].transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(attend_groups(spread, groups, backend="cpp", **options), expected)


def test_a_bias_of_any_strides_and_width() -> None:
    tensors, groups, options = drawn(SWIN, torch.float32)
    table = tensors["bias"][0].permute(1, 2, 0).contiguous().permute(2, 0, 1)[None]
    results = [
        attend_groups(tensors["qkv"], groups, bias=bias, backend="cpp", **options)
        for bias in (tensors["bias"], table, tensors["bias"].double())
    ]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_a_token_that_is_nobody_s_key_has_a_gradient_of_zero() -> None:
    qkv = torch.randn(1, 4, 3, 1, 16).requires_grad_()
    index = torch.arange(4, dtype=torch.int32).view(2, 2)
    groups = Groups(index, index[:, :1].contiguous(), unique_keys=True)
    out = attend_groups(qkv, groups, scale=1.0, backend="cpp")
    (found,) = torch.autograd.grad(out.sin().sum(), qkv)
    assert (found[0, 1::2, 1:] == 0).all()
    assert found.isfinite().all()
    assert found[0, ::2, 2].abs().min() > 0


def test_a_vector_of_zeros_has_a_direction_s_gradient() -> None:
    tensors, groups, options = drawn(SWIN._replace(cosine=True), torch.float32)
    tensors["qkv"][:, 3:5] = 0
    found = run(tensors, groups, options, "cpp")["qkv"]
    expected = run(tensors, groups, options, "plain")["qkv"]
    torch.testing.assert_close(found[:, 5:], expected[:, 5:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[:, 3:5], expected[:, 3:5], rtol=1e-3, atol=1e-3)


def test_only_what_is_wanted_comes_back() -> None:
    tensors, groups, options = drawn(MANY["focal"], torch.float32)
    call = KernelCall(
        tensors["qkv"], tensors["pooled"], groups.q_index, groups.k_index, groups.q_region,
        groups.k_region, tensors["bias"], None, None, options["scale"], -math.inf, False,
    )  # fmt: skip
    out, lse = kernel.forward(call)
    nobody = (groups.q_index < 0)[:, None]
    right_lse = plain.forward(call)[1].masked_fill(nobody, 0)
    torch.testing.assert_close(lse.masked_fill(nobody, 0), right_lse)
    needs = [False, True, False, True, True]
    found = kernel.backward(call, torch.ones_like(out), out, lse, needs)
    right = plain.backward(call, torch.ones_like(out), out, lse, needs)
    # There is neither a logit scale nor visible padding.
    for gradients in (found, right):
        assert [x is not None for x in gradients] == [False, True, False, False, False]
    torch.testing.assert_close(found[1], right[1])


@pytest.mark.parametrize("name", ["swin", "focal", "nearest"])
def test_threads_change_nothing_and_the_same_threads_not_one_bit(name: str) -> None:
    tensors, groups, options = drawn(MANY[name], torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3, 3):
            torch.set_num_threads(threads)
            results.append(run(tensors, groups, options, "cpp"))
    finally:
        torch.set_num_threads(before)
    for key, value in results[0].items():
        torch.testing.assert_close(results[1][key], value)
        assert torch.equal(results[1][key], results[2][key])


@pytest.mark.parametrize("which", ["q_index", "k_index"])
@pytest.mark.parametrize("index", [-2, 1000])
def test_a_place_beyond_the_tokens_is_refused(which: str, index: int) -> None:
    tensors, groups, options = drawn(SWIN, torch.float32)
    wrong = getattr(groups, which).clone()
    wrong[1, 2] = index
    with refuses("q_index or k_index", "same grid"):
        attend_groups(tensors["qkv"], replace(groups, **{which: wrong}), backend="cpp", **options)


def test_it_says_what_it_cannot_serve() -> None:
    problem = Problem.of_groups(*_problem(torch.float32))
    assert kernel.why_not(problem) is None
    assert "float64" in str(kernel.why_not(replace(problem, dtype=torch.float64)))
    assert "cuda" in str(kernel.why_not(replace(problem, device="cuda")))
    assert "dropout" in str(kernel.why_not(replace(problem, dropout=0.1)))


def _problem(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, None, None]:
    index = torch.zeros(1, 1, dtype=torch.int32)
    return torch.zeros(1, 1, 3, 1, 16, dtype=dtype), index, index, None, None


# ---- the build


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Forget the build that this process has loaded; keep the next one in a folder of its own."""
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    build.library.cache_clear()
    kernel._functions.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    build.library.cache_clear()
    kernel._functions.cache_clear()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="options of x86-64")
@pytest.mark.parametrize("march", ["x86-64", "x86-64-v3"])
def test_older_processors_compute_the_same(
    march: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", f"{build.compiler()} -O1 -march={march}")
    for name in ("swin v2", "odd heads", "focal", "cosines of padding"):
        for dtype in NEAR:
            check(MANY[name], dtype)
    (made,) = (fresh / "cache").glob("*.so")
    assert callable(ctypes.CDLL(str(made)).vitrail_backward)
    time = made.stat().st_mtime_ns
    build.library.cache_clear()
    build.library()
    assert made.stat().st_mtime_ns == time  # kept, not built again


# One number in, one out, by the header's own functions.
NUMBERS = """
#include "{header}"
extern "C" void halves(const uint16_t* from, float* to, int64_t n) {{
    for (int64_t i = 0; i < n; i++) to[i] = vitrail::from_half(from[i]);
}}
extern "C" void floats(const float* from, uint16_t* to, int64_t n) {{
    for (int64_t i = 0; i < n; i++) to[i] = vitrail::to_half(from[i]);
}}
"""


@pytest.mark.parametrize("options", ["", "-march=x86-64", "-march=x86-64-v3"])
def test_numbers_of_two_bytes_are_torch_s(
    options: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if options and platform.machine() != "x86_64":
        pytest.skip("options of x86-64")
    monkeypatch.setenv("CXX", f"{build.compiler()} {options}")
    source = fresh / "numbers.cpp"
    source.write_text(NUMBERS.format(header=build.SOURCE.with_name("vectors.h")))
    library = build.library(source)
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.float16)
    widened = torch.empty(len(every))
    library.halves(ctypes.c_void_p(every.data_ptr()), ctypes.c_void_p(widened.data_ptr()), 2**16)
    assert torch.equal(widened[every == every], every[every == every].float())
    assert widened[every != every].isnan().all()
    # All, what lies midway to the next, the numbers beside both, and those beyond.
    positive = torch.arange(0x7C00, dtype=torch.int16).view(torch.float16).float()
    midway = (positive[:-1] + positive[1:]) / 2
    x = torch.cat([positive, midway, positive * 1e4, torch.tensor([torch.inf, torch.nan, 65520.0])])
    x = torch.cat([x, x.nextafter(x * 2), x.nextafter(torch.zeros(()))])
    x = torch.cat([x, -x])
    narrowed = torch.empty(len(x), dtype=torch.float16)
    library.floats(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(narrowed.data_ptr()), len(x))
    there = ~x.isnan()
    assert torch.equal(narrowed[there].view(torch.int16), x[there].half().view(torch.int16))
    assert narrowed[~there].isnan().all()


def test_without_a_compiler_it_says_so(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in str(build.why_not())
    with refuses("no-such-compiler", "install g++"):
        build.library()
    for quoted in ("'no-such-compiler", '"'):
        monkeypatch.setenv("CXX", quoted)
        assert f"CXX={quoted!r} names none" in str(build.why_not())
    monkeypatch.setenv("CXX", " ")
    assert build.why_not() is None
    monkeypatch.setenv("PATH", str(fresh))
    with refuses("no g++ nor clang++", "install g++"):
        build.library()


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", f"{build.compiler()} -DINF=")
    with refuses("does not build the kernel", "another compiler"):
        build.library()
    assert not list((fresh / "cache").glob("[!.]*"))


def test_a_folder_that_cannot_be_written_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fresh / "file").touch()
    monkeypatch.setenv("VITRAIL_CACHE", str(fresh / "file" / "cache"))
    with refuses(str(fresh / "file"), "VITRAIL_CACHE"):
        build.library()


def test_a_kernel_that_cannot_be_loaded_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(build.ctypes, "CDLL", refuse)  # as in a folder that nothing runs from
    with refuses("failed to map segment", "VITRAIL_CACHE"):
        build.library()


def test_a_missing_home_is_named(monkeypatch: pytest.MonkeyPatch, fresh: Path) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("VITRAIL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with refuses("home directory", "VITRAIL_CACHE"):
        build.library()


def test_a_compiler_that_does_not_run_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fresh / "cxx").write_bytes(b"\x7fELF of another machine")
    (fresh / "cxx").chmod(0o755)
    monkeypatch.setenv("CXX", str(fresh / "cxx"))
    with refuses("cxx does not run", "set CXX"):
        build.library()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
def test_a_compiler_behind_another_program(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fresh / "with space"
    folder.mkdir()
    behind = folder / "wrapper"
    behind.write_text('#!/bin/sh\necho "$@" >> "$0.log"\nexec "$@"\n')
    behind.chmod(0o755)
    monkeypatch.setenv("CXX", f"'{behind}' g++ -O1")
    build.library()
    version, line = (folder / "wrapper.log").read_text().splitlines()
    assert version == "g++ --version"
    assert line.startswith("g++ /") and "-O3" in line and "-O1" in line
    monkeypatch.delenv("CXX")
    (folder / "g++").symlink_to(shutil.which("g++") or "")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    build.library.cache_clear()
    assert build.library() is not None


def test_the_runtime_of_torch_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(torch.__file__).resolve().parent / "lib" / "libgomp.so.1"
    facts = [f"7f00-7f10 r-xp 00000000 fe:00 {n}    {path}" for n, path in enumerate([
        "/an env/scikit_learn.libs/libgomp-e985bcbb.so.1.0.0", own, "/lib/libompt.so"
    ])]  # fmt: skip
    monkeypatch.setattr(build.Path, "read_text", lambda _: "\n".join([*facts, "7f-8f r 0 0:0 0"]))
    assert build._openmp()[2] == str(own)
    facts.pop(1)
    assert build._openmp()[2] == "/an env/scikit_learn.libs/libgomp-e985bcbb.so.1.0.0"
    del facts[0]
    assert build._openmp() == ["-fopenmp"]


def test_other_systems_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert "darwin" in str(build.why_not())


def test_the_cache_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VITRAIL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert build.cache_folder() == tmp_path / "vitrail"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VITRAIL_CACHE", "~/kernels")
    assert build.cache_folder() == tmp_path / "kernels"
    monkeypatch.setenv("VITRAIL_CACHE", ".")  # what is loaded must not be looked for on the path
    assert build.cache_folder() == Path.cwd()
    monkeypatch.delenv("VITRAIL_CACHE")
    assert build.cache_folder() == tmp_path / ".cache" / "vitrail"
