// Linear layers and perceptrons of a training step, forward and backward.
//
// Rows pass in blocks that stay in the core's own cache: the norm before, the GELU between and the
// sum after are done there, and so are their derivatives. A backward pass over the rows also lays
// out what the gradients of the weights are products of, a part of the rows at a time.
#include "linear.h"

#include <omp.h>

using namespace vitrail;

// y = add + factor * second(gelu(first(norm(x)))), or without `second` and gelu.
struct FusedMlp {
    i64 rows, inputs, hidden, outputs;     // hidden: 0 for one layer alone
    i64 sample;                            // rows that share a factor
    i64 first_columns, second_columns;     // of a panel of packed weights
    i64 threads, block;                    // rows at once
    const void* x;
    const float *norm_weight, *norm_bias;  // null: no norm
    const u32 *first, *second;             // packed; in the backward pass transposed
    const float *first_bias, *second_bias; // padded to whole panels
    const void* add;
    const float* factor;                   // of each sample, or null
    void* middle;                          // hidden values before the GELU
    void* y;                               // in the backward pass the gradient of y
    // What the backward pass writes, each null if it is not needed.
    void* d_x;
    float* sums;  // of each block: gradients of second's bias, first's, norm's weight and bias
    float *d_first, *d_second;
    float eps;
    int32_t kind, wants_norm;  // gradients of the norm's weight and bias
};

// A weight, to be packed in panels of `columns` outputs; or transposed, of `columns` inputs.
struct Packing {
    i64 outputs, inputs, columns, threads;
    const void* weight;
    u32* panels;
    int32_t weight_kind, kind, transposed;
};

namespace {

// Sides of weights' gradients: columns of a panel, and the rows and vectors of a tile.
constexpr int SIDE_ROWS = LANES == 16 ? 8 : ROWS < 4 ? ROWS : 4, SIDE_COLS = LANES == 16 ? 3 : COLS;
constexpr i64 SIDE = SIDE_COLS * LANES;
constexpr i64 DEEP = 256;                 // steps of a product that is added up piece by piece

thread_local Scratch scratch, sides;

// Numbers of one type to the form in which they are multiplied; `factor` times each.
template <class T>
void convert(const void* from, int32_t kind, i64 n, float factor, u32* to) {
    if (n % T::per) to[n / T::per] = 0;
    auto go = [&](auto k) {
        constexpr int32_t K = decltype(k)::value;
        for (i64 i = 0; i < n; i += LANES)
            write<T::kept>(read<K>(at<K>(from, i), n - i) * factor, at<T::kept>(to, i), n - i);
    };
    if (kind == FLOAT32) go(Count<FLOAT32>{});
    else if (kind == BFLOAT16) go(Count<BFLOAT16>{});
    else go(Count<FLOAT16>{});
}

// The moments of a block's rows, for their norm; none without one.
template <class T>
void all_moments(const FusedMlp& f, i64 row, i64 count, Moments* found) {
    if (!f.norm_weight) return;
    few_rows(count, [&](i64 i, auto rows) {
        moments<decltype(rows)::value>(f.inputs, f.eps, [&](i64 r, i64 j, i64 n) {
            return read<T::kind>(at<T::kind>(f.x, (row + i + r) * f.inputs + j), n);
        }, found + i);
    });
}

// A normalised row, as a product's left side.
template <class T>
void normalise(const FusedMlp& f, const void* x, Moments m, u32* to) {
    i64 n = f.inputs;
    if (n % T::per) to[n / T::per] = 0;
    for (i64 i = 0; i < n; i += LANES) {
        vf unit = (read<T::kind>(at<T::kind>(x, i), n - i) - m.mean) * m.scale;
        vf y = unit * read<FLOAT32>(f.norm_weight + i, n - i) + read<FLOAT32>(f.norm_bias + i, n - i);
        write<T::kept>(y, at<T::kept>(to, i), n - i);
    }
}

// f(row, vector, x) for the sums of `count` rows and of `vectors` vectors.
template <int R, int C, class F>
__attribute__((always_inline)) inline void each_sum(const vf (&sum)[R][C], i64 count, i64 vectors, F&& f) {
    if (count >= R && vectors >= C) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) f(r, c, sum[r][c]);
        return;
    }
    // A copy, since sums that are indexed by a variable would not stay in registers.
    vf some[R * C];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) some[r * C + c] = sum[r][c];
    for (i64 r = 0; r < R && r < count; r++)
        for (i64 c = 0; c < C && c < vectors; c++) f(r, c, some[r * C + c]);
}

