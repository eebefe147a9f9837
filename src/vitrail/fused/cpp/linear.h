// What the kernels of linear layers share: the description of one, tiles of products, the moments of
// a norm, and memory.
#pragma once

#include "numbers.h"

#include <algorithm>
#include <cstdlib>

struct Linear {
    vitrail::i64 rows, inputs, outputs, columns;  // columns: of a panel, a multiple of LANES
    const void* x;
    vitrail::i64 x_step;                   // numbers between rows
    const float *norm_weight, *norm_bias;  // null: no norm
    const void* weight;
    const float* bias;  // padded to whole panels
    const void* add;    // what the result is added to, or null
    vitrail::i64 add_step;
    void* y;
    vitrail::i64 y_step;
    vitrail::i64 threads;
    float eps;
    int32_t kind, gelu;
};

namespace vitrail {

using LinearFunction = void (*)(const Linear*);

// How many times b fits into a, the last time in part.
inline i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

// Outputs of a panel: as many as fill the registers, or fewer where those divide a layer better.
constexpr int WIDE = COLS * LANES, NARROW = (COLS == 4 ? 3 : 1) * LANES;
constexpr int rows_of(int cols) { return COLS == 4 && cols == 3 ? ROWS * 4 / 3 : ROWS; }
constexpr i64 MOST_ROWS = 192, MORE = 8;  // of a block; and of its last tile, perhaps

// Words between rows of a buffer: room for all numbers, and no power of two, whose rows would
// meet in the same few places of the cache.
template <class T>
inline i64 words_of(i64 numbers) {
    return round_up(T::steps(numbers), 16) + 16;
}

// Panels of a layer.
inline i64 panels_of(i64 outputs, i64 columns) { return (outputs + columns - 1) / columns; }

// Add the products of R rows and a packed panel to the sums. Meanwhile one line in each step is
// fetched from `ahead` to the core's own cache.
template <class T, int R, int C>
__attribute__((always_inline)) inline void add_products(vf (&sum)[R][C], const u32* const* a, const u32* panel,
                                                        const u32* ahead, i64 steps) {
    for (i64 s = 0; s < steps; s++) {
        vf right[C];
        __builtin_prefetch(ahead + s * C * LANES, 0, 2);
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) right[c] = load((const float*)(panel + (s * C + c) * LANES));
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vf left = T::broadcast(a[r] + s);
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) sum[r][c] = T::multiply_add(sum[r][c], left, right[c]);
        }
    }
}

// Where a tile of `rows` rows, `row` rows into its block, finds what it is to fetch ahead: the first
// tiles fetch the next panel, and later ones, or those of the last panel, what is there already.
template <int C>
inline const u32* ahead_of(const u32* panel, i64 words, i64 row, i64 rows, bool last) {
    return panel + (row < C * rows && !last ? words + row / rows * LANES : 0);
}

// f(i, n) for each vector of a row, of which n numbers are there; n is a constant but for the last.
template <class F>
inline void each_vector(i64 length, F&& f) {
    i64 i = 0;
    for (; i + LANES <= length; i += LANES) f(i, Count<LANES>{});
    if (i < length) f(i, length - i);
}

// What a norm takes off a row, and the factor of the rest.
struct Moments {
    float mean, scale;
};

// Of R rows, together, for the sums of one wait on each other: x(r, i, n) are n numbers of row r.
template <int R, class Read>
inline void moments(i64 length, float eps, Read&& x, Moments* found) {
    vf sum[R] = {}, squares[R] = {};
    float mean[R];
    each_vector(length, [&](i64 i, auto n) {
        for (int r = 0; r < R; r++) sum[r] += x(r, i, n);
    });
    for (int r = 0; r < R; r++) mean[r] = total(sum[r]) / length;
    each_vector(length, [&](i64 i, auto n) {
        for (int r = 0; r < R; r++) {
            vf d = first_of(x(r, i, n) - mean[r], n);
            squares[r] += d * d;
        }
    });
    for (int r = 0; r < R; r++) found[r] = {mean[r], 1 / std::sqrt(total(squares[r]) / length + eps)};
}

// f(i, how many rows from i on): FEW at a time, then one by one.
constexpr i64 FEW = 4;

template <class F>
inline void few_rows(i64 count, F&& f) {
    i64 i = 0;
    for (; i + FEW <= count; i += FEW) f(i, Count<FEW>{});
    for (; i < count; i++) f(i, Count<1>{});
}

// A thread's own memory, which only grows.
struct Scratch {
    char* memory = nullptr;
    i64 size = 0;
    ~Scratch() { free(memory); }
    u32* words(i64 count) {
        if (4 * count > size) {
            free(memory);
            size = round_up(4 * count, 4096);
            memory = (char*)aligned_alloc(4096, size);
        }
        return (u32*)memory;
    }
};

}  // namespace vitrail
