// A convolution of each channel on its own over three tokens along every axis, line by line: a line
// is the tokens along the last axis, and reads up to nine, itself among them.
#pragma once

#include "numbers.h"

namespace vitrail {

// The lines that a line of tokens reads, itself among them.
struct Near {
    i64 count = 0;
    const void* x[9];
    const float* weight[9];  // three taps of all channels, `padded` numbers each
    i64 place[9];            // which three of the 27

    // Of line `i` of lines that go on in maps of `depth` times `height`; x_of(line) is where one lies.
    template <class Of>
    Near(i64 i, i64 depth, i64 height, const float* taps, i64 padded, Of&& x_of) {
        for (i64 k = 0; k < 9; k++) {
            i64 z = k / 3 - 1, v = k % 3 - 1, d = i / height % depth + z, h = i % height + v;
            if (d < 0 || d >= depth || h < 0 || h >= height) continue;
            x[count] = x_of(i + z * height + v);
            place[count] = k;
            weight[count++] = taps + k * 3 * padded;
        }
    }
};

// put(token, sum) for every token of a line: `n` channels from `j` on, whose rows begin `step`
// numbers apart. A number is read once. It belongs to three sums, of its token and of both beside
// it, which wait in registers.
template <class T, int Lines, bool Relu, class N, class Put>
__attribute__((always_inline)) inline void along_line(const Near& near, i64 padded, i64 width, i64 step,
                                                      i64 j, N n, vf bias, Put&& put) {
    vf weight[Lines][3], before = bias, here = bias;
#pragma GCC unroll 9
    for (int k = 0; k < Lines; k++)
#pragma GCC unroll 3
        for (int t = 0; t < 3; t++) weight[k][t] = load(near.weight[k] + t * padded + j);
    for (i64 w = 0; w < width; w++) {
        vf after = bias;
#pragma GCC unroll 9
        for (int k = 0; k < Lines; k++) {
            vf x = read<T::kind>(at<T::kind>(near.x[k], w * step + j), n);
            if (Relu) x = greater(vf{}, x);  // in this order, what is no number stays so
            before += x * weight[k][2];
            here += x * weight[k][1];
            after += x * weight[k][0];
        }
        if (w) put(w - 1, before);
        before = here;
        here = after;
    }
    put(width - 1, before);
}

// f(Lines, Relu) with both as constants.
template <class F>
inline void with_near(const Near& near, bool relu, F&& f) {
    with_count<9>(near.count, [&](auto lines) {
        if (relu) f(lines, std::true_type{});
        else f(lines, std::false_type{});
    });
}

}  // namespace vitrail