// Products of `count` rows a[0 ...], which goes on with any valid rows for as long as a tile is, and
// a packed panel, the last of its weight or not: finish(row, vector, x).
template <class T, int C, class Finish>
void multiply(const u32* const* a, i64 count, const u32* panel, bool last, i64 steps, i64 vectors,
              Finish&& finish) {
    constexpr int R = rows_of(C);
    for (i64 first = 0; first < count; first += R) {
        vf sum[R][C] = {};
        add_products<T>(sum, a + first, panel, ahead_of<C>(panel, steps * C * LANES, first, R, last), steps);
        each_sum(sum, count - first, vectors, [&](i64 r, i64 c, vf x) { finish(first + r, c, x); });
    }
}

// Every panel of a packed weight: finish(row, column, numbers from there on, x); after(column,
// columns) when a panel is done.
template <class T, class Finish, class After>
void layer(const u32* const* a, i64 count, const u32* weight, i64 inputs, i64 outputs, i64 columns,
           Finish&& finish, After&& after) {
    i64 steps = T::steps(inputs);
    auto go = [&](auto C) {
        constexpr int cols = decltype(C)::value;
        for (i64 j = 0; j < outputs; j += columns, weight += steps * columns) {
            i64 left = outputs - j, vectors = (left + LANES - 1) / LANES;
            bool last = left <= columns;
            if (left >= columns)
                multiply<T, cols>(a, count, weight, last, steps, cols,
                                  [&](i64 r, i64 c, vf x) { finish(r, j + c * LANES, (i64)LANES, x); });
            else
                multiply<T, cols>(a, count, weight, last, steps, vectors, [&](i64 r, i64 c, vf x) {
                    finish(r, j + c * LANES, left - c * LANES, x);
                });
            after(j, std::min(columns, left));
        }
    };
    if (columns == WIDE) go(Count<WIDE / LANES>{});
    else go(Count<NARROW / LANES>{});
    static_assert(SIDE == WIDE || SIDE == NARROW);
}

constexpr auto nothing = [](i64, i64) {};

// Let a[0 ...] point to `count` rows as left sides: where they lie, or made in `buffer`.
template <class T, class Make>
void left_sides(const void* x, i64 numbers, i64 row, i64 count, bool ready, u32* buffer, const u32** a,
                Make&& make) {
    for (i64 i = 0; i < count; i++) {
        const void* from = at<T::kind>(x, (row + i) * numbers);
        u32* to = buffer + i * words_of<T>(numbers);
        if (!ready) make(i, from, to);
        a[i] = ready ? (const u32*)from : to;
    }
    for (i64 i = count; i < count + MORE; i++) a[i] = a[0];
}

