// A small vector type over the compiler's vector extension. Everything in csrc/cpu is written with
// it once and compiled once for each instruction set; only the conversions between lanes and bits
// differ by hand.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tensor.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef ADACONV_VARIANT
#error "ADACONV_VARIANT names the instruction set that this file is compiled for"
#endif

#if defined(__AVX512F__)
#define ADACONV_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define ADACONV_VECTOR_BYTES 32
#else
#define ADACONV_VECTOR_BYTES 16
#endif

#define ADACONV_UNROLL _Pragma("GCC unroll 32")
#define ADACONV_INLINE inline __attribute__((always_inline))

namespace adaconv::ADACONV_VARIANT {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

template <class T>
struct Vec;
template <>
struct Vec<float> {
  typedef float type __attribute__((vector_size(ADACONV_VECTOR_BYTES)));
  typedef int32_t bits __attribute__((vector_size(ADACONV_VECTOR_BYTES)));
};
template <>
struct Vec<double> {
  typedef double type __attribute__((vector_size(ADACONV_VECTOR_BYTES)));
  typedef int64_t bits __attribute__((vector_size(ADACONV_VECTOR_BYTES)));
};

template <class To, class From>
ADACONV_INLINE To convert(From value) {
  if constexpr (std::is_same_v<From, Bf16>) {
    return __builtin_bit_cast(float, static_cast<uint32_t>(value.bits) << 16);
  } else if constexpr (std::is_same_v<To, Bf16>) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, value);
    if (value != value) return {static_cast<uint16_t>(bits >> 16 | 0x40)};     // stays NaN
    return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};  // ties to even
  } else {
    return value;
  }
}

template <class T>
using V = typename Vec<T>::type;
template <class T>
constexpr int kLanes = ADACONV_VECTOR_BYTES / sizeof(T);

template <class T>
ADACONV_INLINE V<T> load(const T* p) {
  V<T> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

template <class T>
ADACONV_INLINE void store(T* p, V<T> v) {
  std::memcpy(p, &v, sizeof(v));
}

// Vectors of sums from and to what is in memory.
typedef uint16_t HalfBits __attribute__((vector_size(ADACONV_VECTOR_BYTES / 2)));
typedef uint32_t FloatBits __attribute__((vector_size(ADACONV_VECTOR_BYTES)));

template <class T>
ADACONV_INLINE V<Sum<T>> load_wide(const T* p) {
  if constexpr (std::is_same_v<T, Bf16>) {
    HalfBits bits;
    std::memcpy(&bits, p, sizeof(bits));
    return reinterpret_cast<V<float>>(__builtin_convertvector(bits, FloatBits) << 16);
  } else {
    return load(p);
  }
}

template <class T>
ADACONV_INLINE void store_narrow(T* p, V<Sum<T>> v) {
  if constexpr (std::is_same_v<T, Bf16>) {  // as convert does
    const FloatBits bits = reinterpret_cast<FloatBits>(v);
    const FloatBits rounded = (v != v) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
    const HalfBits top = __builtin_convertvector(rounded >> 16, HalfBits);
    std::memcpy(p, &top, sizeof(top));
  } else {
    store(p, v);
  }
}

template <class T>
ADACONV_INLINE V<T> broadcast(T s) {
  return s - V<T>{};  // not s + 0, which would turn -0 into +0
}

template <class T>
ADACONV_INLINE T sum(V<T> v) {
  T lanes[kLanes<T>];
  store(lanes, v);
  for (int half = kLanes<T> / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// One bit a lane, held in a word of its own for every vector.
template <class T>
using SignWord = std::conditional_t<kLanes<T> == 16, uint16_t, uint8_t>;

#if defined(__AVX512F__)

ADACONV_INLINE uint32_t positive(V<float> v) {
  return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(v), _mm512_setzero_ps(), _CMP_GT_OQ);
}
ADACONV_INLINE uint32_t positive(V<double> v) {
  return _mm512_cmp_pd_mask(reinterpret_cast<__m512d>(v), _mm512_setzero_pd(), _CMP_GT_OQ);
}
// max(v, 0) that lets NaN through, as PyTorch's relu does: of two operands of which one is NaN the
// second is returned. By hand, since the compiler makes a comparison and a blend of it.
template <class T>
ADACONV_INLINE V<T> relu(V<T> v) {
  if constexpr (std::is_same_v<T, float>) {
    return reinterpret_cast<V<T>>(_mm512_max_ps(_mm512_setzero_ps(), reinterpret_cast<__m512>(v)));
  } else {
    return reinterpret_cast<V<T>>(_mm512_max_pd(_mm512_setzero_pd(), reinterpret_cast<__m512d>(v)));
  }
}
// a where the bit is set, b elsewhere.
ADACONV_INLINE V<float> select(uint32_t bits, V<float> a, V<float> b) {
  return reinterpret_cast<V<float>>(
      _mm512_mask_mov_ps(reinterpret_cast<__m512>(b), bits, reinterpret_cast<__m512>(a)));
}
ADACONV_INLINE V<double> select(uint32_t bits, V<double> a, V<double> b) {
  return reinterpret_cast<V<double>>(
      _mm512_mask_mov_pd(reinterpret_cast<__m512d>(b), bits, reinterpret_cast<__m512d>(a)));
}

// The first `count` of 16 numbers, widened; the others are 0.
ADACONV_INLINE __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1;
}
ADACONV_INLINE V<float> load_some(const float* from, int64_t count) {
  return reinterpret_cast<V<float>>(_mm512_maskz_loadu_ps(first_lanes(count), from));
}
ADACONV_INLINE V<float> load_some(const Bf16* from, int64_t count) {
  const __m256i halves = _mm256_maskz_loadu_epi16(first_lanes(count), from);
  return reinterpret_cast<V<float>>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
ADACONV_INLINE void store_some(float* to, V<float> v, int64_t count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), reinterpret_cast<__m512>(v));
}

