// Numbers of the three types as vectors of floats, and the GELU of them.
#pragma once

#include "../attention/cpp/vectors.h"

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

// n numbers, at most a vector of them.
template <int32_t Kind>
inline vf read(const void* from, i64 n) {
#ifdef VITRAIL_AVX512
    if (n >= LANES) {
        if (Kind == FLOAT32) return _mm512_loadu_ps(from);
        __m256i half = _mm256_loadu_si256((const __m256i*)from);
        if (Kind == BFLOAT16) return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
        return _mm512_cvtph_ps(half);
    }
#else
    if (Kind == FLOAT32 && n >= LANES) return load((const float*)from);
#endif
    vf x{};
    for (i64 i = 0; i < n && i < LANES; i++) x[i] = widen_one(from, Kind, i);
    return x;
}

template <int32_t Kind>
inline void write(vf x, void* to, i64 n) {
#ifdef VITRAIL_AVX512
    if (n >= LANES) {
        if (Kind == FLOAT32) return _mm512_storeu_ps(to, x);
        if (Kind == FLOAT16)
            return _mm256_storeu_si256((__m256i*)to, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#ifdef __AVX512BF16__
        return _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(x));
#endif
    }
#else
    if (Kind == FLOAT32 && n >= LANES) return store((float*)to, x);
#endif
    narrow(x, to, Kind, n);
}

// x times the normal distribution's share below x, to 2e-6: an odd rational function, made by a
// least-squares fit to erf(x / sqrt 2) on [0, 5.3], reweighted until its errors were level.
inline vf gelu(vf x) {
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
#ifdef VITRAIL_AVX512
    vf inverse = _mm512_rcp14_ps(q);
    inverse = inverse * (2.0f - q * inverse);
    vf share = c * p * inverse;
#else
    vf share = c * p / q;
#endif
    vf half = x * 0.5f, y = half * share + half;
    return x < -5.3f ? vf{} : y;  // the share is never quite one; what is no number stays so
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
