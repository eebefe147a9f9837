// The forward pass of one thread.
#pragma once

#include "head_task.h"

namespace vitrail {

template <class Form>
class Forward : HeadTask<Form> {
    using Base = HeadTask<Form>;
    using Base::c, Base::key_width, Base::dim_width, Base::words, Base::kind, Base::size;
    using Base::query_parts, Base::key_parts, Base::dim_parts, Base::batch, Base::group, Base::head;
    using Base::seen, Base::masked, Base::queries, Base::v_rows, Base::k_across, Base::score;
    template <int R>
    using QueryTile = typename Base::template QueryTile<R>;

  public:
    Forward(const Call& call, const Order& order, Arena& arena, const float* packed_bias)
        : Base(call, order, packed_bias) {
        arena.hand_out([&] { plan(arena); });
        memset(this->nothing, 0, c.head_dim * 4);
    }

    // Units first to last.
    void forward(i64 first, i64 last) {
        this->locate(first);
        for (i64 unit = first; unit < last; unit++) {
            this->enter(unit, unit + 1 < last ? unit + 1 : unit);
            Form::along_rows((const void**)v_rows, c.keys, c.head_dim, v_along, dim_width);
            query_parts.each([&](i64 start, i64 n) {
                with_count<ROWS>(n, [&](auto rows) {
                    if (key_width <= COLS * LANES)
                        with_count<COLS>(key_width / LANES, [&](auto cols) {
                            this->template attend_few<rows, cols>(start);
                        });
                    else
                        this->template attend<rows>(start);
                });
            });
            write_sums();
        }
    }

  private:
    float *sums, *tops;
    u32 *v_along, *weight;

    void plan(Arena& a) {
        Base::plan(a);
        a.take(sums, round_up(c.queries, LANES));
        a.take(tops, round_up(c.queries, LANES));
        a.take(v_along, (c.keys + 1) * dim_width);
        a.take(weight, ROWS * key_width);
    }

    // R queries whose scores fit into the registers.
    template <int R, int C>
    void attend_few(i64 first) {
        QueryTile<R> tile;
        this->template load_queries<R>(first, tile);
        vf s[R][C];
        product<Form, R, C>(s, tile.rows, 1, k_across, key_width, words);
        const bool simple = !masked && !c.logit_scale;
        const u32* weights[R];
        float inverse[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vf top = spread(-INF), sum = vf{};
#pragma GCC unroll 8
            for (int k = 0; k < C; k++) {
                s[r][k] = simple ? s[r][k] * tile.factor[r] + load(tile.added[r] + k * LANES)
                                 : this->template finish<R>(s[r][k], tile, r, k * LANES);
                top = greater(top, s[r][k]);
            }
            float most = greatest(top);
            this->prefetch_some(seen);
#pragma GCC unroll 8
            for (int k = 0; k < C; k++) {
                vf p = Form::weight(s[r][k] - most);
                sum += p;
                Form::put(p, weight + r * key_width, k * LANES);
            }
            weights[r] = weight + r * key_width;
            tops[first + r] = most;
            sums[first + r] = total(sum);
            inverse[r] = 1 / sums[first + r];
        }
        mix<R>(first, weights, inverse);
    }

    // R queries of a group with many keys.
    template <int R>
    void attend(i64 first) {
        QueryTile<R> tile;
        this->template load_queries<R>(first, tile);
        vf top[R];
        for (int r = 0; r < R; r++) top[r] = spread(-INF);
        key_parts.each([&](i64 start, i64 n) {
            with_count<COLS>(n, [&](auto cols) {
                constexpr int C = cols;
                vf s[R][C];
                product<Form, R, C>(s, tile.rows, 1, k_across + start * LANES, key_width, words);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
#pragma GCC unroll 8
                    for (int k = 0; k < C; k++) {
                        i64 j = (start + k) * LANES;
                        vf x = this->template finish<R>(s[r][k], tile, r, j);
                        store(score + r * key_width + j, x);
                        top[r] = greater(top[r], x);
                    }
            });
        });
        const u32* weights[R];
        float inverse[R];
        for (int r = 0; r < R; r++) {
            this->prefetch_some(seen);
            tops[first + r] = greatest(top[r]);
            weights[r] = weight + r * key_width;
            sums[first + r] = weigh(score + r * key_width, tops[first + r], weight + r * key_width);
            inverse[r] = 1 / sums[first + r];
        }
        mix<R>(first, weights, inverse);
    }

    // Turn a row of scores into weights in operand form; return their sum.
    float weigh(const float* s, float top, u32* to) const {
        vf sum = vf{};
        for (i64 j = 0; j < key_width; j += LANES) {
            vf p = Form::weight(load(s + j) - top);
            sum += p;
            Form::put(p, to, j);
        }
        return total(sum);
    }

    // The mean of the values under R rows of weights, to where the result belongs.
    template <int R>
    void mix(i64 first, const u32* const* weights, const float* inverse) {
        char* to[R];
        for (int r = 0; r < R; r++) {
            i64 index = c.q_index[group * c.queries + queries[first + r]];
            to[r] = c.out + ((batch * c.tokens + index) * c.heads + head) * c.head_dim * size;
        }
        dim_parts.each([&](i64 start, i64 n) {
            with_count<COLS>(n, [&](auto cols) {
                constexpr int C = cols;
                vf sum[R][C];
                i64 steps = (c.keys + Form::per - 1) / Form::per;
                product<Form, R, C>(sum, weights, 1, v_along + start * LANES, dim_width, steps);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
#pragma GCC unroll 8
                    for (int k = 0; k < C; k++) {
                        i64 d = (start + k) * LANES;
                        narrow(sum[r][k] * inverse[r], to[r] + d * size, kind, c.head_dim - d);
                    }
            });
        });
    }

    void write_sums() {
        float* to = c.lse + ((batch * c.groups + group) * c.heads + head) * c.queries;
        for (i64 i = 0; i < seen; i += LANES)
            store(sums + i, LN2 * (load(tops + i) + log_of_two(load(sums + i))));
        if (seen == c.queries)
            memcpy(to, sums, 4 * seen);
        else
            for (i64 i = 0; i < seen; i++) to[queries[i]] = sums[i];
    }
};

}  // namespace vitrail
