"""The forward kernel: one pass over the keys of each group, the softmax taken on the way.

A program owns one head and one block of queries, and goes through every ``programs``-th item (an
item is one group of one image). One head of a 7 x 7 window with 32 channels in bfloat16 moves
12.5 kB and costs 0.5 MFLOP and 4096 exponentials in a tile of 64 x 64. On an H100 (3.35 TB/s, 400
TFLOP/s in tiles this small, 3.6 T exponentials a second) that is 3.7 ns of memory against 1.3 and
1.1 ns: the rest has to hide behind memory, and memory has to be touched once. So:

- q, k and v are read where the linear layer wrote them, a row of a head at a time. 64 bytes are
  two whole sectors of the cache and 16 bytes for each of four threads; the other pieces of the
  128-byte line belong to the neighbouring heads, whose programs run at the same time, so that the
  line leaves memory once. Several heads in one program would only need more registers.
- a bias that all groups share is read once a program, not once an item, where one tile holds all
  keys: in float32 it weighs 9.6 kB, nearly as much as q, k, v and the outputs together.
- items are taken in steps, not in runs: at any moment the programs stand side by side in memory.
- four warps share a tile of 64 x 64; compiled for an H100 that takes 130 registers a thread, three
  programs a processor, and the loads of the next item can be started ahead (``num_stages``). What
  serves best is tried on the device: see ``launch``.
"""

import triton
import triton.language as tl

from vitrail.attention.triton.tiles import (
    COUNTS,
    LOG2E,
    bias_tile,
    key_tile,
    labels,
    offsets,
    one_over_norm,
    places,
    product,
    query_rows,
    scores,
    turn,
)


@triton.jit(do_not_specialize=COUNTS)
def forward_kernel(
    out, lse, qkv, pooled, q_index, k_index, q_region, k_region, bias, logit_scale, padding_kv,
    scale, mask_value, heads, groups, queries, keys, tokens, items, programs, blocks,
    qkv_batch, qkv_token, qkv_part, pooled_batch, pooled_token, pooled_part,
    bias_group,
    HEAD_STRIDE: tl.constexpr, POOLED_HEAD_STRIDE: tl.constexpr, HEAD_DIM: tl.constexpr,
    D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, KEY_TILES: tl.constexpr,
    HIDE: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    head, block, first = turn(heads, blocks)
    rows = block * BLOCK_Q + tl.arange(0, BLOCK_Q)
    channel = tl.arange(0, D)
    factor = scale * LOG2E
    if logit_scale is not None:
        factor = factor * tl.load(logit_scale + head).to(tl.float32)
    head_bias = None
    held = None
    if bias is not None:
        # With a bias for each group, `groups` divides `programs`: a program keeps its group.
        head_bias = (
            bias + (first % groups).to(tl.int64) * bias_group + head.to(tl.int64) * queries * keys
        )
        if KEY_TILES == 1:
            held = bias_tile(head_bias, rows, tl.arange(0, BLOCK_K), queries, keys)

    for item in range(first, items, programs):
        group = item % groups
        image = (item // groups).to(tl.int64)
        base = qkv + image * qkv_batch + head.to(tl.int64) * HEAD_STRIDE
        q_place = places(q_index, group, rows, queries)
        q = query_rows(base, q_place, qkv_token, channel, HEAD_DIM, WIDE)
        q_norm = one_over_norm(q, logit_scale)
        q_label = labels(q_region, group, rows, queries)
        top = tl.full([BLOCK_Q], -float("inf"), tl.float32)
        total = tl.zeros([BLOCK_Q], tl.float32)
        mean = tl.zeros([BLOCK_Q, D], tl.float32)
        for tile in range(0, KEY_TILES):
            columns = tile * BLOCK_K + tl.arange(0, BLOCK_K)
            k_place = places(k_index, group, columns, keys)
            k, v = key_tile(
                base, pooled, padding_kv, k_place, image, head, heads, tokens, channel,
                qkv_token, qkv_part, pooled_batch, pooled_token, pooled_part,
                POOLED_HEAD_STRIDE, HEAD_DIM, WIDE,
            )  # fmt: skip
            k_norm = one_over_norm(k, logit_scale)
            k_label = labels(k_region, group, columns, keys)
            seen = k_place >= (0 if padding_kv is None else -1)
            added = held
            if bias is not None and KEY_TILES > 1:
                added = bias_tile(head_bias, rows, columns, queries, keys)
            score = scores(
                q, k, q_norm, k_norm, factor, added, q_label, k_label, mask_value, seen,
                HIDE, PRECISION,
            )  # fmt: skip
            higher = tl.maximum(top, tl.max(score, 1))
            # A query that is not there may see nothing at all: no infinity less infinity.
            finite = tl.where(higher == -float("inf"), 0.0, higher)
            weight = tl.exp2(score - finite[:, None])
            if KEY_TILES > 1:
                kept = tl.exp2(top - finite)
                total = total * kept
                mean = mean * kept[:, None]
            total += tl.sum(weight, 1)
            mean = product(weight.to(v.dtype), v, mean, PRECISION)
            top = higher
        there = (total > 0) & (q_place >= 0)
        total = tl.where(there, total, 1.0)
        mean = mean / total[:, None]
        width = heads * HEAD_DIM
        place = out + image * tokens * width + head * HEAD_DIM
        tl.store(
            place + offsets(q_place, width, WIDE)[:, None] + channel[None, :],
            mean.to(out.dtype.element_ty),
            mask=(q_place >= 0)[:, None] & (channel < HEAD_DIM)[None, :],
        )
        natural = tl.where(there, top / LOG2E + tl.log(total), 0.0)
        line = ((image * groups + group) * heads + head) * queries
        tl.store(lse + line + rows, natural, mask=rows < queries)
