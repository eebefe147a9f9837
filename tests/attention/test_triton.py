"""The Triton kernels: in the interpreter, through the compiler for a GPU, and how they are cut."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
import torch

from vitrail.attention.problem import Problem
from vitrail.attention.triton import kernel
from vitrail.attention.triton.launch import Tiles, precision, programs

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


class Kind(NamedTuple):
    """A kind of call, and which of the kernels' branches it takes."""

    queries: int = 49
    keys: int = 49
    head_dim: int = 32
    dtype: str = "bf16"
    more: tuple[str, ...] = ()  # tensors besides queries, keys, values and bias
    hide: bool = True
    wide: bool = False
    write: str = "stores"

    @property
    def tiles(self) -> Tiles:
        return Tiles.of(self.queries, self.keys, self.head_dim, 4 if self.dtype == "fp32" else 2)


REGIONS = ("q_region", "k_region")
CALLS = {
    "Swin": Kind(),
    "Swin V2, shifted": Kind(more=(*REGIONS, "logit_scale", "padding_kv"), hide=False),
    "Swin V2, 16 x 16": Kind(256, 256, more=(*REGIONS, "logit_scale", "padding_kv")),
    "Focal": Kind(49, 170, more=("pooled", *REGIONS), write="adds"),
    "Focal, ordered": Kind(16, 40, dtype="fp16", more=("pooled",), write="places"),
    "far apart": Kind(256, 256, dtype="fp32", wide=True),
    "wide heads": Kind(256, 256, head_dim=128),
    "wide heads, fp32": Kind(49, 49, head_dim=128, dtype="fp32", more=REGIONS),
}
# What a kernel has besides the tensors that it reads; optional ones follow what is read.
WRITES = {
    "forward_kernel": {"out": "", "lse": "fp32"},
    "keys_backward": {
        "d_qkv": "", "d_keys": "", "d_bias": "fp32", "grad_out": "", "out": "", "lse": "fp32",
    },
    "queries_backward": {"d_qkv": "", "grad_out": "", "out": "", "lse": "fp32"},
}  # fmt: skip
OPTIONAL = {
    **dict.fromkeys(("q_region", "k_region"), "i32"),
    **dict.fromkeys(("logit_scale", "d_logit_scale", "d_padding_kv"), "fp32"),
    **dict.fromkeys(("padding_kv", "pooled", "d_pooled"), ""),
}
KERNELS = [
    (call, name) for call, kind in CALLS.items() for name in WRITES
    if name != "queries_backward" or kind.tiles.key_tiles > 1
]  # fmt: skip


def _pointers(name: str, kind: Kind) -> dict[str, str]:
    """Return the types of the tensors that a kernel gets, by their names."""
    found = {"qkv": "", "bias": "fp32", "q_index": "i32", "k_index": "i32", **WRITES[name]}
    there = {*kind.more, *(f"d_{x}" for x in kind.more)}
    if kind.tiles.key_tiles > 1 and name == "keys_backward":
        there.discard("d_logit_scale")  # the other kernel's
    if kind.write == "places":
        there.discard("d_pooled")
    found |= {x: dtype for x, dtype in OPTIONAL.items() if x in there}
    if kind.write != "stores":
        found |= {x: "fp32" for x in ("d_keys", "d_pooled") if x in found}
    return {x: dtype or kind.dtype for x, dtype in found.items()}


@pytest.mark.compile
@pytest.mark.parametrize(("call", "name"), KERNELS)
@pytest.mark.parametrize(("generation", "room"), [(80, 163), (90, 227)])
def test_compiles_for_a_gpu_that_is_not_here(
    call: str, name: str, generation: int, room: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vitrail.attention.triton import backward, forward

    kind = CALLS[call]
    tiles, pointers = kind.tiles, _pointers(name, kind)
    constants = {
        "HEAD_STRIDE": kind.head_dim, "POOLED_HEAD_STRIDE": kind.head_dim,
        "HEAD_DIM": kind.head_dim, "D": tiles.channels, "BLOCK_Q": tiles.block_q,
        "BLOCK_K": tiles.block_k, "QUERY_TILES": tiles.query_tiles, "KEY_TILES": tiles.key_tiles,
        "HIDE": kind.hide, "WIDE": kind.wide, "WRITE": kind.write,
        "PRECISION": "tf32x3" if kind.dtype == "fp32" else "ieee",
        **{x: None for x in OPTIONAL if x not in pointers},
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
        source, target=GPUTarget("cuda", generation, 32),
        options={"num_warps": tiles.warps, "num_stages": 2},
    )  # fmt: skip
    ptx = found.asm["ptx"]
    assert "mma" in ptx  # products on tensor cores, on Hopper those of four warps
    assert call != "Swin" or generation != 90 or "wgmma" in ptx
    # Rows of q, k, v move 16 bytes a thread, straight into shared memory or by way of registers.
    assert "cp.async.cg.shared.global" in ptx or "ld.global.v4" in ptx
    assert "cubin" in found.asm  # the assembler took it
    assert found.metadata.shared <= room << 10


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