template <class T>
void forward(const FusedMlp& f) {
    i64 words = words_of<T>(f.inputs), hidden = f.hidden ? words_of<T>(f.hidden) : 0;
    i64 blocks = (f.rows + f.block - 1) / f.block;
    bool ready = !f.norm_weight && T::kind == T::kept && f.inputs % T::per == 0;
#pragma omp parallel for num_threads(f.threads) schedule(dynamic) if (blocks > 1)
    for (i64 b = 0; b < blocks; b++) {
        i64 row = b * f.block, n = std::min(f.block, f.rows - row);
        u32* buffer = scratch.words((words + hidden) * n);
        u32* after = buffer + words * n;
        const u32* a[MOST_ROWS + MORE];
        Moments m[MOST_ROWS];
        all_moments<T>(f, row, n, m);
        left_sides<T>(f.x, f.inputs, row, n, ready, buffer, a, [&](i64 i, const void* from, u32* to) {
            if (f.norm_weight) normalise<T>(f, from, m[i], to);
            else convert<T>(from, T::kind, f.inputs, 1, to);
        });
        auto write_out = [&](i64 r, i64 j, i64 left, vf x, const float* bias) {
            i64 place = (row + r) * f.outputs + j;
            x += load(bias + j);
            if (f.factor) x *= f.factor[(row + r) / f.sample];
            if (f.add) x += read<T::kind>(at<T::kind>(f.add, place), left);
            write<T::kind>(x, at<T::kind>(f.y, place), left);
        };
        if (!f.hidden) {
            layer<T>(a, n, f.first, f.inputs, f.outputs, f.first_columns,
                     [&](i64 r, i64 j, i64 left, vf x) { write_out(r, j, left, x, f.first_bias); }, nothing);
            continue;
        }
        if (f.hidden % T::per)
            for (i64 i = 0; i < n; i++) after[i * hidden + f.hidden / T::per] = 0;
        layer<T>(a, n, f.first, f.inputs, f.hidden, f.first_columns, [&](i64 r, i64 j, i64 left, vf x) {
            char* kept = at<T::kind>(f.middle, (row + r) * f.hidden + j);
            __builtin_prefetch(kept + f.first_columns * bytes_of(T::kind), 1, 2);  // of the next panel
            write<T::kind>(x + load(f.first_bias + j), kept, left);
            x = read<T::kind>(kept, left);  // as the backward pass will see it
            write<T::kept>(gelu(x), at<T::kept>(after + r * hidden, j), left);
        }, nothing);
        for (i64 i = 0; i < n + MORE; i++) a[i] = after + (i < n ? i : 0) * hidden;
        layer<T>(a, n, f.second, f.hidden, f.outputs, f.second_columns,
                 [&](i64 r, i64 j, i64 left, vf x) { write_out(r, j, left, x, f.second_bias); }, nothing);
    }
}

// The rows of a part of a batch, packed side by side to be summed over: panels of SIDE columns.
struct Side {
    u32* words = nullptr;  // null: not needed
    i64 steps = 0;
    i64 size(i64 numbers) const { return round_up(numbers, SIDE) * steps; }
};

// `n` rows, of which these are numbers `first` to `first + width`, as rows `row` on of a side.
template <class T>
void lay_out(const u32* const* rows, i64 n, i64 first, i64 width, i64 row, const Side& to) {
    if (!to.words) return;
    const void* from[MOST_ROWS];
    for (i64 j = 0; j < width; j += SIDE) {
        for (i64 i = 0; i < n; i++) from[i] = at<T::kept>(rows[i], j);
        u32* panel = to.words + to.size(first + j) + row / T::per * SIDE;
        T::along_rows(from, n, std::min(SIDE, width - j), panel, SIDE);
    }
}

// A weight's gradient: the sum over rows of left[row][output] right[row][input].
struct Gradient {
    i64 outputs, inputs;
    Side left, right;
    float* sum;
};

// The sum of rows in the form in which they are multiplied.
template <class T>
void add_up(const u32* const* rows, i64 n, i64 first, i64 width, float* to) {
    for (i64 j = 0; j < width; j += LANES) {
        vf sum{};
        for (i64 i = 0; i < n; i++) sum += read<T::kept>(at<T::kept>(rows[i], j), width - j);
        write<FLOAT32>(sum, to + first + j, width - j);
    }
}

// The gradient of a row before its norm; adds to those of the norm's weight and bias.
template <class T>
void before_norm(const FusedMlp& f, const void* x, Moments m, const float* gradient, float* d_weight,
                 float* d_bias, void* to) {
    i64 n = f.inputs;
    auto unit = [&](i64 i) { return (read<T::kind>(at<T::kind>(x, i), n - i) - m.mean) * m.scale; };
    vf plain{}, along{};
    for (i64 i = 0; i < n; i += LANES) {
        vf g = read<FLOAT32>(gradient + i, n - i), u = unit(i);
        write<FLOAT32>(read<FLOAT32>(d_weight + i, n - i) + g * u, d_weight + i, n - i);
        write<FLOAT32>(read<FLOAT32>(d_bias + i, n - i) + g, d_bias + i, n - i);
        g *= read<FLOAT32>(f.norm_weight + i, n - i);
        plain += g;
        along += g * u;
    }
    if (!to) return;
    float mean = total(plain) / n, slope = total(along) / n;
    for (i64 i = 0; i < n; i += LANES) {
        vf g = read<FLOAT32>(gradient + i, n - i) * read<FLOAT32>(f.norm_weight + i, n - i);
        write<T::kind>((g - mean - unit(i) * slope) * m.scale, at<T::kind>(to, i), n - i);
    }
}

