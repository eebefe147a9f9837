"""What the kernels share: whose turn it is, rows fetched by index, and a tile of scores.

Scores are kept in powers of two (everything that is added or multiplied carries log2(e)), as the
GPU has an instruction for 2^x and none for e^x.
"""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
# What torch's normalize divides by at least.
LEAST_NORM = tl.constexpr(1e-12)
# Arguments whose being 1 or a multiple of 16 makes no kernel faster: not a kernel for each.
COUNTS = ["heads", "groups", "tokens", "items", "programs", "blocks"]


@triton.jit
def turn(heads, blocks):
    """Return the head, the block of queries or keys, and the first item of this program.

    Heads change fastest: programs that run together read neighbouring pieces of the same rows.
    """
    program = tl.program_id(0)
    rest = program // heads
    return program % heads, rest % blocks, rest // blocks


@triton.jit
def places(index, group, slots, count):
    """Return the tokens, or the region labels, of some slots of a group; -2 beyond its end."""
    return tl.load(index + group * count + slots, mask=slots < count, other=-2)


@triton.jit
def labels(region, group, slots, count):
    """Return the region labels of some slots of a group; None where all of a group may meet."""
    label = None
    if region is not None:
        label = places(region, group, slots, count)
    return label


@triton.jit
def offsets(index, stride, WIDE: tl.constexpr):
    """Return how far into an image its rows lie; in 64 bits where 32 do not hold it."""
    if WIDE:
        index = index.to(tl.int64)
    return index * stride


@triton.jit
def query_rows(base, index, stride, channel, HEAD_DIM: tl.constexpr, WIDE: tl.constexpr):
    """Load one head's rows of some tokens; zeros where there is none."""
    mask = (index >= 0)[:, None] & (channel < HEAD_DIM)[None, :]
    return tl.load(
        base + offsets(index, stride, WIDE)[:, None] + channel[None, :], mask=mask, other=0.0
    )


@triton.jit
def key_rows(
    base, pooled, padding_kv, index, tokens, stride, pooled_stride, channel,
    HEAD_DIM: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Load one head's rows of some keys: of tokens, of pooled cells, or of padding."""
    real = (channel < HEAD_DIM)[None, :]
    own = index >= 0
    if pooled is not None:
        own = own & (index < tokens)
    rows = tl.load(
        base + offsets(index, stride, WIDE)[:, None] + channel[None, :],
        mask=own[:, None] & real,
        other=0.0,
    )
    if pooled is not None:
        far = index >= tokens
        cell = offsets(index - tokens, pooled_stride, WIDE)
        cells = tl.load(
            pooled + cell[:, None] + channel[None, :], mask=far[:, None] & real, other=0.0
        )
        rows = tl.where(far[:, None], cells, rows)
    if padding_kv is not None:
        filler = tl.load(padding_kv + channel, mask=channel < HEAD_DIM, other=0.0).to(rows.dtype)
        rows = tl.where((index == -1)[:, None], filler[None, :], rows)
    return rows


@triton.jit
def key_tile(
    base, pooled, padding_kv, place, image, head, heads, tokens, channel,
    stride, part, pooled_batch, pooled_stride, pooled_part,
    POOLED_HEAD_STRIDE: tl.constexpr, HEAD_DIM: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Load a tile of one head's keys and values."""
    pooled_k = None
    pooled_v = None
    if pooled is not None:
        pooled_k = pooled + image * pooled_batch + head.to(tl.int64) * POOLED_HEAD_STRIDE
        pooled_v = pooled_k + pooled_part
    padding_k = None
    padding_v = None
    if padding_kv is not None:
        padding_k = padding_kv + heads * HEAD_DIM + head * HEAD_DIM
        padding_v = padding_k + heads * HEAD_DIM
    k = key_rows(
        base + part, pooled_k, padding_k, place, tokens, stride, pooled_stride, channel,
        HEAD_DIM, WIDE,
    )  # fmt: skip
    v = key_rows(
        base + part + part, pooled_v, padding_v, place, tokens, stride, pooled_stride, channel,
        HEAD_DIM, WIDE,
    )  # fmt: skip
    return k, v


@triton.jit
def one_over_norm(rows, logit_scale):
    """Return the reciprocal lengths of rows, in float32; None unless attention is of cosines."""
    norm = None
    if logit_scale is not None:
        wide = rows.to(tl.float32)
        norm = 1.0 / tl.maximum(tl.sqrt(tl.sum(wide * wide, 1)), LEAST_NORM)
    return norm


@triton.jit
def unit(rows, norm):
    """Return rows at unit length, in their dtype; as they are without reciprocal lengths."""
    if norm is not None:
        rows = (rows.to(tl.float32) * norm[:, None]).to(rows.dtype)
    return rows


@triton.jit
def bias_tile(bias, rows, columns, queries, keys):
    """Load a tile of one head's bias, times log2(e)."""
    mask = (rows < queries)[:, None] & (columns < keys)[None, :]
    tile = tl.load(bias + rows[:, None] * keys + columns[None, :], mask=mask, other=0.0)
    return tile.to(tl.float32) * LOG2E


@triton.jit
def scores(
    q, k, q_norm, k_norm, factor, bias, q_label, k_label, mask_value, seen,
    HIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return a tile of scores times log2(e); minus infinity where nothing is seen.

    Lengths divide the products, not the rows, so that cosines keep float32's precision.
    """
    tile = product(q, tl.trans(k), None, PRECISION)
    if q_norm is not None:
        tile = tile * (q_norm * factor)[:, None] * k_norm[None, :]
    else:
        tile = tile * factor
    if bias is not None:
        tile = tile + bias
    if q_label is not None:
        other = q_label[:, None] != k_label[None, :]
        tile = tl.where(other, -float("inf") if HIDE else tile + mask_value, tile)
    return tl.where(seen[None, :], tile, -float("inf"))


@triton.jit
def product(a, b, total, PRECISION: tl.constexpr):
    """Return ``a b``, added to a total if there is one, in float32."""
    if PRECISION == "wide":
        # Triton's interpreter would multiply the bits of bfloat16 as whole numbers.
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total, input_precision="ieee")
    else:
        return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def unnormalised(rows, norm, gradient):
    """Return the gradient of rows that were divided by their length, given that of the result.

    A row shorter than the least divisor was divided by a constant, so that nothing is projected.
    """
    unit = rows.to(tl.float32) * norm[:, None]
    along = tl.sum(unit * gradient, 1)
    projected = tl.where(norm < 1.0 / LEAST_NORM, along, 0.0)
    return norm[:, None] * (gradient - unit * projected[:, None]), along
