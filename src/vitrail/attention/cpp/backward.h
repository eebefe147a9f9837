// The backward pass of one thread.
//
// With P the weights and D the mean of out's gradient over out: dS = P (dO V^T - D), dV = P^T dO,
// dQ = dS K and dK = dS^T Q. Weights come again from scores and their sums, a block of queries at
// a time; nothing larger than a block is kept.
#pragma once

#include "head_task.h"

namespace vitrail {

// What threads add up for themselves, to be summed in the order of threads.
struct Partial {
    float *bias, *logit_scale, *padding_kv;  // (heads, queries, key_width), (heads), (3, heads, head_dim)
};

template <class Form>
class Backward : HeadTask<Form> {
    using Base = HeadTask<Form>;
    using Base::c, Base::key_width, Base::dim_width, Base::words, Base::kind, Base::size;
    using Base::key_parts, Base::dim_parts, Base::batch, Base::group, Base::head, Base::seen;
    using Base::queries, Base::q_rows, Base::k_rows, Base::v_rows, Base::g_rows, Base::o_rows;
    using Base::k_across, Base::q_norm, Base::k_norm, Base::score;
    template <int R>
    using QueryTile = typename Base::template QueryTile<R>;

  public:
    Backward(const Call& call, const Order& order, Arena& arena, const float* packed_bias,
             Partial partial)
        : Base(call, order, packed_bias), own(partial) {
        arena.hand_out([&] { plan(arena); });
        memset(this->nothing, 0, c.head_dim * 4);
    }

    // Units first to last.
    void backward(i64 first, i64 last) {
        this->locate(first);
        if (!c.unique_keys) clear_sums();
        for (i64 unit = first; unit < last; unit++) {
            this->enter(unit, unit + 1 < last ? unit + 1 : unit);
            transpose_words((const void**)v_rows, c.keys, words, v_across, key_width);
            Form::along_rows((const void**)k_rows, c.keys, c.head_dim, k_along, dim_width);
            memset(d_keys, 0, 2 * c.keys * dim_width * sizeof(float));
            Parts(seen, BLOCK).each([&](i64 start, i64 n) { block(start, n); });
            write_keys();
            bool done = unit + 1 == last || !same_head(unit, unit + 1);
            if (!c.unique_keys && done) write_sums(), clear_sums();
        }
    }

  private:
    static constexpr i64 BLOCK = 64;  // queries
    Partial own;
    u32 *v_across, *k_along, *q_along, *g_along;
    u32 *weights, *slopes;                    // P and dS: a row for each query
    u32 *weights_along, *slopes_along;        // the same as operands that are summed over queries
    float *d_keys, *d_values, *means, *logs;  // (keys, dim_width); (queries of a block)
    float *cosine, *line, *plain, *key_sums;
    const char **q_block, **g_block;

    void plan(Arena& a) {
        Base::plan(a);
        const i64 block = std::min(BLOCK, c.queries), pairs = Form::per == 2 ? block / 2 + 1 : 0;
        a.take(v_across, words * key_width);
        a.take(k_along, (c.keys + 1) * dim_width);
        a.take(q_along, (block + 1) * dim_width);
        a.take(g_along, (block + 1) * dim_width);
        a.take(weights, block * key_width);
        a.take(slopes, block * key_width);
        a.take(weights_along, pairs * key_width);
        a.take(slopes_along, pairs * key_width);
        a.take(d_keys, 2 * c.keys * dim_width);
        d_values = d_keys + c.keys * dim_width;
        a.take(means, block);
        a.take(logs, block);
        a.take(cosine, c.logit_scale ? ROWS * key_width : 0);
        a.take(line, ROWS * dim_width);
        a.take(plain, dim_width);
        a.take(key_sums, c.unique_keys ? 0 : (c.tokens + c.cells) * 2 * dim_width);
        a.take(q_block, block);
        a.take(g_block, block);
    }