template <class T>
struct Backward {
    const FusedMlp& f;
    Gradient first, second;
    i64 in = words_of<T>(f.inputs), out = words_of<T>(f.outputs), mid = f.hidden ? words_of<T>(f.hidden) : 0;
    i64 panel = f.hidden ? SIDE + 16 : 0;
    i64 wide = round_up(f.inputs, LANES) + 16;        // of a row of floats
    i64 width = f.outputs + f.hidden + 2 * f.inputs;  // of a block's sums

    explicit Backward(const FusedMlp& branch) : f(branch) {}

    // All rows, a part of them at a time, so that the sides of the weights' gradients stay small.
    void run() {
        // Equally many blocks for every thread, and as many as make a product worth its sums.
        i64 each = (DEEP * T::per + f.block * f.threads - 1) / (f.block * f.threads);
        i64 part = std::min(f.block * f.threads * each, f.rows);
        i64 own = f.hidden ? f.hidden : f.outputs, steps = T::steps(part), total = 0;
        auto gradient = [&](i64 outputs, i64 inputs, float* sum) {
            Gradient made{outputs, inputs, {nullptr, steps}, {nullptr, steps}, sum};
            if (sum) total += made.left.size(outputs) + made.right.size(inputs);
            return made;
        };
        first = gradient(own, f.inputs, f.d_first);
        second = gradient(f.outputs, f.hidden, f.d_second);
        u32* words = sides.words(total);
        for (Gradient* g : {&first, &second}) {
            if (!g->sum) continue;
            g->left.words = words;
            g->right.words = words += g->left.size(g->outputs);
            words += g->right.size(g->inputs);
        }
        for (i64 row = 0; row < f.rows; row += part) {
            i64 end = std::min(row + part, f.rows);
#pragma omp parallel for num_threads(f.threads) schedule(dynamic) if (f.threads > 1)
            for (i64 from = row; from < end; from += f.block) block(from, std::min(f.block, end - from), row);
            for (const Gradient* g : {&first, &second})
                if (g->sum) add_rows(*g, T::steps(end - row), row == 0);
        }
    }

    // Rows `row` to `row + n`, of the part from `start` on.
    void block(i64 row, i64 n, i64 start) {
        u32* from = scratch.words(n * (out + mid + panel + in + wide) + 64);
        u32 *slopes = from + n * out, *values = slopes + n * mid, *side = values + n * panel;
        float* line = (float*)(side + n * in);
        float *sums = f.sums + row / f.block * width, *own = sums + f.outputs;
        const u32* a[MOST_ROWS + MORE];
        bool ready = !f.factor && T::kind == T::kept && f.outputs % T::per == 0;
        left_sides<T>(f.y, f.outputs, row, n, ready, from, a, [&](i64 i, const void* y, u32* to) {
            convert<T>(y, T::kind, f.outputs, f.factor ? f.factor[(row + i) / f.sample] : 1, to);
        });
        lay_out<T>(a, n, 0, f.outputs, row - start, f.hidden ? second.left : first.left);
        add_up<T>(a, n, 0, f.outputs, sums);
        if (f.hidden) {
            before_gelu(a, row, n, start, slopes, values, own);
            own += f.hidden;
            for (i64 i = 0; i < n + MORE; i++) a[i] = slopes + (i < n ? i : 0) * mid;
        }
        Moments m[MOST_ROWS];
        all_moments<T>(f, row, n, m);
        before_first(a, row, n, m, line, own);
        if (!first.sum) return;
        bool plain = !f.norm_weight && T::kind == T::kept && f.inputs % T::per == 0;
        left_sides<T>(f.x, f.inputs, row, n, plain, side, a, [&](i64 i, const void* x, u32* to) {
            if (f.norm_weight) normalise<T>(f, x, m[i], to);
            else convert<T>(x, T::kind, f.inputs, 1, to);
        });
        lay_out<T>(a, n, 0, f.inputs, row - start, first.right);
    }

