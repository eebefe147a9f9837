"""The Triton kernels: in the interpreter, through the compiler for a GPU, and how they are cut."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from vitrail.attention.problem import Problem
from vitrail.attention.triton import kernel
from vitrail.attention.triton.launch import Tiles, precision, programs
from vitrail.attention.triton.traffic import least_bytes

ROOT = Path(__file__).resolve().parents[2]
# Not the kernels themselves: Triton reads their source, and must find it as it was written.
CHECKED = (
    "attention.call",
    "attention.grouped",
    *(f"attention.triton.{name}" for name in ("kernel", "call", "launch")),
)


def test_in_the_interpreter(request: pytest.FixtureRequest) -> None:
    triton = pytest.importorskip("triton")
    if (
        triton.__version__.startswith("3.6.")
        and numpy.lib.NumpyVersion(numpy.__version__) >= "2.4.0"
    ):
        pytest.skip("Triton 3.6 turns arrays of one number into integers, which numpy 2.4 refuses")
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    if request.config.getoption("jaxtyping_packages", None):
        checked = ",".join(f"vitrail.{name}" for name in CHECKED)
        words.append(f"--jaxtyping-packages={checked},beartype.beartype")
    environment = {key: value for key, value in os.environ.items() if "XDIST" not in key}
    environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [*words, "tests/attention/triton_cases.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]


KINDS: dict[str, dict[str, Any]] = {
    "forward_kernel": {"out": "bf16", "lse": "fp32"},
    "keys_backward": {
        "d_qkv": "bf16", "d_keys": "bf16", "d_bias": "fp32", "grad_out": "bf16", "out": "bf16",
        "lse": "fp32",
    },
    "queries_backward": {"d_qkv": "bf16", "grad_out": "bf16", "out": "bf16", "lse": "fp32"},
}  # fmt: skip
# Tq = Tk: a Swin window in one tile, and a Swin V2 window in sixteen.
SIZES = {"forward_kernel": 49, "keys_backward": 49, "queries_backward": 256}


@pytest.mark.compile
@pytest.mark.parametrize("name", KINDS)
def test_compiles_for_a_gpu_that_is_not_here(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vitrail.attention.triton import backward, forward

    tiles = Tiles.of(SIZES[name], SIZES[name], 32, 2)
    pointers = {"qkv": "bf16", "bias": "fp32", "q_index": "i32", "k_index": "i32", **KINDS[name]}
    constants = {
        "HEAD_STRIDE": 32, "POOLED_HEAD_STRIDE": 0, "HEAD_DIM": 32, "D": tiles.channels,
        "BLOCK_Q": tiles.block_q, "BLOCK_K": tiles.block_k, "QUERY_TILES": tiles.query_tiles,
        "KEY_TILES": tiles.key_tiles, "HIDE": True, "WIDE": False, "PRECISION": "ieee",
        "WRITE": "stores",
        **dict.fromkeys(("pooled", "q_region", "k_region", "temperature", "fill", "d_pooled",
                         "d_temperature", "d_fill")),
    }  # fmt: skip
    function = getattr(forward if name == "forward_kernel" else backward, name)
    kinds, aligned = {}, {}
    for place, argument in enumerate(function.arg_names):
        if argument in pointers:
            kinds[argument] = f"*{pointers[argument]}"
        elif argument in constants:
            kinds[argument] = "constexpr"
        else:
            kinds[argument] = "fp32" if argument in ("scale", "mask_value") else "i32"
        if argument in pointers or argument.endswith(("_token", "_part", "_batch")):
            aligned[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(
        function, kinds, {x: constants[x] for x in function.arg_names if kinds[x] == "constexpr"},
        aligned,
    )  # fmt: skip
    found = compiled(
        source, target=GPUTarget("cuda", 90, 32),
        options={"num_warps": tiles.warps, "num_stages": 2},
    )  # fmt: skip
    ptx = found.asm["ptx"]
    assert "wgmma" in ptx  # products on Hopper's tensor cores
    # Rows of q, k, v move 16 bytes a thread, straight into shared memory or by way of registers.
    assert "cp.async.cg.shared.global" in ptx or "ld.global.v4" in ptx
    assert "cubin" in found.asm  # the assembler took it


@pytest.mark.parametrize(
    ("queries", "keys", "head_dim", "itemsize", "expected"),
    [
        (49, 49, 32, 2, Tiles(64, 64, 1, 1, 32, 4)),
        (4, 12, 24, 2, Tiles(16, 16, 1, 1, 32, 1)),
        (256, 256, 32, 4, Tiles(64, 64, 4, 4, 32, 4)),
        (49, 230, 96, 2, Tiles(64, 64, 1, 4, 128, 8)),
        (49, 49, 128, 4, Tiles(32, 32, 2, 2, 128, 4)),
    ],
)
def test_tiles(queries: int, keys: int, head_dim: int, itemsize: int, expected: Tiles) -> None:
    tiles = Tiles.of(queries, keys, head_dim, itemsize)
    assert tiles == expected
    assert all(tiles.scores[i] >= n for i, n in enumerate((queries, keys)))


@pytest.mark.parametrize("groups", [None, 4])
@pytest.mark.parametrize("items", [0, 4, 64])
@pytest.mark.parametrize("lines", [1, 3, 100])
def test_programs_share_all_items(groups: int | None, items: int, lines: int) -> None:
    count = programs(torch.zeros(1), items, lines, per_processor=16, groups=groups)
    shares = [list(range(first, items, count)) for first in range(count)]
    assert sorted(item for share in shares for item in share) == list(range(items))
    assert all(shares)
    if groups is not None:
        assert all(len({item % groups for item in share}) == 1 for share in shares)


def test_products_on_the_cpu_are_widened() -> None:
    assert precision(torch.zeros(1)) == "wide"


def _problem(**changes: Any) -> Problem:
    given = {
        "queries": 49, "keys": 49, "head_dim": 32, "dtype": torch.bfloat16, "device": "cuda",
        "has_bias": True, "has_region": True, "bias_gradient": True, "dropout": 0.0,
        "in_place": True,
    }  # fmt: skip
    return Problem(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "mps"}, "tensors on mps"),
        ({"dtype": torch.float64}, "float64"),
        ({"head_dim": 256}, "head_dim=256"),
        ({"dropout": 0.1}, "dropout"),
    ],
)
def test_says_why_not(changes: dict[str, Any], reason: str) -> None:
    pytest.importorskip("triton")
    assert kernel.why_not(_problem()) is None
    assert reason in (kernel.why_not(_problem(**changes)) or "")


def test_says_that_triton_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_HAS_TRITON", False)
    assert kernel.why_not(_problem()) == "the package triton is not installed"


def test_least_bytes_of_swin_tiny_s_first_stage() -> None:
    # q, k, v and answers of 3136 tokens, 3 heads of 32 channels, in two bytes.
    rows = 8 * 3136 * 96 * 2
    sums = 8 * 64 * 3 * 49 * 4
    bias = 3 * 49 * 49 * 4
    index = 64 * 2 * 49 * 4
    found = least_bytes(8, 3136, 3, 32, 2, groups=64, queries=49, keys=49, bias=4)
    assert found.forward == 4 * rows + sums + bias + index
    # q, k, v and gradients in; three gradients out: one tile needs no answers.
    assert found.backward == 7 * rows + sums + 2 * bias + index