    // Queries start to start + n of those that exist.
    void block(i64 start, i64 n) {
        const float* lse = c.lse + ((batch * c.groups + group) * c.heads + head) * c.queries;
        for (i64 r = 0; r < n; r++) {
            i64 i = queries[start + r];
            q_block[r] = q_rows[i], g_block[r] = g_rows[i];
            means[r] = total(this->dot_words((const float*)g_rows[i], (const float*)o_rows[i]));
            logs[r] = LOG2E * lse[i];
        }
        Form::along_rows((const void**)q_block, n, c.head_dim, q_along, dim_width);
        Form::along_rows((const void**)g_block, n, c.head_dim, g_along, dim_width);
        Parts(n, ROWS).each([&](i64 first, i64 rows) {
            with_count<ROWS>(rows, [&](auto r) { this->template rows<r>(start, first); });
        });
        const u32 *p = weights, *s = slopes;
        if (Form::per == 2) {
            interleave(weights, n, weights_along), p = weights_along;
            interleave(slopes, n, slopes_along), s = slopes_along;
        }
        add_keys(p, g_along, n, d_values);
        add_keys(s, q_along, n, d_keys);
    }

    void interleave(const u32* rows, i64 n, u32* to) {
        const void* at[BLOCK];
        for (i64 r = 0; r < n; r++) at[r] = rows + r * key_width;
        Form::along_rows(at, n, key_width, to, key_width);
    }

    // Weights and slopes of R queries, and the gradient of the queries.
    template <int R>
    void rows(i64 start, i64 first) {
        QueryTile<R> tile;
        this->template load_queries<R>(start + first, tile);
        const u32 *grad[R], *slope[R];
        float *d_bias[R], d_cosine = 0;
        for (int r = 0; r < R; r++) {
            grad[r] = (const u32*)g_block[first + r];
            slope[r] = slopes + (first + r) * key_width;
            d_bias[r] = own.bias + (head * c.queries + queries[start + first + r]) * key_width;
            expect(start + first + r);
        }
        key_parts.each([&](i64 at, i64 n) {
            with_count<COLS>(n, [&](auto cols) {
                constexpr int C = cols;
                vf s[R][C];
                product<Form, R, C>(s, tile.rows, 1, k_across + at * LANES, key_width, words);
                for (int r = 0; r < R; r++) {
                    if (at == 0) this->prefetch_some(seen);
                    for (int k = 0; k < C; k++) {
                        i64 j = (at + k) * LANES;
                        vf x = this->template finish<R>(s[r][k], tile, r, j);
                        vf p = Form::weight(x - logs[first + r]);
                        store(score + r * key_width + j, p);
                        Form::put(p, weights + (first + r) * key_width, j);
                        if (c.logit_scale) {
                            vf unit = s[r][k] * q_norm[start + first + r] * load(k_norm + j);
                            store(cosine + r * key_width + j, unit);
                        }
                    }
                }
                product<Form, R, C>(s, grad, 1, v_across + at * LANES, key_width, words);
                for (int r = 0; r < R; r++)
                    for (int k = 0; k < C; k++) {
                        i64 j = (at + k) * LANES;
                        vf d = load(score + r * key_width + j) * (s[r][k] - means[first + r]);
                        if (c.wants_bias) keep_bias(d, d_bias[r], start + first + r, j);
                        if (c.logit_scale) {
                            d_cosine += total(d * load(cosine + r * key_width + j));
                            d *= tile.factor[r] * LN2 * load(k_norm + j);
                        }
                        Form::put(d, slopes + (first + r) * key_width, j);
                    }
            });
        });
        if (c.logit_scale) own.logit_scale[head] += d_cosine * c.scale;
        dim_parts.each([&](i64 at, i64 n) {
            with_count<COLS>(n, [&](auto cols) {
                constexpr int C = cols;
                vf sum[R][C];
                i64 steps = (c.keys + Form::per - 1) / Form::per;
                product<Form, R, C>(sum, slope, 1, k_along + at * LANES, dim_width, steps);
                for (int r = 0; r < R; r++)
                    for (int k = 0; k < C; k++)
                        store(line + r * dim_width + (at + k) * LANES, sum[r][k]);
            });
        });
        for (int r = 0; r < R; r++) {
            i64 i = queries[start + first + r], index = c.q_index[group * c.queries + i];
            char* to = c.d_qkv + ((batch * c.tokens + index) * 3 * c.heads + head) * c.head_dim * size;
            float* d_query = line + r * dim_width;
            if (c.logit_scale) before_unit(d_query, q_rows[i], q_norm[start + first + r]);
            write(d_query, c.logit_scale ? 1 : c.scale, to);
        }
    }

    void keep_bias(vf d, float* row, i64 query, i64 j) {
        if (this->shared_bias) return store(row + j, load(row + j) + d);
        i64 at = ((group * c.heads + head) * c.queries + queries[query]) * c.keys + j;
        for (i64 k = 0; k < LANES && j + k < c.keys; k++) c.d_bias[at + k] += d[k];
    }