#else

template <class T>
ADACONV_INLINE V<T> relu(V<T> v) {
  return V<T>{} > v ? V<T>{} : v;
}

#if defined(__AVX2__)
ADACONV_INLINE uint32_t top_bits(V<float> v) {
  return _mm256_movemask_ps(reinterpret_cast<__m256>(v));
}
ADACONV_INLINE uint32_t top_bits(V<double> v) {
  return _mm256_movemask_pd(reinterpret_cast<__m256d>(v));
}
#elif defined(__SSE2__)
ADACONV_INLINE uint32_t top_bits(V<float> v) {
  return _mm_movemask_ps(reinterpret_cast<__m128>(v));
}
ADACONV_INLINE uint32_t top_bits(V<double> v) {
  return _mm_movemask_pd(reinterpret_cast<__m128d>(v));
}
#else
template <class Vector>
ADACONV_INLINE uint32_t top_bits(Vector v) {
  uint32_t bits = 0;
  for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); ++i) bits |= (v[i] != 0 ? 1u : 0u) << i;
  return bits;
}
#endif

template <class Vector>
ADACONV_INLINE uint32_t positive(Vector v) {
  const auto lanes = v > Vector{};
#if defined(__SSE2__)
  return top_bits(reinterpret_cast<Vector>(lanes));
#else
  return top_bits(lanes);
#endif
}

template <class T>
ADACONV_INLINE V<T> select_lanes(uint32_t bits, V<T> a, V<T> b) {
  typename Vec<T>::bits lane;
  for (int i = 0; i < kLanes<T>; ++i) lane[i] = 1 << i;
  return ((lane & static_cast<decltype(lane[0] + 0)>(bits)) != 0) ? a : b;
}
ADACONV_INLINE V<float> select(uint32_t bits, V<float> a, V<float> b) {
  return select_lanes<float>(bits, a, b);
}
ADACONV_INLINE V<double> select(uint32_t bits, V<double> a, V<double> b) {
  return select_lanes<double>(bits, a, b);
}

#endif

}  // namespace adaconv::ADACONV_VARIANT
