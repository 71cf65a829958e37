// The innermost loops of the first stage's backward pass; lanes are pixels.
#pragma once

#include "adaptive_conv_micro.h"

namespace adaconv::ADACONV_VARIANT {

// With the weights w of one channel (see regress), m the slope of the activation at w, and gu the
// gradient of the channel:
//   gx[i][p] = act(w[i][p]) gu[p],  f[i][p] = m[i][p] gu[p] x[i][p]
template <class T, int kRows>
void regress_and_differentiate(const T* P, const T* q, const int32_t* rows, int64_t features,
                               const T* d, const T* gu, const T* x, T slope, T* gx, T* f) {
  V<T> w[kRows][kTileVectors];
  regress<T, kRows>(P, q, rows, features, d, w);
  const V<T> slopes = broadcast<T>(slope);
  const bool leaky = slope != 0;  // else what is not positive counts for nothing, not even NaN
  ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
    const V<T> g = load(gu + j * kLanes<T>);
    ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
      const V<T> product = g * load(x + i * kTile<T> + j * kLanes<T>);
      const V<T> below = leaky ? product * slopes : V<T>{};
      const V<T> act =
          leaky ? (w[i][j] > V<T>{} ? w[i][j] : w[i][j] * slopes) : relu<T>(w[i][j]);
      store(gx + i * kTile<T> + j * kLanes<T>, act * g);
      store(f + i * kSegmentPixels<T> + j * kLanes<T>, w[i][j] > V<T>{} ? product : below);
    }
  }
}

// gd[k][p] += sum_i P[rows[i]][k] f[i][p] for a block of features k.
template <class T, int kFeatures>
void feature_gradients(const T* P, int64_t features, const int32_t* rows, int count, const T* f,
                       T* gd) {
  V<T> total[kFeatures][kTileVectors];
  ADACONV_UNROLL for (int k = 0; k < kFeatures; ++k) {
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
      total[k][j] = load(gd + k * kTile<T> + j * kLanes<T>);
    }
  }
  for (int i = 0; i < count; ++i, f += kSegmentPixels<T>) {
    const T* p = P + rows[i] * features;
    V<T> fi[kTileVectors];
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) fi[j] = load(f + j * kLanes<T>);
    ADACONV_UNROLL for (int k = 0; k < kFeatures; ++k) {
      const V<T> pk = broadcast<T>(p[k]);
      ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) total[k][j] += pk * fi[j];
    }
  }
  ADACONV_UNROLL for (int k = 0; k < kFeatures; ++k) {
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
      store(gd + k * kTile<T> + j * kLanes<T>, total[k][j]);
    }
  }
}

template <class T>
using RegressAndDifferentiate = decltype(&regress_and_differentiate<T, 1>);
template <class T>
using FeatureGradients = decltype(&feature_gradients<T, 1>);

template <class T, int... kIndex>
RegressAndDifferentiate<T> regress_and_differentiate_of(int rows,
                                                        std::integer_sequence<int, kIndex...>) {
  static constexpr RegressAndDifferentiate<T> table[] = {
      &regress_and_differentiate<T, kIndex + 1>...};
  return table[rows - 1];
}

template <class T>
RegressAndDifferentiate<T> regress_and_differentiate_of(int rows) {
  return regress_and_differentiate_of<T>(rows, std::make_integer_sequence<int, kRowBlock>());
}

template <class T, int... kIndex>
FeatureGradients<T> feature_gradients_of(int features, std::integer_sequence<int, kIndex...>) {
  static constexpr FeatureGradients<T> table[] = {&feature_gradients<T, kIndex + 1>...};
  return table[features - 1];
}

template <class T>
FeatureGradients<T> feature_gradients_of(int features) {
  return feature_gradients_of<T>(features, std::make_integer_sequence<int, kFeatureBlock>());
}

}  // namespace adaconv::ADACONV_VARIANT