    // Gradients before the GELU, to `slopes`; and its values, a panel of them at a time.
    void before_gelu(const u32* const* a, i64 row, i64 n, i64 start, u32* slopes, u32* values, float* sums) {
        const u32 *slope[MOST_ROWS], *value[MOST_ROWS];
        if (f.hidden % T::per)
            for (i64 i = 0; i < n; i++) slopes[i * mid + f.hidden / T::per] = 0;
        for (i64 i = 0; i < n; i++) value[i] = values + i * panel;
        i64 column = 0;
        for (i64 i = 0; i < n; i++)
            for (i64 j = 0; j < SIDE; j += LANES)
                __builtin_prefetch(at<T::kind>(f.middle, (row + i) * f.hidden + j), 0, 2);
        layer<T>(a, n, f.second, f.outputs, f.hidden, f.second_columns,
            [&](i64 r, i64 j, i64 left, vf g) {
                const char* kept = at<T::kind>(f.middle, (row + r) * f.hidden + j);
                __builtin_prefetch(kept + SIDE * bytes_of(T::kind), 0, 2);  // of the next panel
                vf x = read<T::kind>(kept, left);
                Gelu there = gelu_of<T>(x);
                write<T::kept>(g * there.slope, at<T::kept>(slopes + r * mid, j), left);
                write<T::kept>(there.value, at<T::kept>(values + r * panel, j - column), left);
            },
            [&](i64 j, i64 columns) {
                for (i64 i = 0; i < n; i++) slope[i] = (const u32*)at<T::kept>(slopes + i * mid, j);
                lay_out<T>(value, n, j, columns, row - start, second.right);
                lay_out<T>(slope, n, j, columns, row - start, first.left);
                add_up<T>(slope, n, j, columns, sums);
                column = j + columns;
            });
    }

    // The gradient of x.
    void before_first(const u32* const* a, i64 row, i64 n, const Moments* m, float* line, float* sums) {
        i64 from = f.hidden ? f.hidden : f.outputs;
        if (!f.d_x && !f.wants_norm) return;
        if (!f.norm_weight) {
            layer<T>(a, n, f.first, from, f.inputs, f.first_columns, [&](i64 r, i64 j, i64 left, vf g) {
                write<T::kind>(g, at<T::kind>(f.d_x, (row + r) * f.inputs + j), left);
            }, nothing);
            return;
        }
        layer<T>(a, n, f.first, from, f.inputs, f.first_columns,
                 [&](i64 r, i64 j, i64 left, vf g) { write<FLOAT32>(g, line + r * wide + j, left); }, nothing);
        memset(sums, 0, 2 * f.inputs * sizeof(float));
        for (i64 i = 0; i < n; i++) {
            const void* x = at<T::kind>(f.x, (row + i) * f.inputs);
            void* to = f.d_x ? at<T::kind>(f.d_x, (row + i) * f.inputs) : nullptr;
            before_norm<T>(f, x, m[i], line + i * wide, sums, sums + f.inputs, to);
        }
    }

    // Add the product of both sides to a weight's gradient, or start it.
    void add_rows(const Gradient& g, i64 steps, bool fresh) {
        i64 lefts = panels_of(g.outputs, SIDE), rights = panels_of(g.inputs, SIDE);
        i64 down = std::min(f.threads, lefts), across = std::clamp<i64>(f.threads / down, 1, rights);
#pragma omp parallel for num_threads(f.threads) schedule(static) if (down * across > 1)
        for (i64 i = 0; i < down * across; i++) {
            i64 y = i / across, x = i % across;
            for (i64 start = 0; start < steps; start += DEEP)
                for (i64 p = rights * x / across; p < rights * (x + 1) / across; p++)
                    for (i64 q = lefts * y / down; q < lefts * (y + 1) / down; q++)
                        corner(g, start, std::min(DEEP, steps - start), fresh && !start, q, p);
        }
    }

