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
          convert(Form::per == 1 && c.kind != FLOAT32) {
        arena.hand_out([&] { plan(arena); });
    }

    void forward(i64 b, i64 g, i64 h) {
        enter(b, g, h);
        transpose_words((const void**)k_rows, c.keys, words, k_across, key_width);
        Form::along_rows((const void**)v_rows, c.keys, c.head_dim, v_along, dim_width);
        evenly(seen, ROWS, [&](i64 first, i64 n) {
            with_count<ROWS>(n, [&](auto rows) { this->template attend<rows>(first); });
        });
    }

  private:
    const Call& c;
    const float* const shared_bias;
    const i64 key_width, dim_width, words;
    const bool convert;  // operands are floats, the model's numbers are not
    i64 batch = -1, group = -1, head = -1, seen = 0;
    bool masked = false;
    i64* queries;  // those of the group that exist
    const char **q_rows, **k_rows, **v_rows;
    float *wide, *q_norm, *k_norm, *hidden, *own_bias, *score;
    int32_t* region;
    u32 *k_across, *v_along, *weight;
    const float* bias;
    i64 bias_step;

    void plan(Arena& a) {
        i64 row = c.head_dim * c.keys;
        a.take(queries, c.queries);
        a.take(q_rows, c.queries);
        a.take(k_rows, c.keys);
        a.take(v_rows, c.keys);
        a.take(wide, convert ? 2 * row + c.queries * c.head_dim : 0);
        a.take(q_norm, c.queries);
        a.take(k_norm, key_width);
        a.take(hidden, key_width);
        a.take(region, key_width);
        a.take(own_bias, shared_bias ? 0 : c.queries * key_width);
        a.take(score, ROWS * key_width);
        a.take(weight, ROWS * key_width);
        a.take(k_across, words * key_width);
        a.take(v_along, (c.keys + 1) * dim_width);
    }

    const char* token(i64 index, i64 part) const {
        i64 at = batch * c.qkv_step[0] + index * c.qkv_step[1] + part * c.qkv_step[2];
        return c.qkv + (at + head * c.qkv_step[3]) * bytes_of(c.kind);
    }

    const char* key(i64 index, i64 part) const {  // part 1: key, 2: value
        if (index < 0)
            return c.fill ? c.fill + (part * c.heads + head) * c.head_dim * bytes_of(c.kind) : nullptr;
        if (index < c.tokens) return token(index, part);
        i64 at = batch * c.pooled_step[0] + (index - c.tokens) * c.pooled_step[1];
        at += (part - 1) * c.pooled_step[2] + head * c.pooled_step[3];
        return c.pooled + at * bytes_of(c.kind);
    }

    void enter(i64 b, i64 g, i64 h) {
        if (g != group) enter_group(g);
        batch = b, group = g, head = h;
        const int32_t* q_index = c.q_index + g * c.queries;
        const int32_t* k_index = c.k_index + g * c.keys;
        for (i64 i = 0; i < seen; i++) q_rows[i] = token(q_index[queries[i]], 0);
        for (i64 j = 0; j < c.keys; j++) k_rows[j] = key(k_index[j], 1), v_rows[j] = key(k_index[j], 2);
        if (convert) {
            float* to = wide;
            widen_rows(q_rows, seen, to);
            widen_rows(k_rows, c.keys, to);
            widen_rows(v_rows, c.keys, to);
        }
        if (c.temperature) {
            norms(q_rows, seen, q_norm);
            norms(k_rows, c.keys, k_norm);
        }
        bias_step = c.bias ? key_width : 0;
        if (shared_bias) {
            bias = shared_bias + (c.bias ? h * c.queries * key_width : 0);
        } else {
            for (i64 i = 0; i < c.queries; i++)
                pack_bias(c, g, h, i, key_width, own_bias + i * key_width);
            bias = own_bias;
        }
    }

    // Which queries exist, which keys are hidden, and whether anything in the group is.
    void enter_group(i64 g) {
        const int32_t* q_index = c.q_index + g * c.queries;
        const int32_t* k_index = c.k_index + g * c.keys;
        const int32_t* q_region = c.q_region ? c.q_region + g * c.queries : nullptr;
        const int32_t* k_region = c.k_region ? c.k_region + g * c.keys : nullptr;
        seen = 0;
        masked = false;
        for (i64 i = 0; i < c.queries; i++)
            if (q_index[i] >= 0) queries[seen++] = i;
        for (i64 j = 0; j < key_width; j++) {
            bool hide = j < c.keys && k_index[j] < 0 && !c.fill;
            hidden[j] = hide ? -INF : 0;
            region[j] = j < c.keys && k_region ? k_region[j] : 0;
            masked |= hide || (j < c.keys && region[j] != region[0]);
        }
        if (q_region)
            for (i64 i = 0; i < seen; i++) masked |= q_region[queries[i]] != region[0];
    }

    void widen_rows(const char** rows, i64 n, float*& to) {
        for (i64 i = 0; i < n; i++) {
            if (!rows[i]) continue;
            widen(rows[i], c.kind, to, c.head_dim);
            rows[i] = (const char*)to;
            to += c.head_dim;
        }
    }

    // One over the length of each row.
    void norms(const char* const* rows, i64 n, float* to) const {
        for (i64 i = 0; i < n; i++) {
            float sum = 0;
            for (i64 d = 0; rows[i] && d < c.head_dim; d++) {
                float x = widen_one(rows[i], convert ? FLOAT32 : c.kind, d);
                sum += x * x;
            }
            to[i] = 1 / std::max(std::sqrt(sum), 1e-12f);
        }
    }

    // The scores of R queries from `first`, in units of log2, to score[R][key_width].
    template <int R>
    void find_scores(i64 first, vf (&top)[R]) {
        const u32* rows[R];
        const float* added[R];
        float factor[R];
        int32_t label[R];
        for (int r = 0; r < R; r++) {
            i64 i = queries[first + r];
            rows[r] = (const u32*)q_rows[first + r];
            added[r] = bias + i * bias_step;
            factor[r] = LOG2E * c.scale;
            if (c.temperature) factor[r] *= c.temperature[head] * q_norm[first + r];
            label[r] = c.q_region ? c.q_region[group * c.queries + i] : 0;
            top[r] = spread(-INF);
        }
        evenly(key_width / LANES, COLS, [&](i64 start, i64 n) {
            with_count<COLS>(n, [&](auto cols) {
                constexpr int C = cols;
                vf sum[R][C];
                product<Form, R, C>(sum, rows, 1, k_across + start * LANES, key_width, words);
                for (int r = 0; r < R; r++)
                    for (int k = 0; k < C; k++) {
                        i64 j = (start + k) * LANES;
                        vf s = sum[r][k] * factor[r];
                        if (c.temperature) s *= load(k_norm + j);
                        s += load(added[r] + j);
                        if (masked) {
                            vf across = s + c.mask_value * LOG2E;
                            s = load(region + j) == label[r] ? s : across;
                            s += load(hidden + j);
                        }
                        store(score + r * key_width + j, s);
                        top[r] = greater(top[r], s);
                    }
            });
        });
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

    template <int R>
    void attend(i64 first) {
        vf top[R];
        find_scores<R>(first, top);
        const u32* rows[R];
        float inverse[R];
        for (int r = 0; r < R; r++) {
            float most = greatest(top[r]);
            rows[r] = weight + r * key_width;
            float sum = weigh(score + r * key_width, most, weight + r * key_width);
            inverse[r] = 1 / sum;
            i64 at = ((batch * c.groups + group) * c.heads + head) * c.queries + queries[first + r];
            c.lse[at] = LN2 * (most + std::log2(sum));
        }
        evenly(dim_width / LANES, COLS, [&](i64 start, i64 n) {
            with_count<COLS>(n, [&](auto cols) {
                constexpr int C = cols;
                vf sum[R][C];
                i64 steps = (c.keys + Form::per - 1) / Form::per;
                product<Form, R, C>(sum, rows, 1, v_along + start * LANES, dim_width, steps);
                for (int r = 0; r < R; r++) {
                    i64 index = c.q_index[group * c.queries + queries[first + r]];
                    i64 at = ((batch * c.tokens + index) * c.heads + head) * c.head_dim;
                    for (int k = 0; k < C; k++) {
                        i64 d = (start + k) * LANES;
                        char* to = c.out + (at + d) * bytes_of(c.kind);
                        narrow(sum[r][k] * inverse[r], to, c.kind, c.head_dim - d);
                    }
                }
            });
        });
    }
};

bool in_range(const int32_t* index, i64 n, i64 limit) {
    for (i64 i = 0; i < n; i++)
        if (index[i] < -1 || index[i] >= limit) return false;
    return true;
}

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
#pragma omp for schedule(static)
        for (i64 u = 0; u < units; u++) {
            i64 b = u / (c.groups * c.heads), g = u / c.heads % c.groups, h = u % c.heads;
            worker.forward(b, g, h);
        }
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
