// What forward and backward passes share: a call, the order of its units, and a unit's operands.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "call.h"
#include "vectors.h"

namespace vitrail {

// In which order units follow one another: three axes, the slowest first; `whole` units in a row
// belong to one thread.
struct Order {
    enum Axis { BATCH, GROUP, HEAD };
    Axis axis[3];
    i64 length[3], whole;
    struct Place {
        i64 of[3];  // by Axis
    };
    Order(const Call& c, Axis slow, Axis middle, Axis fast, int indivisible)
        : axis{slow, middle, fast}, whole(1) {
        const i64 lengths[3] = {c.batch, c.groups, c.heads};
        for (int i = 0; i < 3; i++) length[i] = lengths[axis[i]];
        for (int i = 3 - indivisible; i < 3; i++) whole *= length[i];
    }
    Place at(i64 unit) const {
        Place place;
        place.of[axis[2]] = unit % length[2];
        place.of[axis[1]] = unit / length[2] % length[1];
        place.of[axis[0]] = unit / length[2] / length[1];
        return place;
    }
    i64 units() const { return length[0] * length[1] * length[2]; }
    i64 start(i64 thread, i64 threads) const { return units() / whole * thread / threads * whole; }
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

// What one thread has at hand of one unit after the other. Form says how operands lie.
template <class Form>
class HeadTask {
  public:
    HeadTask(const Call& call, const Order& units, const float* packed_bias)
        : c(call), order(units), shared_bias(packed_bias), key_width(round_up(c.keys, LANES)),
          dim_width(round_up(c.head_dim, LANES)), words(c.head_dim / Form::per),
          kind(Form::per == 2 ? (int32_t)BFLOAT16 : c.kind), size(bytes_of(kind)),
          convert(Form::per == 1 && kind != FLOAT32), query_parts(c.queries, ROWS),
          key_parts(key_width / LANES, COLS), dim_parts(dim_width / LANES, COLS) {}

  protected:
    const Call& c;
    const Order& order;
    const float* const shared_bias;
    const i64 key_width, dim_width, words;
    const int32_t kind;
    const i64 size;      // bytes of a number
    const bool convert;  // operands are floats, the model's numbers are not
    Parts query_parts, key_parts, dim_parts;
    i64 batch = -1, group = -1, head = -1;
    i64 seen = 0;         // queries of the group that exist
    bool masked = false;  // something in the group does not see something
    i64 *queries, fetched = 0, row_count = 0;
    // Of the next unit and of this: queries, keys, values, and with a gradient those of out, and out.
    const char **ahead, **q_rows, **k_rows, **v_rows, **g_rows, **o_rows;
    char* nothing;
    float *wide, *q_norm, *k_norm, *hidden, *own_bias, *score;
    int32_t* region;
    u32* k_across;
    const float* bias;
    i64 bias_step;

    void plan(Arena& a) {
        a.take(queries, c.queries);
        row_count = (c.grad_out ? 3 : 1) * c.queries + 2 * c.keys;
        a.take(ahead, row_count);
        a.take(q_rows, row_count);
        a.take(nothing, c.head_dim * 4);
        a.take(wide, convert ? row_count * c.head_dim : 0);
        a.take(q_norm, c.queries);
        a.take(k_norm, key_width);
        a.take(hidden, key_width);
        a.take(region, key_width);
        a.take(own_bias, shared_bias && !c.terms ? 0 : c.queries * key_width);
        a.take(score, ROWS * key_width);
        a.take(k_across, words * key_width);
    }

    // Where the rows of a unit begin, to `ahead`: queries, keys, values.
    void locate(i64 unit) {
        const auto [b, g, h] = order.at(unit).of;
        const char* tokens = c.qkv + (b * c.qkv_step[0] + h * c.qkv_step[3]) * size;
        const char* cells = c.pooled + (b * c.pooled_step[0] + h * c.pooled_step[3]) * size;
        const char* empty = c.padding_kv ? c.padding_kv + (c.heads + h) * c.head_dim * size : nothing;
        const i64 between = c.qkv_step[2] * size, cells_between = c.pooled_step[2] * size;
        const i64 empty_between = c.padding_kv ? c.heads * c.head_dim * size : 0;
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
        if (!c.grad_out) return;
        to += 2 * k;
        index = c.q_index + g * q;
        const i64 first = (b * count * c.heads + h) * c.head_dim * size;
        for (i64 i = 0; i < q; i++) {
            i64 at = first + std::max(index[i], 0) * c.heads * c.head_dim * size;
            to[i] = c.grad_out + at, to[i + q] = c.out + at;
        }
    }

