// The exponential function of vectors.
#pragma once

#include "vec.h"

namespace adaconv::ADACONV_VARIANT {

// What exp needs to know of a type of number: how many terms of the series leave an error of the
// last place; the bits of the significand, and what the exponent is counted from; ln 2 in two
// parts, the first with so few digits that its multiples here are exact; and the whole number up to
// which exp(-s) is normalised.
template <class T>
struct Exp;
template <>
struct Exp<float> {
  static constexpr int terms = 7, significand = 23, bias = 127;
  static constexpr float ln2_high = 0x1.62ep-1f, ln2_low = 0x1.0bfbe8e7bcd5ep-15f;
  static constexpr float end = 87;
};
template <>
struct Exp<double> {
  static constexpr int terms = 13, significand = 52, bias = 1023;
  static constexpr double ln2_high = 0x1.62e42fefap-1, ln2_low = 0x1.cf79abc9e3b39p-40;
  static constexpr double end = 708;
};

template <class T>
constexpr T reciprocal_factorial(int n) {
  return n == 0 ? T(1) : reciprocal_factorial<T>(n - 1) / n;
}

// exp(-s) for s >= 0, to about one unit in the last place; 0 beyond Exp<T>::end, NaN for NaN. With
// n the integer nearest to -s / ln 2 and r = -s - n ln 2, it is 2^n times the series of exp(r).
template <class T>
ADACONV_INLINE V<T> exp_negative(V<T> s) {
  using E = Exp<T>;
  constexpr T kLog2e = T(0x1.71547652b82fep+0);
  // Added to n, this has n + bias in the last bits of its significand: the exponent of 2^n.
  constexpr T kShift = T(int64_t(3) << (E::significand - 1)) + E::bias;
  const V<T> shifted = broadcast(kShift) - s * kLog2e;
  const V<T> n = shifted - kShift;
  const V<T> r = (-s - n * E::ln2_high) - n * E::ln2_low;
  V<T> series = broadcast(reciprocal_factorial<T>(E::terms));
  ADACONV_UNROLL
  for (int i = E::terms - 1; i >= 0; --i) series = series * r + reciprocal_factorial<T>(i);
  const auto power = reinterpret_cast<typename Vec<T>::bits>(shifted) << E::significand;
  return s > E::end ? V<T>{} : series * reinterpret_cast<V<T>>(power);
}

}  // namespace adaconv::ADACONV_VARIANT