    // Add to each key's row the rows of `right`, each by its query's number in `left`.
    void add_keys(const u32* left, const u32* right, i64 n, float* to) {
        const i64 steps = (n + Form::per - 1) / Form::per;
        Parts(c.keys, ROWS).each([&](i64 first, i64 count) {
            with_count<ROWS>(count, [&](auto rows) {
                constexpr int R = rows;
                const u32* at[R];
                for (int r = 0; r < R; r++) at[r] = left + first + r;
                dim_parts.each([&](i64 start, i64 vectors) {
                    with_count<COLS>(vectors, [&](auto cols) {
                        constexpr int C = cols;
                        vf sum[R][C];
                        product<Form, R, C>(sum, at, key_width, right + start * LANES, dim_width, steps);
                        for (int r = 0; r < R; r++)
                            for (int k = 0; k < C; k++) {
                                float* row = to + (first + r) * dim_width + (start + k) * LANES;
                                store(row, load(row) + sum[r][k]);
                            }
                    });
                });
            });
        });
    }

    // The gradient of a vector from that of its direction.
    void before_unit(float* gradient, const char* row, float inverse) {
        if (inverse > 0.99e12f) return;
        float along = 0;
        widen(row, this->convert ? (int32_t)FLOAT32 : kind, plain, c.head_dim);
        for (i64 d = 0; d < c.head_dim; d++) along += gradient[d] * plain[d];
        along *= inverse * inverse;
        for (i64 d = 0; d < c.head_dim; d++) gradient[d] -= along * plain[d];
    }

    // Have the rows at hand that the gradient of a key is going to be written to.
    void expect(i64 j) const {
        if (!c.unique_keys || j >= c.keys || c.k_index[group * c.keys + j] < 0) return;
        for (int part = 0; part < 2; part++) {
            const char* to = home(c.k_index[group * c.keys + j], part);
            for (i64 at = 0; at < c.head_dim * size; at += 64) __builtin_prefetch(to + at, 1, 3);
        }
    }

    void write(const float* row, float factor, char* to) const {
        for (i64 d = 0; d < c.head_dim; d += LANES)
            narrow(load(row + d) * factor, to + d * size, kind, c.head_dim - d);
    }

    // Where the gradient of a token's or a cell's key (part 0) and value (part 1) belongs.
    char* home(i64 index, i64 part) const {
        i64 row = index < c.tokens ? ((batch * c.tokens + index) * 3 + 1 + part) * c.heads + head
                                   : ((batch * c.cells + index - c.tokens) * 2 + part) * c.heads + head;
        return (index < c.tokens ? c.d_qkv : c.d_pooled) + row * c.head_dim * size;
    }

    void write_keys() {
        const float factor[2] = {c.logit_scale ? 1 : c.scale, 1};
        for (i64 j = 0; j < c.keys; j++) {
            const i64 index = c.k_index[group * c.keys + j];
            if (c.logit_scale) before_unit(d_keys + j * dim_width, k_rows[j], k_norm[j]);
            for (int part = 0; part < 2; part++) {
                const float* row = (part ? d_values : d_keys) + j * dim_width;
                if (index >= 0 && c.unique_keys) {
                    write(row, factor[part], home(index, part));
                } else if (index >= 0) {
                    add(row, factor[part], key_sums + (index * 2 + part) * dim_width);
                } else if (c.padding_kv) {
                    add(row, factor[part], own.padding_kv + ((part + 1) * c.heads + head) * c.head_dim);
                }
            }
        }
    }

    void add(const float* row, float factor, float* to) const {
        for (i64 d = 0; d < c.head_dim; d++) to[d] += factor * row[d];
    }

    // The sums over groups, where keys stand in several.
    void clear_sums() {
        memset(key_sums, 0, (c.tokens + c.cells) * 2 * dim_width * sizeof(float));
    }

    bool same_head(i64 unit, i64 other) const {
        const auto a = this->order.at(unit), b = this->order.at(other);
        return a.of[Order::BATCH] == b.of[Order::BATCH] && a.of[Order::HEAD] == b.of[Order::HEAD];
    }

    void write_sums() {
        for (i64 index = 0; index < c.tokens + c.cells; index++)
            for (int part = 0; part < 2; part++)
                write(key_sums + (index * 2 + part) * dim_width, 1, home(index, part));
    }
};

}  // namespace vitrail
