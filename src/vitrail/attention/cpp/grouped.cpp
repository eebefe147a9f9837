// Attention by groups on the CPU, read and written in place.
//
// A unit of work is one head of one group of one batch member: its keys and values are packed once
// into operands that lie in the nearest caches, its queries are read where the linear layer wrote
// them, a few rows at a time, and the result is written where the next linear layer reads.
// Scores live only as a few rows; the backward pass computes them again from their sums.
#include <algorithm>
#include <cstdlib>
#include <vector>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "vectors.h"

namespace vitrail {

// One call. kernel.py has the same fields in the same order.
struct Call {
    i64 batch, tokens, cells, groups, heads, head_dim, queries, keys, threads;
    int32_t kind, bias_kind;
    float scale, mask_value;
    const char* qkv;
    i64 qkv_step[4];  // numbers between members of the batch, tokens, parts (q, k, v), heads
    const char* pooled;
    i64 pooled_step[4];  // the same, parts being k and v
    const int32_t *q_index, *k_index, *q_region, *k_region;
    const char* bias;
    i64 bias_step[4];  // groups, heads, queries, keys
    const float* temperature;
    const char* fill;  // (3, heads, head_dim)
    char* out;         // (batch, tokens, heads, head_dim)
    float* lse;        // (batch, groups, heads, queries)
};

// Memory of one thread, kept between calls and handed out in order.
class Arena {
  public:
    ~Arena() { std::free(memory); }
    template <class T>
    void take(T*& start, i64 n) {
        start = (T*)(memory + used);
        used += round_up(n * sizeof(T), 64);
    }
    // Call plan twice: once to learn how much it takes, once to hand it out.
    template <class F>
    void hand_out(F&& plan) {
        used = 0;
        plan();
        if (used > size) {
            std::free(memory);
            size = round_up(used, 4096);
            memory = (char*)std::aligned_alloc(64, size);
        }
        used = 0;
        plan();
    }

  private:
    char* memory = nullptr;
    i64 size = 0, used = 0;
};

// What is added to the scores, in units of log2: (sets, heads, queries, key_width), minus infinity
// beyond the last key.
void pack_bias(const Call& c, i64 group, i64 head, i64 row, i64 key_width, float* to) {
    i64 j = 0;
    if (c.bias) {
        i64 at = group * c.bias_step[0] + head * c.bias_step[1] + row * c.bias_step[2];
        if (c.bias_step[3] == 1) {
            widen(c.bias + at * bytes_of(c.bias_kind), c.bias_kind, to, c.keys);
            for (; j < c.keys; j++) to[j] *= LOG2E;
        } else {
            for (; j < c.keys; j++)
                to[j] = LOG2E * widen_one(c.bias, c.bias_kind, at + j * c.bias_step[3]);
        }
    } else {
        for (; j < c.keys; j++) to[j] = 0;
    }
    for (; j < key_width; j++) to[j] = -INF;
}

// One thread's work on one unit after the other. Form says how operands lie.
template <class Form>
class Worker {
  public:
    Worker(const Call& call, Arena& arena, const float* packed_bias)
        : c(call), shared_bias(packed_bias), key_width(round_up(c.keys, LANES)),
          dim_width(round_up(c.head_dim, LANES)), words(c.head_dim / Form::per),
          kind(Form::per == 2 ? (int32_t)BFLOAT16 : c.kind), size(bytes_of(kind)),
          convert(Form::per == 1 && kind != FLOAT32), query_parts(c.queries, ROWS),
          key_parts(key_width / LANES, COLS), dim_parts(dim_width / LANES, COLS) {
        arena.hand_out([&] { plan(arena); });
        memset(nothing, 0, c.head_dim * 4);
    }

