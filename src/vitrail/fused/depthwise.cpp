// The GELU of a convolution of each channel on its own.
#include "numbers.h"

#include <omp.h>

using namespace vitrail;

// Over three tokens along every axis that is not of one.
struct Depthwise {
    i64 batch, length[3], channels, threads;
    const void* x;
    const float *weight, *bias;  // weight: 27 taps of all channels
    void* y;
    int32_t kind, relu;  // relu: of x, before
};

namespace {

// One line of tokens: channels go by vectors, whose weights stay in registers along the line. The
// line's neighbours, and the places where taps go beyond the grid, are known from `near`.
template <class T>
void line(const Depthwise& f, const void* const (&near)[9], void* y) {
    i64 width = f.length[2], channels = f.channels;
    for (i64 j = 0; j < channels; j += LANES) {
        i64 n = channels - j;
        vf sum_of_none = read<FLOAT32>(f.bias + j, n);
        for (i64 w = 0; w < width; w++) {
            vf sum = sum_of_none;
            for (int k = 0; k < 9; k++) {
                if (!near[k]) continue;
#pragma GCC unroll 3
                for (int t = 0; t < 3; t++) {
                    i64 place = w + t - 1;
                    if (place < 0 || place >= width) continue;
                    vf x = read<T::kind>(at<T::kind>(near[k], place * channels + j), n);
                    if (f.relu) x = greater(x, vf{});
                    sum += x * read<FLOAT32>(f.weight + (k * 3 + t) * channels + j, n);
                }
            }
            write<T::kind>(gelu(sum), at<T::kind>(y, w * channels + j), n);
        }
    }
}

template <class T>
void depthwise(const Depthwise& f) {
    i64 depth = f.length[0], height = f.length[1], step = f.length[2] * f.channels;
#pragma omp parallel for num_threads(f.threads) schedule(dynamic) if (f.batch * depth * height > 1)
    for (i64 i = 0; i < f.batch * depth * height; i++) {
        i64 d = i / height % depth, h = i % height;
        const void* near[9];
        for (int k = 0; k < 9; k++) {
            i64 z = k / 3 - 1, v = k % 3 - 1;
            bool there = d + z >= 0 && d + z < depth && h + v >= 0 && h + v < height;
            near[k] = there ? at<T::kind>(f.x, (i + z * height + v) * step) : nullptr;
        }
        line<T>(f, near, at<T::kind>(f.y, i * step));
    }
}

}  // namespace

extern "C" void vitrail_depthwise(const Depthwise* f) {
    with_type(f->kind, [&](auto type) { depthwise<decltype(type)>(*f); });
}
