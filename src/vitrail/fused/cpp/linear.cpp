// Linear layers of inference: the norm before and the GELU or the sum after are done while the
// rows are in the cache, and a perceptron's hidden channels never leave it unless rows are few.
//
// Weights are packed beforehand: panels of `columns` outputs; in a panel, step by step along the
// summed axis, one word of 32 bits for each output (a float, or two bfloats of consecutive steps).
#include "linear.h"

#include <omp.h>

using namespace vitrail;

namespace {

constexpr i64 CACHE = 512 << 10;  // bytes of a block, about half of a core's own cache
constexpr i64 FEW_ROWS = 24;      // of a block; with fewer, reading weights takes longest

thread_local Scratch scratch, hidden_rows;

// R rows, normalised if there is a norm, to rows of numbers of kind Out that begin `step` of them
// apart; with what is to be added, if that is to be done here.
template <class T, int32_t Out, int R, bool Adds>
void prepare(const Linear& f, i64 row, void* to, i64 step) {
    i64 n = f.inputs;
    auto x = [&](int r, i64 i, i64 count) {
        return read<T::kind>(at<T::kind>(f.x, (row + r) * f.x_step + i), count);
    };
    auto put = [&](vf y, int r, i64 i, i64 count) { write<Out>(y, at<Out>(to, r * step + i), count); };
    if (!f.norm_weight) {
        each_vector(n, [&](i64 i, auto count) {
            for (int r = 0; r < R; r++) put(x(r, i, count), r, i, count);
        });
        return;
    }
    Moments m[R];
    moments<R>(n, f.eps, x, m);
    each_vector(n, [&](i64 i, auto count) {
        vf weight = read<FLOAT32>(f.norm_weight + i, count), bias = read<FLOAT32>(f.norm_bias + i, count);
        for (int r = 0; r < R; r++) {
            vf y = (x(r, i, count) - m[r].mean) * m[r].scale * weight + bias;
            if (Adds) y += read<T::kind>(at<T::kind>(f.add, (row + r) * f.add_step + i), count);
            put(y, r, i, count);
        }
    });
}

template <class T, int32_t Out, bool Adds = false>
void prepare_all(const Linear& f, i64 row, i64 count, void* to, i64 step) {
    few_rows(count, [&](i64 i, auto rows) {
        prepare<T, Out, decltype(rows)::value, Adds>(f, row + i, at<Out>(to, i * step), step);
    });
}

// Write `count` rows of a tile, `width` numbers of each.
template <class T, int32_t Out, bool Gelu>
__attribute__((noinline)) void finish_some(const Linear& f, const vf* sum, i64 count, i64 vectors,
                                           i64 width, const char* add, char* to, i64 y_step) {
    for (i64 r = 0; r < count; r++)
        for (i64 c = 0; c < vectors && c * LANES < width; c++) {
            i64 n = width - c * LANES;
            vf x = sum[r * vectors + c];
            if (Gelu) x = gelu(x);
            if (add) x += read<T::kind>(at<T::kind>(add, r * f.add_step + c * LANES), n);
            write<Out>(x, at<Out>(to, r * y_step + c * LANES), n);
        }
}

// R rows by C vectors of outputs from `column` on, of which the first `count` rows are written to
// `y`; `ahead` is what to fetch meanwhile.
template <class T, int32_t Out, int R, int C, bool Gelu>
void tile(const Linear& f, const u32* const* a, const u32* panel, const u32* ahead, i64 row,
          i64 count, i64 column, void* y, i64 y_step) {
    vf sum[R][C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) sum[r][c] = load(f.bias + column + c * LANES);
    add_products<T>(sum, a, panel, ahead, T::steps(f.inputs));
    const char* add = f.add ? at<T::kind>(f.add, row * f.add_step + column) : nullptr;
    char* to = at<Out>(y, column);
    i64 width = f.outputs - column;
    if (count < R || width < C * LANES) {
        vf some[R * C];
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) some[r * C + c] = sum[r][c];
        return finish_some<T, Out, Gelu>(f, some, std::min<i64>(count, R), C, width, add, to, y_step);
    }
    // Every index below is a constant, so that the sums stay in registers.
    auto finish = [&](auto adds) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) {
                vf x = Gelu ? gelu(sum[r][c]) : sum[r][c];
                if (adds) x += read<T::kind>(at<T::kind>(add, r * f.add_step + c * LANES), LANES);
                write<Out>(x, at<Out>(to, r * y_step + c * LANES), LANES);
            }
    };
    add ? finish(std::true_type{}) : finish(std::false_type{});
}

