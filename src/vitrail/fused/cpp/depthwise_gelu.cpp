// A depthwise convolution and the GELU after it, between the linear layers of a perceptron in a
// training step, forward and backward.
//
// Channels know nothing of one another. The backward pass takes a member of the batch and some
// channels at a time, if it can as many as fit into the core's own cache: the gradients before the
// GELU, which several lines read, are not written anywhere else.
#include "depthwise.h"
#include "linear.h"

#include <omp.h>

using namespace vitrail;

struct DepthwiseGelu {
    i64 batch, length[3], channels, padded, threads;  // padded: of taps, to whole vectors
    const void* x;
    const float *taps, *bias;  // (27, padded), (padded)
    void* y;
    // In the backward pass: the gradient of the result, and what is computed from it.
    const float* turned;  // the taps from the last to the first
    const void* d_y;
    void* d_x;    // null: not needed
    float* sums;  // (batch, 28, padded): gradients of taps and bias by each member; or null
    int32_t kind, relu;
};

namespace {

constexpr i64 CACHE = 384 << 10;  // bytes of gradients before the GELU, a good third of a core's own cache
constexpr i64 FEWEST = 32;        // channels at once: whole lines of the cache, in every type

thread_local Scratch scratch;

// f(first channel of a vector, how many).
template <class F>
void each_channel(i64 first, i64 last, F&& f) {
    each_vector(last - first, [&](i64 j, auto n) { f(first + j, n); });
}

// Channels to take at once, at most `fit` of them, so that `others` times as many parts are enough
// for all threads.
i64 channels_at_once(const DepthwiseGelu& f, i64 fit, i64 others) {
    const i64 parts = std::max(ceil_div(f.channels, std::max(fit, FEWEST)), ceil_div(f.threads, others));
    return round_up(ceil_div(f.channels, parts), FEWEST);
}

template <class T>
void forward(const DepthwiseGelu& f) {
    const i64 depth = f.length[0], height = f.length[1], width = f.length[2], c = f.channels;
    const i64 lines = f.batch * depth * height;
    const i64 own = channels_at_once(f, c, lines), parts = ceil_div(c, own);
    auto line = [&](const void* x, i64 i) { return at<T::kind>(x, i * width * c); };
#pragma omp parallel for num_threads(f.threads) schedule(static) if (f.threads > 1)
    for (i64 part = 0; part < lines * parts; part++) {
        const i64 i = part / parts, first = part % parts * own, last = std::min(first + own, c);
        const Near near(i, depth, height, f.taps, f.padded, [&](i64 l) { return line(f.x, l); });
        char* y = line(f.y, i);
        with_near(near, f.relu, [&](auto count, auto relu) {
            each_channel(first, last, [&](i64 j, auto n) {
                auto put = [&](i64 w, vf sum) { write<T::kind>(gelu(sum), at<T::kind>(y, w * c + j), n); };
                along_line<T, count, relu>(near, f.padded, width, c, j, n, load(f.bias + j), put);
            });
        });
    }
}

// Channels `first` to `last` of a member of the batch.
template <class T>
struct Part {
    const DepthwiseGelu& f;
    const i64 member, first, last;
    char* slopes;  // gradients before the GELU
    const i64 height = f.length[1], width = f.length[2], lines = f.length[0] * height, c = f.channels;
    const i64 own = last - first;  // channels of a row of `slopes`

    char* line(const void* x, i64 i) const { return at<T::kind>(x, (member * lines + i) * width * c); }
    char* slopes_of(i64 i) const { return at<T::kind>(slopes, i * width * own) - first * bytes_of(T::kind); }
    float* sum(i64 tap) const { return f.sums + (member * 28 + tap) * f.padded; }
    template <class Of>
    Near near(i64 i, const float* taps, Of&& of) const {
        return Near(i, f.length[0], height, taps, f.padded, of);
    }

