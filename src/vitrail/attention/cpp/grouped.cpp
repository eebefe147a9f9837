// Attention by groups on the CPU, read and written in place.
//
// A unit of work is one head of one group of one batch member: its keys and values are packed once
// into operands that lie in the nearest caches, its queries are read where the linear layer wrote
// them, a few rows at a time, and the result is written where the next linear layer reads.
// Scores live only as a few rows; the backward pass computes them again from their sums.
#ifdef _OPENMP
#include <omp.h>
#endif

#include "backward.h"
#include "forward.h"

namespace vitrail {

bool in_range(const int32_t* index, i64 n, i64 limit) {
    for (i64 i = 0; i < n; i++)
        if (index[i] < -1 || index[i] >= limit) return false;
    return true;
}

bool valid(const Call& c) {
    return in_range(c.q_index, c.groups * c.queries, c.tokens) &&
           in_range(c.k_index, c.groups * c.keys, c.tokens + c.cells);
}

// Whether the backward pass reaches every part of every token by itself.
bool covered(const Call& c) {
    i64 queries = 0, keys = 0;
    for (i64 i = 0; i < c.groups * c.queries; i++) queries += c.q_index[i] >= 0;
    for (i64 i = 0; i < c.groups * c.keys; i++)
        keys += c.k_index[i] >= 0 && c.k_index[i] < c.tokens;
    return queries == c.tokens && (!c.unique_keys || keys == c.tokens);
}

#ifdef _OPENMP
i64 thread() { return omp_get_thread_num(); }
i64 threads() { return omp_get_num_threads(); }
#else
i64 thread() { return 0; }
i64 threads() { return 1; }
#endif

// Rows of bias to pack once for all groups: one of zeros without a bias, none where each group has
// its own.
i64 bias_rows(const Call& c) { return !c.bias ? 1 : c.bias_step[0] == 0 ? c.heads * c.queries : 0; }

// Called by all threads, each of which packs some rows; null where each group has its own.
const float* pack_shared(const Call& c, float* packed, i64 rows) {
    const i64 key_width = round_up(c.keys, LANES);
#pragma omp for
    for (i64 row = 0; row < rows; row++)
        pack_bias(c, 0, row / c.queries, row % c.queries, key_width, packed + row * key_width);
    return rows ? packed : nullptr;
}

template <class Form>
void forward(const Call& c) {
    static thread_local Arena common;
    float* packed = nullptr;
    const i64 key_width = round_up(c.keys, LANES), rows = bias_rows(c);
    common.hand_out([&] { common.take(packed, rows * key_width); });
    const Order order(c, Order::BATCH, Order::GROUP, Order::HEAD, 0);
#pragma omp parallel num_threads(c.threads)
    {
        const float* bias = pack_shared(c, packed, rows);
        static thread_local Arena arena;
        Forward<Form> worker(c, order, arena, bias);
        i64 first = order.start(thread(), threads()), last = order.start(thread() + 1, threads());
        if (first < last) worker.forward(first, last);
    }
}

// Units in an order that keeps to one thread what more than one of them adds to.
Order backward_order(const Call& c, bool shared) {
    if (c.unique_keys && shared) return Order(c, Order::BATCH, Order::GROUP, Order::HEAD, 0);
    if (c.unique_keys) return Order(c, Order::GROUP, Order::HEAD, Order::BATCH, 1);
    if (shared) return Order(c, Order::BATCH, Order::HEAD, Order::GROUP, 1);
    return Order(c, Order::HEAD, Order::BATCH, Order::GROUP, 2);
}

// to[row][j] += the sum of what `parts` threads have there, in their order.
void add_parts(const float* from, i64 parts, i64 step, i64 rows, i64 width, i64 pitch, float* to) {
#pragma omp for
    for (i64 row = 0; row < rows; row++)
        for (i64 part = 0; part < parts; part++)
            for (i64 j = 0; j < width; j++) to[row * width + j] += from[part * step + row * pitch + j];
}

template <class Form>
void backward(const Call& c) {
    static thread_local Arena common;
    float *packed = nullptr, *parts = nullptr;
    const i64 key_width = round_up(c.keys, LANES), rows = bias_rows(c);
    const i64 biases = c.wants_bias && rows ? c.heads * c.queries * key_width : 0;
    const i64 paddings = 3 * c.heads * c.head_dim, step = round_up(biases + c.heads + paddings, LANES);
    common.hand_out([&] {
        common.take(packed, rows * key_width);
        common.take(parts, c.threads * step);
    });
    const Order order = backward_order(c, rows != 0);
    const bool gaps = !covered(c);
#pragma omp parallel num_threads(c.threads)
    {
        const float* bias = pack_shared(c, packed, rows);
        float* mine = parts + thread() * step;
        memset(mine, 0, step * sizeof(float));
        if (gaps) {
            const i64 row = 3 * c.heads * c.head_dim * bytes_of(c.kind);
#pragma omp for
            for (i64 token = 0; token < c.batch * c.tokens; token++)
                memset(c.d_qkv + token * row, 0, row);
        }
        static thread_local Arena arena;
        Partial partial{mine, mine + biases, mine + biases + c.heads};
        Backward<Form> worker(c, order, arena, bias, partial);
        i64 first = order.start(thread(), threads()), last = order.start(thread() + 1, threads());
        if (first < last) worker.backward(first, last);
#pragma omp barrier
        if (biases)
            add_parts(parts, threads(), step, c.heads * c.queries, c.keys, key_width, c.d_bias);
        add_parts(parts + biases, threads(), step, 1, c.heads, 0, c.d_logit_scale);
        add_parts(parts + biases + c.heads, threads(), step, 1, paddings, 0, c.d_padding_kv);
    }
}

}  // namespace vitrail

extern "C" {

// They return 0, or 1 where an index points beyond the tokens there are.
int vitrail_forward(const vitrail::Call* call) {
    using namespace vitrail;
    if (!valid(*call)) return 1;
#ifdef VITRAIL_PAIRS
    if (call->kind == BFLOAT16 && call->head_dim % 2 == 0) return forward<Pair>(*call), 0;
#endif
    return forward<Single>(*call), 0;
}

int vitrail_backward(const vitrail::Call* call) {
    using namespace vitrail;
    if (!valid(*call)) return 1;
#ifdef VITRAIL_PAIRS
    if (call->kind == BFLOAT16 && call->head_dim % 2 == 0) return backward<Pair>(*call), 0;
#endif
    return backward<Single>(*call), 0;
}
}
