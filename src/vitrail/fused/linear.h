// A linear layer as linear.cpp computes it, and the memory that computing takes.
#pragma once

#include "numbers.h"

#include <algorithm>
#include <cstdlib>

struct Linear {
    vitrail::i64 rows, inputs, outputs, columns;  // columns: of a panel, a multiple of LANES
    const void* x;
    vitrail::i64 x_step;                   // numbers between rows
    const float *norm_weight, *norm_bias;  // null: no norm before
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
