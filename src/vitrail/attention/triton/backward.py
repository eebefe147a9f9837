"""The backward kernels: scores are computed again from the saved logarithms of their sums.

``keys_backward`` owns one head and one block of keys and gathers, over all queries, the gradients
of those keys and values and of that part of the bias; where one block holds all keys it has all
that the queries' gradients need as well, and one pass over memory serves everything. Else
``queries_backward`` follows, which owns a block of queries and goes over the keys.

No program adds to what another writes, unless a key stands in several groups. A program sums the
gradient of the bias over its items and stores it in a part of its own, to be added up in a fixed
order; the same holds for the logit_scale and the padding_kv.
"""

# Triton declares its language for Python; in a kernel `tl.sum` is a tensor, never a tuple.
# pyright: reportOperatorIssue=false, reportArgumentType=false
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
    unit,
    unnormalised,
)


@triton.jit(do_not_specialize=COUNTS)
def keys_backward(
    d_qkv, d_keys, d_pooled, d_bias, d_logit_scale, d_padding_kv,
    grad_out, out, lse, qkv, pooled, q_index, k_index, q_region, k_region, bias, logit_scale,
    padding_kv, scale, mask_value, heads, groups, queries, keys, tokens, items, programs, blocks,
    qkv_batch, qkv_token, qkv_part, pooled_batch, pooled_token, pooled_part,
    bias_group,
    d_keys_batch, d_keys_token, d_keys_part, d_pooled_batch, d_pooled_token, d_pooled_part,
    HEAD_STRIDE: tl.constexpr, POOLED_HEAD_STRIDE: tl.constexpr, HEAD_DIM: tl.constexpr,
    D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    QUERY_TILES: tl.constexpr, KEY_TILES: tl.constexpr,
    HIDE: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr, WRITE: tl.constexpr,
):  # fmt: skip
    head, block, first = turn(heads, blocks)
    columns = block * BLOCK_K + tl.arange(0, BLOCK_K)
    channel = tl.arange(0, D)
    width = heads * HEAD_DIM
    multiplier = scale
    d_factor = 0.0
    logit_factor = 1.0
    if logit_scale is not None:
        logit_factor = tl.load(logit_scale + head).to(tl.float32)
        multiplier = scale * logit_factor
    factor = multiplier * LOG2E
    head_bias = None
    held = None
    if bias is not None:
        head_bias = (
            bias + (first % groups).to(tl.int64) * bias_group + head.to(tl.int64) * queries * keys
        )
        if QUERY_TILES == 1:
            held = bias_tile(head_bias, tl.arange(0, BLOCK_Q), columns, queries, keys)
    part = None
    gathered = None
    if d_bias is not None:
        # Room for whole tiles: other addresses than the bias', so that none are kept meanwhile.
        part = d_bias + (first.to(tl.int64) * heads + head) * (
            QUERY_TILES * BLOCK_Q * KEY_TILES * BLOCK_K
        )
        if QUERY_TILES == 1:
            gathered = tl.zeros([BLOCK_Q, BLOCK_K], tl.float32)
    d_padding_k = None
    d_padding_v = None
    if padding_kv is not None:
        d_padding_k = tl.zeros([D], tl.float32)
        d_padding_v = tl.zeros([D], tl.float32)

    for item in range(first, items, programs):
        group = item % groups
        image = (item // groups).to(tl.int64)
        base = qkv + image * qkv_batch + head.to(tl.int64) * HEAD_STRIDE
        k_place = places(k_index, group, columns, keys)
        k, v = key_tile(
            base, pooled, padding_kv, k_place, image, head, heads, tokens, channel,
            qkv_token, qkv_part, pooled_batch, pooled_token, pooled_part,
            POOLED_HEAD_STRIDE, HEAD_DIM, WIDE,
        )  # fmt: skip
        k_norm = one_over_norm(k, logit_scale)
        unit_k = unit(k, k_norm)
        k_label = labels(k_region, group, columns, keys)
        seen = k_place >= (0 if padding_kv is None else -1)
        line = ((image * groups + group) * heads + head) * queries
        d_k = tl.zeros([BLOCK_K, D], tl.float32)
        d_v = tl.zeros([BLOCK_K, D], tl.float32)
        for tile in range(0, QUERY_TILES):
            rows = tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
            q_place = places(q_index, group, rows, queries)
            q = query_rows(base, q_place, qkv_token, channel, HEAD_DIM, WIDE)
            g_base = grad_out + image * tokens * width + head * HEAD_DIM
            g = query_rows(g_base, q_place, width, channel, HEAD_DIM, WIDE)
            q_norm = one_over_norm(q, logit_scale)
            unit_q = unit(q, q_norm)
            q_label = labels(q_region, group, rows, queries)
            added = held
            if bias is not None and QUERY_TILES > 1:
                added = bias_tile(head_bias, rows, columns, queries, keys)
            score = scores(
                q, k, q_norm, k_norm, factor, added, q_label, k_label, mask_value, seen,
                HIDE, PRECISION,
            )  # fmt: skip
            # Where there is no query, an infinite sum makes every weight zero.
            there = q_place >= 0
            logsum = tl.load(lse + line + rows, mask=there, other=float("inf")) * LOG2E
            weight = tl.exp2(score - logsum[:, None])
            d_v = product(tl.trans(weight.to(g.dtype)), g, d_v, PRECISION)
            d_weight = product(g, tl.trans(v), None, PRECISION)
            if KEY_TILES == 1:
                along = tl.sum(weight * d_weight, 1)
            else:
                o_base = out + image * tokens * width + head * HEAD_DIM
                o = query_rows(o_base, q_place, width, channel, HEAD_DIM, WIDE)
                along = tl.sum(o.to(tl.float32) * g.to(tl.float32), 1)
            d_score = weight * (d_weight - along[:, None])
            if d_bias is not None:
                if QUERY_TILES == 1:
                    gathered += d_score
                else:
                    # Only this program touches this tile; the barrier lets its threads see it.
                    tl.debug_barrier()
                    spot = part + rows[:, None] * (KEY_TILES * BLOCK_K) + columns[None, :]
                    tl.store(spot, tl.load(spot) + d_score)
            narrow = d_score.to(q.dtype)
            d_k = product(tl.trans(narrow), unit_q, d_k, PRECISION)
            if KEY_TILES == 1:
                d_q = product(narrow, unit_k, None, PRECISION) * multiplier
                if logit_scale is not None:
                    d_q, turned = unnormalised(q, q_norm, d_q)
                    d_factor += tl.sum(turned, 0)
                tl.store(
                    d_qkv + image * tokens * 3 * width + head * HEAD_DIM
                    + offsets(q_place, 3 * width, WIDE)[:, None] + channel[None, :],
                    d_q.to(d_qkv.dtype.element_ty),
                    mask=there[:, None] & (channel < HEAD_DIM)[None, :],
                )  # fmt: skip
        d_k = d_k * multiplier
        if logit_scale is not None:
            d_k, _ = unnormalised(k, k_norm, d_k)
        if padding_kv is not None:
            filled = (k_place == -1)[:, None]
            d_padding_k += tl.sum(tl.where(filled, d_k, 0.0), 0)
            d_padding_v += tl.sum(tl.where(filled, d_v, 0.0), 0)
        real = (channel < HEAD_DIM)[None, :]
        own = k_place >= 0
        to_row = k_place
        if WRITE == "places":
            to_row = group * keys + columns
        elif pooled is not None:
            own = own & (k_place < tokens)
        spot = d_keys + image * d_keys_batch + head * HEAD_DIM
        spot = spot + offsets(to_row, d_keys_token, WIDE)[:, None] + channel[None, :]
        mask = own[:, None] & real
        _give(spot, d_k, mask, WRITE)
        _give(spot + d_keys_part, d_v, mask, WRITE)
        if pooled is not None and WRITE != "places":
            spot = d_pooled + image * d_pooled_batch + head * HEAD_DIM + channel[None, :]
            spot = spot + offsets(k_place - tokens, d_pooled_token, WIDE)[:, None]
            mask = (k_place >= tokens)[:, None] & real
            _give(spot, d_k, mask, WRITE)
            _give(spot + d_pooled_part, d_v, mask, WRITE)

    if d_bias is not None and QUERY_TILES == 1:
        rows = tl.arange(0, BLOCK_Q)
        tl.store(part + rows[:, None] * (KEY_TILES * BLOCK_K) + columns[None, :], gathered)
    if logit_scale is not None and KEY_TILES == 1:
        tl.store(d_logit_scale + (first * blocks + block) * heads + head, d_factor / logit_factor)
    if padding_kv is not None:
        spot = d_padding_kv + ((first * blocks + block) * 2 * heads + head) * HEAD_DIM + channel
        tl.store(spot, d_padding_k, mask=channel < HEAD_DIM)
        tl.store(spot + width, d_padding_v, mask=channel < HEAD_DIM)


@triton.jit
def _give(spot, value, mask, WRITE: tl.constexpr):
    """Write rows of a gradient; add them where other groups have the same key."""
    if WRITE == "adds":
        tl.atomic_add(spot, value, mask=mask, sem="relaxed")
    else:
        tl.store(spot, value.to(spot.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=COUNTS)
def queries_backward(
    d_qkv, d_logit_scale,
    grad_out, out, lse, qkv, pooled, q_index, k_index, q_region, k_region, bias, logit_scale,
    padding_kv, scale, mask_value, heads, groups, queries, keys, tokens, items, programs, blocks,
    qkv_batch, qkv_token, qkv_part, pooled_batch, pooled_token, pooled_part,
    bias_group,
    HEAD_STRIDE: tl.constexpr, POOLED_HEAD_STRIDE: tl.constexpr, HEAD_DIM: tl.constexpr,
    D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, KEY_TILES: tl.constexpr,
    HIDE: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    head, block, first = turn(heads, blocks)
    rows = block * BLOCK_Q + tl.arange(0, BLOCK_Q)
    channel = tl.arange(0, D)
    width = heads * HEAD_DIM
    multiplier = scale
    d_factor = 0.0
    logit_factor = 1.0
    if logit_scale is not None:
        logit_factor = tl.load(logit_scale + head).to(tl.float32)
        multiplier = scale * logit_factor
    factor = multiplier * LOG2E
    head_bias = None
    if bias is not None:
        head_bias = (
            bias + (first % groups).to(tl.int64) * bias_group + head.to(tl.int64) * queries * keys
        )

    for item in range(first, items, programs):
        group = item % groups
        image = (item // groups).to(tl.int64)
        base = qkv + image * qkv_batch + head.to(tl.int64) * HEAD_STRIDE
        q_place = places(q_index, group, rows, queries)
        there = q_place >= 0
        q = query_rows(base, q_place, qkv_token, channel, HEAD_DIM, WIDE)
        g_base = grad_out + image * tokens * width + head * HEAD_DIM
        g = query_rows(g_base, q_place, width, channel, HEAD_DIM, WIDE)
        o_base = out + image * tokens * width + head * HEAD_DIM
        o = query_rows(o_base, q_place, width, channel, HEAD_DIM, WIDE)
        along = tl.sum(o.to(tl.float32) * g.to(tl.float32), 1)
        line = ((image * groups + group) * heads + head) * queries
        logsum = tl.load(lse + line + rows, mask=there, other=float("inf")) * LOG2E
        q_norm = one_over_norm(q, logit_scale)
        q_label = labels(q_region, group, rows, queries)
        d_q = tl.zeros([BLOCK_Q, D], tl.float32)
        for tile in range(0, KEY_TILES):
            columns = tile * BLOCK_K + tl.arange(0, BLOCK_K)
            k_place = places(k_index, group, columns, keys)
            k, v = key_tile(
                base, pooled, padding_kv, k_place, image, head, heads, tokens, channel,
                qkv_token, qkv_part, pooled_batch, pooled_token, pooled_part,
                POOLED_HEAD_STRIDE, HEAD_DIM, WIDE,
            )  # fmt: skip
            k_norm = one_over_norm(k, logit_scale)
            unit_k = unit(k, k_norm)
            k_label = labels(k_region, group, columns, keys)
            seen = k_place >= (0 if padding_kv is None else -1)
            added = None
            if bias is not None:
                added = bias_tile(head_bias, rows, columns, queries, keys)
            score = scores(
                q, k, q_norm, k_norm, factor, added, q_label, k_label, mask_value, seen,
                HIDE, PRECISION,
            )  # fmt: skip
            weight = tl.exp2(score - logsum[:, None])
            d_weight = product(g, tl.trans(v), None, PRECISION)
            d_score = weight * (d_weight - along[:, None])
            d_q = product(d_score.to(q.dtype), unit_k, d_q, PRECISION)
        d_q = d_q * multiplier
        if logit_scale is not None:
            d_q, turned = unnormalised(q, q_norm, d_q)
            d_factor += tl.sum(turned, 0)
        tl.store(
            d_qkv + image * tokens * 3 * width + head * HEAD_DIM
            + offsets(q_place, 3 * width, WIDE)[:, None] + channel[None, :],
            d_q.to(d_qkv.dtype.element_ty),
            mask=there[:, None] & (channel < HEAD_DIM)[None, :],
        )  # fmt: skip

    if logit_scale is not None:
        tl.store(d_logit_scale + (first * blocks + block) * heads + head, d_factor / logit_factor)