// Panels `first` to `last` of `count` rows whose left sides are a[0 ...], which goes on with any
// valid rows for as long as a tile is.
template <class T, int32_t Out, int C, bool Gelu>
void panels(const Linear& f, const u32* const* a, i64 row, i64 count, i64 first, i64 last, void* y,
            i64 y_step) {
    constexpr int R = rows_of(C);
    i64 words = T::steps(f.inputs) * C * LANES;
    for (i64 p = first; p < last; p++) {
        const u32* panel = (const u32*)f.weight + p * words;
        for (i64 r = 0; r < count; r += R) {
            const u32* ahead = ahead_of<C>(panel, words, r, R, p + 1 == last);
            void* to = at<Out>(y, r * y_step);
            i64 left = count - r, j = p * C * LANES;
            if (left > R / 2)
                tile<T, Out, R, C, Gelu>(f, a + r, panel, ahead, row + r, std::min<i64>(R, left), j, to, y_step);
            else
                tile<T, Out, R / 2, C, Gelu>(f, a + r, panel, ahead, row + r, left, j, to, y_step);
        }
    }
}

template <class T, int32_t Out>
void block(const Linear& f, const u32* const* a, i64 row, i64 count, i64 first, i64 last, void* y,
           i64 y_step) {
    auto go = [&](auto C, auto Gelu) {
        panels<T, Out, decltype(C)::value, decltype(Gelu)::value>(f, a, row, count, first, last, y, y_step);
    };
    Count<WIDE / LANES> wide;
    Count<NARROW / LANES> narrow;
    if (f.columns == WIDE) f.gelu ? go(wide, std::true_type{}) : go(wide, std::false_type{});
    else f.gelu ? go(narrow, std::true_type{}) : go(narrow, std::false_type{});
}

// Let a[0 ...] point to the left sides of `count` rows: where they lie, or prepared in `buffer`.
template <class T>
void left_sides(const Linear& f, i64 row, i64 count, u32* buffer, const u32** a) {
    bool ready = !f.norm_weight && T::kind == T::kept && f.inputs % T::per == 0;
    i64 words = words_of<T>(f.inputs);
    for (i64 i = 0; i < count; i++)
        a[i] = ready ? (const u32*)at<T::kind>(f.x, (row + i) * f.x_step) : buffer + i * words;
    for (i64 i = count; i < count + MORE; i++) a[i] = a[0];
    if (ready) return;
    if (f.inputs % T::per)
        for (i64 i = 0; i < count; i++) buffer[i * words + f.inputs / T::per] = 0;
    prepare_all<T, T::kept>(f, row, count, buffer, words * T::per);
}

i64 block_rows(i64 rows, i64 threads, i64 words_of_row) {
    i64 most = std::clamp<i64>(CACHE / (4 * words_of_row) / 24 * 24, 24, MOST_ROWS);
    i64 blocks = std::clamp<i64>(rows / FEW_ROWS, 1, threads);
    return std::min(most, std::max<i64>(1, (rows + blocks - 1) / blocks));
}