    void run() {
        for (i64 tap = 0; f.sums && tap < 28; tap++) memset(sum(tap) + first, 0, own * sizeof(float));
        for (i64 i = 0; i < lines; i++) {
            const Near around = near(i, f.taps, [&](i64 l) { return line(f.x, l); });
            with_near(around, f.relu, [&](auto count, auto relu) {
                this->template before_gelu<count, relu>(around, line(f.d_y, i), slopes_of(i));
                if (!f.sums) return;
                each_channel(first, last, [&](i64 j, auto n) {
                    for (i64 k = 0; k < around.count; k++)
                        this->template taps<relu>(around.x[k], slopes_of(i), sum(3 * around.place[k]), j, n);
                });
            });
        }
        for (i64 i = 0; f.d_x && i < lines; i++) {
            const Near around = near(i, f.turned, [&](i64 l) { return slopes_of(l); });
            with_near(around, false, [&](auto count, auto) {
                this->template gradient<count>(around, line(f.x, i), line(f.d_x, i));
            });
        }
    }

    // The gradients of a line before its GELU, and their sum, which is the bias's.
    template <int Lines, bool Relu>
    void before_gelu(const Near& around, const char* d_y, char* to) {
        each_channel(first, last, [&](i64 j, auto n) {
            vf total{};
            along_line<T, Lines, Relu>(around, f.padded, width, c, j, n, load(f.bias + j), [&](i64 w, vf x) {
                vf g = gelu_of<T>(x).slope * read<T::kind>(at<T::kind>(d_y, w * c + j), n);
                total += g;
                write<T::kind>(g, at<T::kind>(to, w * own + j), n);
            });
            if (!f.sums) return;
            float* place = sum(27) + j;
            write<FLOAT32>(read<FLOAT32>(place, n) + total, place, n);
        });
    }

    // What an input line adds to the gradients of three taps.
    template <bool Relu, class N>
    void taps(const void* x, const char* g, float* to, i64 j, N n) {
        auto slope = [&](i64 w) { return read<T::kind>(at<T::kind>(g, w * own + j), n); };
        vf found[3] = {}, before{}, here = slope(0);
        for (i64 w = 0; w < width; w++) {
            vf after = w + 1 < width ? slope(w + 1) : vf{};
            vf seen = read<T::kind>(at<T::kind>(x, w * c + j), n);
            if (Relu) seen = greater(vf{}, seen);
            found[0] += after * seen;  // from the token behind
            found[1] += here * seen;
            found[2] += before * seen;
            before = here;
            here = after;
        }
        for (i64 t = 0; t < 3; t++) {
            float* place = to + t * f.padded + j;
            write<FLOAT32>(read<FLOAT32>(place, n) + found[t], place, n);
        }
    }

    // The gradients of an input line.
    template <int Lines>
    void gradient(const Near& around, const char* x, char* to) {
        each_channel(first, last, [&](i64 j, auto n) {
            along_line<T, Lines, false>(around, f.padded, width, own, j, n, vf{}, [&](i64 w, vf g) {
                if (f.relu) g = read<T::kind>(at<T::kind>(x, w * c + j), n) <= 0 ? vf{} : g;
                write<T::kind>(g, at<T::kind>(to, w * c + j), n);
            });
        });
    }
};

template <class T>
void backward(const DepthwiseGelu& f) {
    const i64 tokens = f.length[0] * f.length[1] * f.length[2];
    const i64 own = channels_at_once(f, CACHE / (tokens * bytes_of(T::kind)), f.batch);
    const i64 parts = ceil_div(f.channels, own);
#pragma omp parallel for num_threads(f.threads) schedule(dynamic) if (f.threads > 1)
    for (i64 i = 0; i < f.batch * parts; i++) {
        const i64 first = i % parts * own, last = std::min(first + own, f.channels);
        char* slopes = (char*)scratch.words((tokens * (last - first) * bytes_of(T::kind) + 3) / 4);
        Part<T>{f, i / parts, first, last, slopes}.run();
    }
}

}  // namespace

extern "C" void vitrail_depthwise_gelu(const DepthwiseGelu* f) {
    with_type(f->kind, [&](auto type) { forward<decltype(type)>(*f); });
}

extern "C" void vitrail_depthwise_gelu_backward(const DepthwiseGelu* f) {
    with_type(f->kind, [&](auto type) { backward<decltype(type)>(*f); });
}