    // Units first to last, each (batch, group, head), heads fastest.
    void forward(i64 first, i64 last) {
        locate(first);
        for (i64 unit = first; unit < last; unit++) {
            enter(unit, unit + 1 < last ? unit + 1 : unit);
            Form::along_rows((const void**)v_rows, c.keys, c.head_dim, v_along, dim_width);
            query_parts.each([&](i64 start, i64 n) {
                prefetch_some();
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
    const Call& c;
    const float* const shared_bias;
    const i64 key_width, dim_width, words;
    const int32_t kind;
    const i64 size;      // bytes of a number
    const bool convert;  // operands are floats, the model's numbers are not
    Parts query_parts, key_parts, dim_parts;
    i64 batch = -1, group = -1, head = -1;
    i64 seen = 0;         // queries of the group that exist
    bool masked = false;  // something in the group does not see something
    i64 *queries, fetched = 0;
    const char **ahead, **q_rows, **k_rows, **v_rows;
    char* nothing;
    float *wide, *q_norm, *k_norm, *hidden, *own_bias, *score, *sums, *tops;
    int32_t* region;
    u32 *k_across, *v_along, *weight;
    const float* bias;
    i64 bias_step;

    void plan(Arena& a) {
        a.take(queries, c.queries);
        a.take(ahead, c.queries + 2 * c.keys);
        a.take(q_rows, c.queries + 2 * c.keys);
        k_rows = q_rows + c.queries;
        v_rows = k_rows + c.keys;
        a.take(nothing, c.head_dim * 4);
        a.take(wide, convert ? (c.queries + 2 * c.keys) * c.head_dim : 0);
        a.take(q_norm, c.queries);
        a.take(k_norm, key_width);
        a.take(hidden, key_width);
        a.take(region, key_width);
        a.take(own_bias, shared_bias ? 0 : c.queries * key_width);
        a.take(score, ROWS * key_width);
        a.take(weight, ROWS * key_width);
        a.take(sums, round_up(c.queries, LANES));
        a.take(tops, round_up(c.queries, LANES));
        a.take(k_across, words * key_width);
        a.take(v_along, (c.keys + 1) * dim_width);
    }

    // Where the rows of a unit begin, to `ahead`: queries, keys, values.
    void locate(i64 unit) {
        const i64 h = unit % c.heads, g = unit / c.heads % c.groups, b = unit / c.heads / c.groups;
        const char* tokens = c.qkv + (b * c.qkv_step[0] + h * c.qkv_step[3]) * size;
        const char* cells = c.pooled + (b * c.pooled_step[0] + h * c.pooled_step[3]) * size;
        const char* empty = c.fill ? c.fill + (c.heads + h) * c.head_dim * size : nothing;
        const i64 between = c.qkv_step[2] * size, cells_between = c.pooled_step[2] * size;
        const i64 empty_between = c.fill ? c.heads * c.head_dim * size : 0;
        const i64 step = c.qkv_step[1] * size, cell_step = c.pooled_step[1] * size;
        const i64 count = c.tokens, q = c.queries, k = c.keys;
        const int32_t* index = c.q_index + g * q;
        const char** to = ahead;
        for (i64 i = 0; i < q; i++) to[i] = tokens + std::max(index[i], 0) * step;
        to += q;
        index = c.k_index + g * k;
        for (i64 j = 0; j < k; j++) {
            const i64 at = index[j];
            if (at < 0) {
                to[j] = empty, to[j + k] = empty + empty_between;
            } else if (at < count) {
                to[j] = tokens + at * step + between, to[j + k] = to[j] + between;
            } else {
                to[j] = cells + (at - count) * cell_step, to[j + k] = to[j] + cells_between;
            }
        }
    }

    // Take over the unit that was located, and locate the next.
    void enter(i64 unit, i64 next) {
        std::swap(ahead, q_rows);
        k_rows = q_rows + c.queries, v_rows = k_rows + c.keys;
        locate(next);
        fetched = 0;
        head = unit % c.heads, batch = unit / c.heads / c.groups;
        i64 g = unit / c.heads % c.groups;
        if (g != group) enter_group(g);
        if (convert)
            for (i64 i = 0; i < c.queries + 2 * c.keys; i++) {
                widen(q_rows[i], kind, wide + i * c.head_dim, c.head_dim);
                q_rows[i] = (const char*)(wide + i * c.head_dim);
            }
        transpose_words((const void**)k_rows, c.keys, words, k_across, key_width);
        if (c.temperature) measure();
        bias_step = c.bias ? key_width : 0;
        if (shared_bias) {
            bias = shared_bias + (c.bias ? head * c.queries * key_width : 0);
        } else {
            for (i64 i = 0; i < c.queries; i++)
                pack_bias(c, g, head, i, key_width, own_bias + i * key_width);
            bias = own_bias;
        }
    }

    // Which queries exist, which keys are hidden, and whether anything in the group is.
    void enter_group(i64 g) {
        const int32_t* q_index = c.q_index + g * c.queries;
        const int32_t* k_index = c.k_index + g * c.keys;
        const int32_t* q_region = c.q_region ? c.q_region + g * c.queries : nullptr;
        const int32_t* k_region = c.k_region ? c.k_region + g * c.keys : nullptr;
        group = g;
        seen = 0;
        masked = false;
        for (i64 i = 0; i < c.queries; i++)
            if (q_index[i] >= 0) queries[seen++] = i;
        query_parts = Parts(seen, ROWS);
        for (i64 j = 0; j < key_width; j++) {
            bool hide = j < c.keys && k_index[j] < 0 && !c.fill;
            hidden[j] = hide ? -INF : 0;
            region[j] = j < c.keys && k_region ? k_region[j] : 0;
            masked |= hide || (j < c.keys && region[j] != region[0]);
        }
        if (q_region)
            for (i64 i = 0; i < seen; i++) masked |= q_region[queries[i]] != region[0];
    }

    // Bring the next unit's rows near while this one is computed.
    void prefetch_some() {
        i64 count = c.queries + 2 * c.keys, bytes = c.head_dim * size;
        i64 until = std::min(count, fetched + count / query_parts.count + 1);
        for (; fetched < until; fetched++)
            for (i64 at = 0; at < bytes; at += 64) __builtin_prefetch(ahead[fetched] + at, 0, 3);
    }

    // One over the lengths of queries and keys.
    void measure() {
        for (i64 j = 0; j < key_width; j += LANES) {
            vf sum = vf{};
            for (i64 s = 0; s < words; s++) {
                vf x = load((const float*)k_across + s * key_width + j);
                sum = Form::multiply_add(sum, x, x);
            }
            for (int i = 0; i < LANES; i++) k_norm[j + i] = 1 / std::max(std::sqrt(sum[i]), 1e-12f);
        }
        for (i64 i = 0; i < seen; i++) {
            vf sum = vf{};
            const float* row = (const float*)q_rows[queries[i]];
            i64 s = 0;
            for (; s + LANES <= words; s += LANES)
                sum = Form::multiply_add(sum, load(row + s), load(row + s));
            if (s < words) {
                vf rest = vf{};
                memcpy(&rest, row + s, 4 * (words - s));
                sum = Form::multiply_add(sum, rest, rest);
            }
            q_norm[i] = 1 / std::max(std::sqrt(total(sum)), 1e-12f);
        }
    }

    // What a few queries bring to their scores.
    template <int R>
    struct Asking {
        const u32* rows[R];
        const float* added[R];
        float factor[R];
        int32_t label[R];
    };

    template <int R>
    void ask(i64 first, Asking<R>& asking) const {
        for (int r = 0; r < R; r++) {
            i64 i = queries[first + r];
            asking.rows[r] = (const u32*)q_rows[i];
            asking.added[r] = bias + i * bias_step;
            asking.factor[r] = LOG2E * c.scale;
            if (c.temperature) asking.factor[r] *= c.temperature[head] * q_norm[first + r];
            asking.label[r] = c.q_region ? c.q_region[group * c.queries + i] : 0;
        }
    }

    // A product of query r with keys j ... as a score, in units of log2.
    template <int R>
    vf finish(vf product, const Asking<R>& asking, int r, i64 j) const {
        vf s = product * asking.factor[r];
        if (c.temperature) s *= load(k_norm + j);
        s += load(asking.added[r] + j);
        if (masked) {
            vf across = s + c.mask_value * LOG2E;
            s = load(region + j) == asking.label[r] ? s : across;
            s += load(hidden + j);
        }
        return s;
    }

    // R queries whose scores fit into the registers.
    template <int R, int C>
    void attend_few(i64 first) {
        Asking<R> asking;
        ask<R>(first, asking);
        vf s[R][C];
        product<Form, R, C>(s, asking.rows, 1, k_across, key_width, words);
        const bool simple = !masked && !c.temperature;
        const u32* weights[R];
        float inverse[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vf top = spread(-INF), sum = vf{};
#pragma GCC unroll 8
            for (int k = 0; k < C; k++) {
                s[r][k] = simple ? s[r][k] * asking.factor[r] + load(asking.added[r] + k * LANES)
                                 : finish<R>(s[r][k], asking, r, k * LANES);
                top = greater(top, s[r][k]);
            }
            float most = greatest(top);
#pragma GCC unroll 8
            for (int k = 0; k < C; k++) {
                vf p = power_of_two(s[r][k] - most);
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
        Asking<R> asking;
        ask<R>(first, asking);
        vf top[R];
        for (int r = 0; r < R; r++) top[r] = spread(-INF);
        key_parts.each([&](i64 start, i64 n) {
            with_count<COLS>(n, [&](auto cols) {
                constexpr int C = cols;
                vf s[R][C];
                product<Form, R, C>(s, asking.rows, 1, k_across + start * LANES, key_width, words);
#pragma GCC unroll 8
                for (int r = 0; r < R; r++)
#pragma GCC unroll 8
                    for (int k = 0; k < C; k++) {
                        i64 j = (start + k) * LANES;
                        vf x = finish<R>(s[r][k], asking, r, j);
                        store(score + r * key_width + j, x);
                        top[r] = greater(top[r], x);
                    }
            });
        });
        const u32* weights[R];
        float inverse[R];
        for (int r = 0; r < R; r++) {
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
            vf p = power_of_two(load(s + j) - top);
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

bool in_range(const int32_t* index, i64 n, i64 limit) {
    for (i64 i = 0; i < n; i++)
        if (index[i] < -1 || index[i] >= limit) return false;
    return true;
}

#ifdef _OPENMP
i64 thread() { return omp_get_thread_num(); }
i64 threads() { return omp_get_num_threads(); }
#else
i64 thread() { return 0; }
i64 threads() { return 1; }
#endif

template <class Form>
void forward(const Call& c) {
    i64 key_width = round_up(c.keys, LANES), units = c.batch * c.groups * c.heads;
    bool shared = !c.bias || c.bias_step[0] == 0;
    i64 rows = c.bias ? c.heads * c.queries : 1;
    static thread_local Arena common;
    float* packed = nullptr;
    if (shared) common.hand_out([&] { common.take(packed, rows * key_width); });
#pragma omp parallel num_threads(c.threads)
    {
        if (shared) {
#pragma omp for
            for (i64 row = 0; row < rows; row++)
                pack_bias(c, 0, row / c.queries, row % c.queries, key_width, packed + row * key_width);
        }
        static thread_local Arena arena;
        Worker<Form> worker(c, arena, packed);
        i64 first = units * thread() / threads(), last = units * (thread() + 1) / threads();
        if (first < last) worker.forward(first, last);
    }
}

}  // namespace vitrail

extern "C" {

// The scratch that a build for another machine would lack is no concern of these: the caller builds
// for this one. They return 0, or 1 where an index points beyond the tokens there are.
int vitrail_forward(const vitrail::Call* call) {
    using namespace vitrail;
    const Call& c = *call;
    if (!in_range(c.q_index, c.groups * c.queries, c.tokens)) return 1;
    if (!in_range(c.k_index, c.groups * c.keys, c.tokens + c.cells)) return 1;
#ifdef VITRAIL_PAIRS
    if (c.kind == BFLOAT16 && c.head_dim % 2 == 0) return forward<Pair>(c), 0;
#endif
    return forward<Single>(c), 0;
}
}