template <class T>
void linear(const Linear& f) {
    i64 words = words_of<T>(f.inputs), count = panels_of(f.outputs, f.columns);
    i64 rows = block_rows(f.rows, f.threads, words), blocks = (f.rows + rows - 1) / rows;
    i64 parts = std::clamp<i64>(f.threads / blocks, 1, count);  // few rows: share out panels too
#pragma omp parallel for num_threads(f.threads) schedule(dynamic) if (blocks * parts > 1)
    for (i64 i = 0; i < blocks * parts; i++) {
        i64 part = i % parts, row = i / parts * rows, n = std::min(rows, f.rows - row);
        const u32* a[MOST_ROWS + MORE];
        left_sides<T>(f, row, n, scratch.words(words * n), a);
        block<T, T::kind>(f, a, row, n, count * part / parts, count * (part + 1) / parts,
                          at<T::kind>(f.y, row * f.y_step), f.y_step);
    }
}

// One layer after the other, so that threads share out weights.
template <class T>
void layer_by_layer(Linear f, Linear g) {
    f.y = hidden_rows.words((f.rows * f.outputs * bytes_of(T::kind) + 3) / 4);
    linear<T>(f);
    g.x = f.y;
    linear<T>(g);
}

template <class T>
void perceptron(const Linear& f, const Linear& g) {
    // Not where hidden channels are kept in a wider type than the rows': they would be rounded.
    const bool few = f.rows < FEW_ROWS * f.threads && f.threads > 1;
    if (few && T::kept == T::kind) return layer_by_layer<T>(f, g);
    i64 words = words_of<T>(f.inputs), hidden = words_of<T>(f.outputs);
    i64 rows = block_rows(f.rows, f.threads, words + hidden), blocks = (f.rows + rows - 1) / rows;
#pragma omp parallel for num_threads(f.threads) schedule(dynamic) if (blocks > 1)
    for (i64 b = 0; b < blocks; b++) {
        i64 row = b * rows, n = std::min(rows, f.rows - row);
        u32* buffer = scratch.words((words + hidden) * n);
        u32* middle = buffer + words * n;
        const u32* a[MOST_ROWS + MORE];
        left_sides<T>(f, row, n, buffer, a);
        if (f.outputs % T::per)
            for (i64 i = 0; i < n; i++) middle[i * hidden + f.outputs / T::per] = 0;
        block<T, T::kept>(f, a, row, n, 0, panels_of(f.outputs, f.columns), middle, hidden * T::per);
        for (i64 i = 0; i < n + MORE; i++) a[i] = middle + (i < n ? i : 0) * hidden;
        block<T, T::kind>(g, a, row, n, 0, panels_of(g.outputs, g.columns), at<T::kind>(g.y, row * g.y_step), g.y_step);
    }
}

template <class T>
void norm(const Linear& f) {
    constexpr i64 few = 64;
#pragma omp parallel for num_threads(f.threads) if (f.rows > few)
    for (i64 row = 0; row < f.rows; row += few) {
        auto go = f.add ? prepare_all<T, T::kind, true> : prepare_all<T, T::kind, false>;
        go(f, row, std::min(few, f.rows - row), at<T::kind>(f.y, row * f.y_step), f.y_step);
    }
}

}  // namespace

// How weights are to be packed: numbers in a word, and outputs in a panel.
extern "C" i64 vitrail_packing(int32_t kind, i64 outputs, i64* columns) {
    *columns = round_up(outputs, NARROW) < round_up(outputs, WIDE) ? NARROW : WIDE;
    i64 per = 1;
    with_type(kind, [&](auto type) { per = decltype(type)::per; });
    return per;
}

extern "C" void vitrail_linear(const Linear* f) {
    with_type(f->kind, [&](auto type) { linear<decltype(type)>(*f); });
}

// `second` after `first`, whose y is not written.
extern "C" void vitrail_perceptron(const Linear* first, const Linear* second) {
    with_type(first->kind, [&](auto type) { perceptron<decltype(type)>(*first, *second); });
}

// The norm of a layer alone, and what is added to it.
extern "C" void vitrail_norm(const Linear* f) {
    with_type(f->kind, [&](auto type) { norm<decltype(type)>(*f); });
}
