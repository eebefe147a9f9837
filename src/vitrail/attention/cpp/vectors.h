// Vectors of floats as wide as the machine's, and the arithmetic that attention needs on them.
//
// GCC's and clang's vector types carry everything; intrinsics stand only where the compiler does
// not find the instruction by itself. Without AVX-512 the same lines serve AVX2, SSE and NEON.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace vitrail {

using u16 = uint16_t;
using u32 = uint32_t;
using i64 = int64_t;

// LANES floats in a vector; ROWS x COLS accumulators, COLS operands and a broadcast fill the
// registers and no more.
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__)
#define VITRAIL_AVX512 1
constexpr int LANES = 16, ROWS = 6, COLS = 4;
#elif defined(__AVX2__) && defined(__FMA__)
constexpr int LANES = 8, ROWS = 4, COLS = 2;
#elif defined(__aarch64__)
constexpr int LANES = 4, ROWS = 6, COLS = 4;
#else
constexpr int LANES = 4, ROWS = 2, COLS = 4;
#endif

typedef float vf __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES), may_alias));
typedef uint16_t vh __attribute__((vector_size(2 * LANES), may_alias, aligned(2)));
typedef float vf_loose __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));
typedef int32_t vi_loose __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));

constexpr float LOG2E = 1.44269504088896340736f, LN2 = 0.69314718055994530942f;
// 2^t for t from 0 to 1, highest power first: to 1e-7 of its value, and to 8e-5.
constexpr float POWER_TERMS[6] = {0.00187757666f, 0.00898934013f, 0.055826318f,
                                  0.240153617f,   0.693153073f,   0.999999925f};
constexpr float FEW_POWER_TERMS[4] = {0.0780245140f, 0.226067171f, 0.695833564f, 0.999925197f};
// log2(1 + t) / t for t from sqrt(1/2) - 1 to sqrt(2) - 1, highest power first.
constexpr float LOG_TERMS[9] = {0.129264325f, -0.208933832f, 0.215212249f, -0.238675678f, 0.287939095f,
                                -0.360716264f, 0.48091028f, -0.721347199f, 1.442695f};
constexpr float INF = __builtin_inff();

inline i64 round_up(i64 n, i64 multiple) { return (n + multiple - 1) / multiple * multiple; }

inline vf load(const float* p) { return *(const vf_loose*)p; }
inline vi load(const int32_t* p) { return *(const vi_loose*)p; }
inline void store(float* p, vf x) { *(vf_loose*)p = x; }
inline vf spread(float x) { return x - vf{}; }
inline vi spread(int32_t x) { return x - vi{}; }

inline vf greater(vf a, vf b) {
#ifdef VITRAIL_AVX512
    return _mm512_max_ps(a, b);
#else
    return a > b ? a : b;
#endif
}

inline float total(vf x) {
#ifdef VITRAIL_AVX512
    return _mm512_reduce_add_ps(x);
#else
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
#endif
}

inline float greatest(vf x) {
#ifdef VITRAIL_AVX512
    return _mm512_reduce_max_ps(x);
#else
    float best = x[0];
    for (int i = 1; i < LANES; i++) best = x[i] > best ? x[i] : best;
    return best;
#endif
}

// 2^x for x <= 127; 0 for minus infinity.
template <int Terms>
inline vf power_of_two(vf x, const float (&terms)[Terms]) {
#ifdef VITRAIL_AVX512
    // What is left above the whole number below; 0 for an infinity. scalef takes the whole part.
    vf f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
    x = greater(x, spread(-160.0f));
    vi power = __builtin_convertvector(x, vi);  // towards zero
    vf whole = __builtin_convertvector(power, vf);
    power += whole > x;  // true is -1
    vf f = x - __builtin_convertvector(power, vf);
#endif
    vf y = f * terms[0] + terms[1];
#pragma GCC unroll 8
    for (int i = 2; i < Terms; i++) y = y * f + terms[i];
#ifdef VITRAIL_AVX512
    return _mm512_scalef_ps(y, x);
#else
    power += 127;
    power = power > 0 ? power : 0;  // below the normal numbers: zero
    return y * (vf)(power << 23);
#endif
}