    // Steps `start` on of a left and a right panel.
    void corner(const Gradient& g, i64 start, i64 steps, bool fresh, i64 q, i64 p) {
        constexpr int R = SIDE_ROWS, C = SIDE_COLS;
        const u32* right = g.right.words + g.right.size(p * SIDE) + start * SIDE;
        i64 width = g.inputs - p * SIDE, height = std::min(SIDE, g.outputs - q * SIDE);
        for (i64 o = 0; o < height; o += R) {
            const u32 *left = g.left.words + g.left.size(q * SIDE) + start * SIDE + o, *a[R];
            for (int r = 0; r < R; r++) a[r] = left + r;
            vf sum[R][C];
            product<T, R, C>(sum, a, SIDE, right, SIDE, steps);
            float* y = g.sum + (q * SIDE + o) * g.inputs + p * SIDE;
            auto put = [&](i64 r, i64 c, i64 n, vf x) {
                float* place = y + r * g.inputs + c * LANES;
                write<FLOAT32>(fresh ? x : x + read<FLOAT32>(place, n), place, n);
            };
            if (width >= SIDE)
                each_sum(sum, height - o, C, [&](i64 r, i64 c, vf x) { put(r, c, LANES, x); });
            else
                each_sum(sum, height - o, (width + LANES - 1) / LANES,
                         [&](i64 r, i64 c, vf x) { put(r, c, width - c * LANES, x); });
        }
    }
};

template <class T>
void pack(const Packing& f) {
    i64 outputs = f.transposed ? f.inputs : f.outputs, inputs = f.transposed ? f.outputs : f.inputs;
    i64 panels = panels_of(outputs, f.columns), steps = T::steps(inputs);
#pragma omp parallel for num_threads(f.threads) schedule(static) if (f.threads > 1)
    for (i64 p = 0; p < panels; p++) {
        i64 column = p * f.columns, width = std::min(f.columns, outputs - column);
        u32* to = f.panels + p * steps * f.columns;
        i64 words = words_of<T>(f.transposed ? width : inputs), n = f.transposed ? inputs : width;
        u32* rows = scratch.words(words * n + 2 * n);
        const void** from = (const void**)(rows + round_up(words * n, 2));
        for (i64 i = 0; i < n; i++) {
            i64 place = f.transposed ? i * f.inputs + column : (column + i) * f.inputs;
            const char* source = (const char*)f.weight + place * bytes_of(f.weight_kind);
            convert<T>(source, f.weight_kind, f.transposed ? width : inputs, 1, rows + i * words);
            from[i] = rows + i * words;
        }
        if (f.transposed) T::along_rows(from, n, width, to, f.columns);
        else transpose_words(from, n, steps, to, f.columns);
    }
}

}  // namespace

// How weights are to be packed: numbers in a word, and outputs in a panel; that of a perceptron's
// second layer, transposed, has panels as wide as those of a side.
extern "C" i64 vitrail_training_packing(int32_t kind, i64 outputs, int32_t side, i64* columns) {
    *columns = round_up(outputs, NARROW) <= round_up(outputs, WIDE) && COLS == 4 ? NARROW : WIDE;
    if (side) *columns = SIDE;
    i64 per = 1;
    with_type(kind, [&](auto type) { per = decltype(type)::per; });
    return per;
}

extern "C" void vitrail_training_pack(const Packing* f) {
    with_type(f->kind, [&](auto type) { pack<decltype(type)>(*f); });
}

extern "C" void vitrail_fused_mlp(const FusedMlp* f) {
    with_type(f->kind, [&](auto type) { forward<decltype(type)>(*f); });
}

extern "C" void vitrail_fused_mlp_backward(const FusedMlp* f) {
    with_type(f->kind, [&](auto type) { Backward<decltype(type)>(*f).run(); });
}
