// Numbers of the three types as vectors of floats, and the GELU of them.
#pragma once

#include "../../attention/cpp/vectors.h"

namespace vitrail {

// The numbers of a tensor, and the form in which they are multiplied.
template <class F, int32_t Kind>
struct Type : F {
    static constexpr int32_t kind = Kind, kept = F::per == 2 ? BFLOAT16 : FLOAT32;
    static i64 steps(i64 inputs) { return (inputs + F::per - 1) / F::per; }
};

template <int32_t Kind>
inline char* at(const void* base, i64 numbers) {
    return (char*)base + numbers * bytes_of(Kind);
}

__attribute__((noinline)) inline vf read_one_by_one(const void* from, int32_t kind, i64 n) {
    vf x{};
    for (i64 i = 0; i < n && i < LANES; i++) x[i] = widen_one(from, kind, i);
    return x;
}

// n numbers, at most a vector of them.
template <int32_t Kind>
inline vf read(const void* from, i64 n) {
    if (n < LANES) return read_one_by_one(from, Kind, n);
    if (Kind == FLOAT32) return load((const float*)from);
    if (Kind == BFLOAT16) return from_bfloats(*(const vh*)from);
#ifdef VITRAIL_AVX512
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#endif
    return read_one_by_one(from, Kind, n);
}

// The first n numbers of a vector, zeros behind.
inline vf first_of(vf x, i64 n) {
    for (i64 i = n; i < LANES; i++) x[i] = 0;
    return x;
}

template <int32_t Kind>
inline void write(vf x, void* to, i64 n) {
    narrow(x, to, Kind, n);
}

#ifdef VITRAIL_AVX512
// The normal distribution's share above |x|, in 16 pieces with their middles at multiples of 1 / 3.1:
// cubic polynomials, highest power first, by least squares reweighted until the errors were level.
constexpr float TAIL_PIECES = 3.1f, TAIL_END = 4.99f;  // its piece is the last, however one rounds
alignas(64) constexpr float TAIL[4][16] = {
    {0.0657480285f, 0.0562585443f, 0.031450782f, 0.00278299674f, -0.0189939905f, -0.0287931059f,
     -0.0279472303f, -0.0212756563f, -0.0135054383f, -0.00734614721f, -0.00347483507f,
     -0.00144217967f, -0.000528289354f, -0.000171503299f, -4.94898923e-05f, -1.2722674e-05f},
    {0.000101453574f, 0.00625781156f, 0.0430558845f, 0.112239338f, 0.185156301f, 0.226862639f,
     0.221691027f, 0.179474443f, 0.123131678f, 0.0726436004f, 0.0372237079f, 0.0166850537f,
     0.00657662982f, 0.00228865212f, 0.000705348153f, 0.000192993204f},
    {-0.398946047f, -0.400313646f, -0.418813884f, -0.474831194f, -0.556483686f, -0.615749955f,
     -0.605379879f, -0.516253293f, -0.379971653f, -0.241942391f, -0.133871436f, -0.064670071f,
     -0.0273898505f, -0.0102075804f, -0.00335763558f, -0.000977327349f},
    {0.5f, 0.500101507f, 0.503248751f, 0.518465281f, 0.549045861f, 0.57716769f, 0.570323586f,
     0.507547557f, 0.397588551f, 0.27173093f, 0.161768198f, 0.0840193778f, 0.0381755456f,
     0.01521968f, 0.00533921877f, 0.00165242609f},
};
#endif

#ifdef VITRAIL_AVX512
// |x| up to the end of the pieces, and the normal distribution's share above.
struct Tail {
    vf c, share;
};

inline Tail tail_of(vf x) {
    // Minima take the second operand where one is no number.
    vf c = _mm512_min_ps(spread(TAIL_END), _mm512_abs_ps(x));
    // The last bits of a sum with 2^23 are the nearest whole number: the piece.
    __m512i piece = (__m512i)(c * TAIL_PIECES + 8388608.0f);
    vf share = _mm512_permutexvar_ps(piece, load(TAIL[0]));
#pragma GCC unroll 3
    for (int i = 1; i < 4; i++) share = share * c + (vf)_mm512_permutexvar_ps(piece, load(TAIL[i]));
    return {c, share};
}
#endif

// x times the normal distribution's share below x, to 2e-6.
inline vf gelu(vf x) {
#ifdef VITRAIL_AVX512
    Tail tail = tail_of(x);
    return greater(x, vf{}) - tail.c * tail.share;
#else
    // The share is half of 1 + erf(x / sqrt 2): an odd rational function, by a least-squares fit
    // on [0, 5.3] reweighted until its errors were level.
    vf c = greater(x, spread(-5.3f));
    c = -greater(-c, spread(-5.3f));
    vf t = c * c;
    vf p = t * -3.515166160e-08f + 1.201875940e-05f;
    p = p * t + 9.290956620e-04f;
    p = p * t + 1.284742983e-02f;
    p = p * t + 1.304668776e-01f;
    p = p * t + 7.978832110e-01f;
    vf q = t * 1.562986658e-04f + 3.560734319e-03f;
    q = q * t + 4.615118750e-02f;
    q = q * t + 3.301715110e-01f;
    q = q * t + 1.0f;
    vf half = x * 0.5f, y = half * (c * p / q) + half;
    return x < -5.3f ? vf{} : y;  // the share is never quite one; what is no number stays so
#endif
}

// The GELU of x, and its slope there.
struct Gelu {
    vf value, slope;
};

template <class T>
__attribute__((always_inline)) inline Gelu gelu_of(vf x) {
    vf density = T::weight(x * x * (-0.5f * LOG2E)) * 0.39894228f;
#ifdef VITRAIL_AVX512
    Tail tail = tail_of(x);
    vf share = x > 0 ? 1.0f - tail.share : tail.share;
    return {greater(x, vf{}) - tail.c * tail.share, share + x * density};
#else
    // Abramowitz and Stegun 7.1.26, to 1e-7; its exponential is the density's.
    vf t = 1.0f / (greater(x, -x) * (0.3275911f * 0.70710678f) + 1.0f);
    vf p = t * 0.5307027145f - 0.7265760135f;
    p = p * t + 0.7107068705f;
    p = p * t - 0.142248368f;
    p = p * t + 0.127414796f;
    vf above = p * t * (density * 2.50662827f), share = x > 0 ? 1.0f - above : above;
    return {x * share, share + x * density};
#endif
}

template <class F>
inline void with_type(int32_t kind, F&& f) {
    if (kind == FLOAT32) return f(Type<Single, FLOAT32>{});
    if (kind == FLOAT16) return f(Type<Single, FLOAT16>{});
#ifdef VITRAIL_PAIRS
    f(Type<Pair, BFLOAT16>{});
#else
    f(Type<Single, BFLOAT16>{});
#endif
}

}  // namespace vitrail