// log2 of normal numbers, to 1e-7.
inline vf log_of_two(vf x) {
    vi bits = (vi)x;
    vi power = (bits - 0x3f3504f3) >> 23;  // so that what is left lies about 1: sqrt(1/2) to sqrt(2)
    vf left = (vf)(bits - (power << 23)) - 1.0f;
    vf y = left * LOG_TERMS[0] + LOG_TERMS[1];
#pragma GCC unroll 16
    for (int i = 2; i < 9; i++) y = y * left + LOG_TERMS[i];
    return y * left + __builtin_convertvector(power, vf);
}

// ---- numbers of two bytes ---------------------------------------------------------------------

enum Kind : int32_t { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2 };

inline i64 bytes_of(int32_t kind) { return kind == FLOAT32 ? 4 : 2; }

inline float from_bfloat(u16 x) {
    u32 bits = (u32)x << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}

inline u16 to_bfloat(float x) {  // to nearest, ties to even
    u32 bits;
    memcpy(&bits, &x, 4);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Not by way of _Float16: g++ has it in C++ from 12 for x86 and from 13 for ARM.
inline float from_half(u16 x) {
#if defined(__F16C__)
    return _cvtsh_ss(x);
#elif defined(__ARM_FP16_FORMAT_IEEE)
    __fp16 y;
    memcpy(&y, &x, 2);
    return y;
#else
    u32 bits = (u32)(x & 0x7fff) << 13;
    float y;
    memcpy(&y, &bits, 4);
    y *= 0x1p112f;  // exponents count from 15 there and from 127 here
    memcpy(&bits, &y, 4);
    if ((x & 0x7c00) == 0x7c00) bits |= 0x7f800000;
    bits |= (u32)(x & 0x8000) << 16;
    memcpy(&y, &bits, 4);
    return y;
#endif
}

inline u16 to_half(float x) {  // to nearest, ties to even
#if defined(__F16C__)
    return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__ARM_FP16_FORMAT_IEEE)
    __fp16 y = (__fp16)x;
    u16 bits;
    memcpy(&bits, &y, 2);
    return bits;
#else
    u32 bits, sign;
    memcpy(&bits, &x, 4);
    sign = bits >> 16 & 0x8000, bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;
    if (bits >= 0x47800000) return sign | 0x7c00;  // 2^16 and more
    if (bits < 0x38800000) {  // below 2^-14: a sum of which 2^-24 is the last place rounds
        float y;
        memcpy(&y, &bits, 4);
        y += 0.5f;
        memcpy(&bits, &y, 4);
        return sign | (bits - 0x3f000000);
    }
    return sign | ((bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13);
#endif
}

inline void widen(const void* from, int32_t kind, float* to, i64 n) {
    if (kind == FLOAT32) {
        memcpy(to, from, 4 * n);
    } else if (kind == BFLOAT16) {
        for (i64 i = 0; i < n; i++) to[i] = from_bfloat(((const u16*)from)[i]);
    } else {
        i64 i = 0;
#ifdef VITRAIL_AVX512
        for (; i + 16 <= n; i += 16)
            _mm512_storeu_ps(to + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)((const u16*)from + i))));
#endif
        for (; i < n; i++) to[i] = from_half(((const u16*)from)[i]);
    }
}

inline float widen_one(const void* from, int32_t kind, i64 i) {
    if (kind == FLOAT32) return ((const float*)from)[i];
    if (kind == BFLOAT16) return from_bfloat(((const u16*)from)[i]);
    return from_half(((const u16*)from)[i]);
}