    // Take over the unit that was located, and locate the next.
    void enter(i64 unit, i64 next) {
        std::swap(ahead, q_rows);
        k_rows = q_rows + c.queries, v_rows = k_rows + c.keys;
        g_rows = v_rows + c.keys, o_rows = g_rows + c.queries;
        locate(next);
        fetched = 0;
        const auto [b, g, h] = order.at(unit).of;
        batch = b, head = h;
        if (g != group) enter_group(g);
        if (convert)
            for (i64 i = 0; i < row_count; i++) {
                widen(q_rows[i], kind, wide + i * c.head_dim, c.head_dim);
                q_rows[i] = (const char*)(wide + i * c.head_dim);
            }
        transpose_words((const void**)k_rows, c.keys, words, k_across, key_width);
        if (c.logit_scale) measure();
        bias_step = c.bias ? key_width : 0;
        if (shared_bias) {
            bias = shared_bias + (c.bias ? head * c.queries * key_width : 0);
        } else {
            for (i64 i = 0; i < c.queries; i++)
                pack_bias(c, g, head, i, key_width, own_bias + i * key_width);
            bias = own_bias;
        }
        if (c.terms) add_terms();
    }

    // Give each query a bias of its own: what is shared, and the terms of the keys' places.
    void add_terms() {
        const float* from = c.terms + ((batch * c.groups + group) * c.heads + head) * c.queries * c.term_count;
        for (i64 n = 0; n < seen; n++) {
            const i64 i = queries[n];
            float* to = own_bias + i * key_width;
            if (shared_bias) memcpy(to, bias + i * bias_step, key_width * sizeof(float));
            for (i64 axis = 0; axis < c.term_axes; axis++) {
                const int32_t* which = c.key_terms + axis * c.keys;
                for (i64 j = 0; j < c.keys; j++) to[j] += LOG2E * from[i * c.term_count + which[j]];
            }
        }
        bias = own_bias, bias_step = key_width;
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
            bool hide = j < c.keys && k_index[j] < 0 && !c.padding_kv;
            hidden[j] = hide ? -INF : 0;
            region[j] = j < c.keys && k_region ? k_region[j] : 0;
            masked |= hide || (j < c.keys && region[j] != region[0]);
        }
        if (q_region)
            for (i64 i = 0; i < seen; i++) masked |= q_region[queries[i]] != region[0];
    }

    // Bring the next unit's rows near while this one is computed.
    void prefetch_some(i64 times) {
        i64 bytes = c.head_dim * size;
        i64 until = std::min(row_count, fetched + row_count / times + 1);
        for (; fetched < until; fetched++)
            for (i64 at = 0; at < bytes; at += 64) __builtin_prefetch(ahead[fetched] + at, 0, 2);
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
            const float* row = (const float*)q_rows[queries[i]];
            q_norm[i] = 1 / std::max(std::sqrt(total(dot_words(row, row))), 1e-12f);
        }
    }

    // Products of two rows of operands, yet to be summed.
    vf dot_words(const float* a, const float* b) const {
        vf sum = vf{};
        i64 s = 0;
        for (; s + LANES <= words; s += LANES)
            sum = Form::multiply_add(sum, load(a + s), load(b + s));
        if (s < words) {
            vf rest[2] = {};
            memcpy(&rest[0], a + s, 4 * (words - s));
            memcpy(&rest[1], b + s, 4 * (words - s));
            sum = Form::multiply_add(sum, rest[0], rest[1]);
        }
        return sum;
    }

    // What a few queries bring to their scores.
    template <int R>
    struct QueryTile {
        const u32* rows[R];
        const float* added[R];
        float factor[R];
        int32_t label[R];
    };

    template <int R>
    void load_queries(i64 first, QueryTile<R>& tile) const {
        for (int r = 0; r < R; r++) {
            i64 i = queries[first + r];
            tile.rows[r] = (const u32*)q_rows[i];
            tile.added[r] = bias + i * bias_step;
            tile.factor[r] = LOG2E * c.scale;
            if (c.logit_scale) tile.factor[r] *= c.logit_scale[head] * q_norm[first + r];
            tile.label[r] = c.q_region ? c.q_region[group * c.queries + i] : 0;
        }
    }

    // A product of query r with keys j ... as a score, in units of log2.
    template <int R>
    vf finish(vf product, const QueryTile<R>& tile, int r, i64 j) const {
        vf s = product * tile.factor[r];
        if (c.logit_scale) s *= load(k_norm + j);
        s += load(tile.added[r] + j);
        if (masked) {
            vf across = s + c.mask_value * LOG2E;
            s = load(region + j) == tile.label[r] ? s : across;
            s += load(hidden + j);
        }
        return s;
    }
};

}  // namespace vitrail
