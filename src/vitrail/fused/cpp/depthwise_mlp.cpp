// A perceptron with a depthwise convolution: a linear layer, a convolution of each channel on its own, GELU,
// a linear layer. It goes from line to line of the tokens, a few at a time, so that hidden channels
// stay in the cache: a ring holds the lines that are still read.
#include "depthwise.h"
#include "linear.h"

#include <omp.h>

using namespace vitrail;

// Over three tokens along every axis that is not of one.
struct Depthwise {
    i64 batch, length[3], threads, padded;
    const float *weight, *bias;  // 27 taps of all channels; zeros pad these to whole vectors
    int32_t relu;                // before
};

namespace {

constexpr i64 CACHE = 384 << 10;  // bytes of hidden channels, a good third of a core's own cache
constexpr i64 OWN = 16;         // lines of a thread for each that it projects beside its own
constexpr i64 FEWEST = 84;      // rows for a thread, which make good use of weights beyond that cache
thread_local Scratch scratch;

// The convolution and GELU of a line: vectors `first` to `last` of its channels.
template <class T>
void line(const Depthwise& f, const Near& near, i64 first, i64 last, i64 step, void* y) {
    with_near(near, f.relu, [&](auto lines, auto relu) {
        for (i64 j = first * LANES; j < last * LANES; j += LANES) {
            auto put = [&](i64 w, vf sum) { write<T::kind>(gelu(sum), at<T::kind>(y, w * step + j), LANES); };
            along_line<T, lines, relu>(near, f.padded, f.length[2], step, j, Count<LANES>{}, load(f.bias + j), put);
        }
    });
}

// Lines `from` to `to` of all, with f.threads threads that share a ring.
template <class T>
void some_lines(const Depthwise& f, Linear first, Linear second, i64 from, i64 to,
                void (*linear)(const Linear*)) {
    const i64 depth = f.length[0], height = f.length[1], width = f.length[2];
    const i64 image = depth * height, reach = (depth > 1) * height + (height > 1);
    const i64 channels = first.outputs, vectors = (channels + LANES - 1) / LANES;
    const i64 step = round_up(channels, 32) + 32;  // no power of two, as rows of it would meet
    const i64 numbers = width * step, fit = f.threads * CACHE / (numbers * bytes_of(T::kind));
    const i64 fewest = (f.threads * FEWEST + width - 1) / width;
    const i64 few = std::min(to - from, std::max(fewest, (fit - 2 * reach) / 2));
    const i64 slots = round_up(few + 2 * reach, few);
    char* ring = (char*)scratch.words((slots + few) * numbers * bytes_of(T::kind) / 4);
    char* mixed = at<T::kind>(ring, slots * numbers);
    auto slot = [&](i64 i) { return at<T::kind>(ring, i % slots * numbers); };
    auto convolve = [&](i64 i, i64 start, i64 end, void* y) {
        line<T>(f, Near(i, depth, height, f.weight, f.padded, slot), start, end, step, y);
    };
    auto on = [&](const void* x, i64 lines, i64 row) { return at<T::kind>(x, lines * width * row); };
    // Hidden lines that are read; those next to an image belong to another one.
    i64 known = std::max(from / image * image, from - reach);
    const i64 last = std::min((to + image - 1) / image * image, to + reach);
    first.threads = second.threads = f.threads;
    first.x = on(first.x, known, first.x_step);
    second.add = on(second.add, from, second.add_step);
    second.y = on(second.y, from, second.y_step);
    first.y_step = second.x_step = step;
    second.x = mixed;
    for (i64 done = from; done < to;) {
        if (known < last) {
            // A run of slots does not go beyond the ring's end.
            i64 n = std::min({few, last - known, slots - known % slots});
            first.rows = n * width;
            first.y = slot(known);
            linear(&first);
            first.x = on(first.x, n, first.x_step);
            known += n;
        }
        i64 n = std::min(few, std::min(known < last ? known - reach : to, to) - done);
        if (n <= 0) continue;
        i64 parts = std::clamp<i64>(f.threads / n, 1, vectors);  // few lines: share out channels too
#pragma omp parallel for num_threads(f.threads) schedule(dynamic) if (f.threads > 1)
        for (i64 i = 0; i < n * parts; i++) {
            i64 part = i % parts, l = i / parts;
            convolve(done + l, vectors * part / parts, vectors * (part + 1) / parts,
                 at<T::kind>(mixed, l * numbers));
        }
        second.rows = n * width;
        linear(&second);
        second.add = on(second.add, n, second.add_step);
        second.y = on(second.y, n, second.y_step);
        done += n;
    }
}

// Threads take lines of their own, so that hidden channels stay in each one's cache; the lines
// between two threads are projected by both. Where that were many, all threads share all lines.
template <class T>
void perceptron(Depthwise f, const Linear& first, const Linear& second,
                void (*linear)(const Linear*)) {
    const i64 image = f.length[0] * f.length[1], lines = f.batch * image;
    const i64 reach = (f.length[0] > 1) * f.length[1] + (f.length[1] > 1);
    const bool apart = f.batch % f.threads == 0 || lines >= f.threads * OWN * std::max<i64>(1, reach);
    const i64 parts = apart ? f.threads : 1;
    // Not within a region of one thread: regions inside would start their threads anew each time.
    if (parts == 1) return some_lines<T>(f, first, second, 0, lines, linear);
    f.threads = 1;
#pragma omp parallel for num_threads(parts) schedule(static)
    for (i64 i = 0; i < parts; i++)
        some_lines<T>(f, first, second, lines * i / parts, lines * (i + 1) / parts, linear);
}

}  // namespace

// `linear` computes such a layer.
extern "C" void vitrail_depthwise(const Depthwise* f, const Linear* first, const Linear* second,
                                  void (*linear)(const Linear*)) {
    with_type(first->kind, [&](auto type) { perceptron<decltype(type)>(*f, *first, *second, linear); });
}