// Where the machine has no instruction for it: out of line, for it is long.
__attribute__((noinline)) inline void narrow_one_by_one(vf x, void* to, int32_t kind, i64 n) {
    for (i64 i = 0; i < n && i < LANES; i++) {
        if (kind == FLOAT32) ((float*)to)[i] = x[i];
        else if (kind == BFLOAT16) ((u16*)to)[i] = to_bfloat(x[i]);
        else ((u16*)to)[i] = to_half(x[i]);
    }
}

// A vector of bfloats and floats, as to_bfloat and from_bfloat have it.
inline vh to_bfloats(vf x) {
    vi bits = (vi)x, nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return __builtin_convertvector((bits & 0x7fffffff) > 0x7f800000 ? spread(0x7fc0) : nearest, vh);
}
inline vf from_bfloats(vh x) { return (vf)(__builtin_convertvector(x, vi) << 16); }

// Store the first n (<= LANES) numbers of x.
inline void narrow(vf x, void* to, int32_t kind, i64 n) {
    if (n >= LANES) {
        if (kind == FLOAT32) return store((float*)to, x);
#ifdef VITRAIL_AVX512
        if (kind == FLOAT16)
            return _mm256_storeu_si256((__m256i*)to, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#endif
#ifdef __AVX512BF16__
        return _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(x));
#else
        if (kind == BFLOAT16) return (void)(*(vh*)to = to_bfloats(x));
#endif
    }
#ifdef VITRAIL_AVX512
    __mmask16 some = n >= 16 ? 0xffff : (1u << n) - 1;
    if (kind == FLOAT32) return _mm512_mask_storeu_ps(to, some, x);
    if (kind == FLOAT16)
        return _mm256_mask_storeu_epi16(to, some, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#ifdef __AVX512BF16__
    return _mm256_mask_storeu_epi16(to, some, (__m256i)_mm512_cvtneps_pbh(x));
#endif
#endif
    narrow_one_by_one(x, to, kind, n);
}

// ---- products ---------------------------------------------------------------------------------

#ifdef VITRAIL_AVX512
inline void transpose(__m512i (&r)[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}
#endif

// Rows of `steps` words each to to[step][row]; zeros fill the rows up to `stride`.
inline void transpose_words(const void* const* rows, i64 n, i64 steps, u32* to, i64 stride) {
    i64 done = 0;
#ifdef VITRAIL_AVX512
    for (; done < n - 4; done += 16) {
        i64 last = n - 1 - done;
        for (i64 s = 0; s < steps; s += 16) {
            __mmask16 some = steps - s >= 16 ? 0xffff : (1u << (steps - s)) - 1;
            __m512i r[16];
            for (int i = 0; i < 16; i++)
                r[i] = i <= last ? _mm512_maskz_loadu_epi32(some, (const u32*)rows[done + i] + s)
                                 : _mm512_setzero_si512();
            transpose(r);
            for (int i = 0; i < 16 && s + i < steps; i++)
                _mm512_storeu_si512(to + (s + i) * stride + done, r[i]);
        }
    }
#endif
    for (i64 s = 0; s < steps; s++) {
        for (i64 j = done; j < stride; j += LANES) store((float*)(to + s * stride + j), vf{});
        for (i64 j = done; j < n; j++) memcpy(to + s * stride + j, (const u32*)rows[j] + s, 4);
    }
}

// How numbers lie in the operands of a product. An operand is words of 32 bits: `per` numbers
// along the summed axis in each.
struct Single {  // one float
    static constexpr int per = 1;
    static vf broadcast(const u32* p) {
        float x;
        memcpy(&x, p, 4);
        return spread(x);
    }
    static vf multiply_add(vf sum, vf a, vf b) { return a * b + sum; }
    static vf weight(vf x) { return power_of_two(x, POWER_TERMS); }
    // Numbers j to j + LANES of a row.
    static void put(vf x, u32* row, i64 j) { store((float*)row + j, x); }
    // Rows to to[row][column], zeros to the next `stride`.
    static void along_rows(const void* const* rows, i64 n, i64 width, u32* to, i64 stride) {
        for (i64 j = 0; j < n; j++) {
            const float* row = (const float*)rows[j];
            i64 d = 0;
            for (; d + LANES <= width; d += LANES) store((float*)to + j * stride + d, load(row + d));
            for (; d < stride; d++) ((float*)to)[j * stride + d] = d < width ? row[d] : 0;
        }
    }
};

#if defined(VITRAIL_AVX512) && defined(__AVX512BF16__)
#define VITRAIL_PAIRS 1
struct Pair {  // two bfloats, whose two products one instruction adds to a float
    static constexpr int per = 2;
    static vf broadcast(const u32* p) {
        int32_t x;
        memcpy(&x, p, 4);
        return (vf)_mm512_set1_epi32(x);
    }
    static vf multiply_add(vf sum, vf a, vf b) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
    static vf weight(vf x) { return power_of_two(x, FEW_POWER_TERMS); }  // rounded to 4e-3 anyway
    static void put(vf x, u32* row, i64 j) {
        _mm256_storeu_si256((__m256i*)((u16*)row + j), (__m256i)_mm512_cvtneps_pbh(x));
    }
    // Two rows to each to[row / 2][column].
    static void along_rows(const void* const* rows, i64 n, i64 width, u32* to, i64 stride) {
        alignas(64) static const u16 low[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
        __m512i first = _mm512_load_si512(low);
        __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
        for (i64 j = 0; j < n; j += 2, to += stride)
            for (i64 c = 0; c < stride; c += 32) {
                i64 left = width - c;
                __mmask32 some = left >= 32 ? ~0u : left > 0 ? (1u << left) - 1 : 0;
                __m512i even = _mm512_maskz_loadu_epi16(some, (const u16*)rows[j] + c), odd = {};
                if (j + 1 < n) odd = _mm512_maskz_loadu_epi16(some, (const u16*)rows[j + 1] + c);
                _mm512_storeu_si512(to + c, _mm512_permutex2var_epi16(even, first, odd));
                if (c + 16 < stride)
                    _mm512_storeu_si512(to + c + 16, _mm512_permutex2var_epi16(even, second, odd));
            }
    }
};
#endif

// R x C vectors of sums over `steps`: a[r][s * a_step] times b[s * b_stride + c * LANES ...].
// Inlined whatever it costs: sums behind a reference would be stored at every step.
template <class Form, int R, int C>
__attribute__((always_inline)) inline void product(vf (&sum)[R][C], const u32* const* a, i64 a_step, const u32* b, i64 b_stride,
                    i64 steps) {
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) sum[r][c] = vf{};
    for (i64 s = 0; s < steps; s++) {
        vf right[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) right[c] = load((const float*)(b + s * b_stride + c * LANES));
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            vf left = Form::broadcast(a[r] + s * a_step);
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) sum[r][c] = Form::multiply_add(sum[r][c], left, right[c]);
        }
    }
}

template <int N>
using Count = std::integral_constant<int, N>;

// Call f with n (1 to Most) as a constant of the compiler's.
template <int Most, class F>
inline void with_count(i64 n, F&& f) {
    if constexpr (Most > 1) {
        if (n < Most) return with_count<Most - 1>(n, static_cast<F&&>(f));
    }
    f(Count<Most>{});
}

// n cut into parts of at most `most`, as even as they can be.
struct Parts {
    i64 count, least, longer;  // `longer` of them have one more than the least
    Parts(i64 n, i64 most)
        : count((n + most - 1) / most), least(count ? n / count : 0), longer(count ? n % count : 0) {}
    template <class F>
    void each(F&& f) const {  // f(start, length)
        for (i64 i = 0, start = 0; i < count; i++) {
            i64 length = least + (i < longer);
            f(start, length);
            start += length;
        }
    }
};

}  // namespace vitrail
