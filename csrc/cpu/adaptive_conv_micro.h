// The innermost loops of adaptive convolution. Lanes are pixels in the first two, features in the
// third.
//
// Each holds a block of accumulators in registers; the sizes leave room for the operands they are
// made from.
#pragma once

#include <utility>

#include "adaptive_conv.h"
#include "pack.h"

namespace adaconv::ADACONV_VARIANT {

constexpr int kSegmentTiles = 8;  // tiles that share what is streamed past them, at most
template <class T>
constexpr int kSegmentPixels = kSegmentTiles * kTile<T>;

constexpr int kRowBlock = kRegisters == 32 ? 9 : 4;      // weights of a pixel, forward
constexpr int kFeatureBlock = kRegisters == 32 ? 8 : 4;  // features, input gradients
// Weights of a pixel, gradient of P: as many as fit beside the vectors of features that they are
// with.
constexpr int gradient_block(int vectors) { return kRegisters == 32 ? (vectors == 4 ? 6 : 12) : 6; }
constexpr int kGradientBlock = gradient_block(1);

// Vectors of features that are taken at a time, of those that are left.
constexpr int gradient_vectors(int64_t left) {
  return kRegisters == 32 && left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

template <class T>
ADACONV_INLINE void store_bits(uint8_t* to, uint32_t bits) {
  const SignWord<T> word = static_cast<SignWord<T>>(bits);
  std::memcpy(to, &word, sizeof(word));
}

template <class T>
ADACONV_INLINE uint32_t load_bits(const uint8_t* from) {
  SignWord<T> word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

template <class T>
constexpr int kSignBytes = kTileVectors * sizeof(SignWord<T>);

// The weights `rows` of one output channel for the pixels of a tile, before their activation:
//   w[i][p] = sum_k P[rows[i]][k] d[k][p] + q[rows[i]]
template <class T, int kRows>
ADACONV_INLINE void regress(const T* P, const T* q, const int32_t* rows, int64_t features,
                            const T* d, V<T> (&w)[kRows][kTileVectors]) {
  const T* p[kRows];
  ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
    p[i] = P + rows[i] * features;
    const V<T> bias = broadcast<T>(q == nullptr ? T(0) : q[rows[i]]);
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) w[i][j] = bias;
  }
  // Unrolled, since every scalar instruction takes a place in the queue that a product could have.
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t first = 0; first < features; first += kLine) {
    // The next block's rows, which mostly follow this one's.
    ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
      __builtin_prefetch(p[i] + kRows * features + first);
    }
    const int64_t last = first + kLine < features ? first + kLine : features;
    _Pragma("GCC unroll 4") for (int64_t k = first; k < last; ++k, d += kTile<T>) {
      V<T> dk[kTileVectors];
      ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) dk[j] = load(d + j * kLanes<T>);
      ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
        const V<T> pk = broadcast<T>(p[i][k]);
        ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) w[i][j] += pk * dk[j];
      }
    }
  }
}

// The signs of weights, for row rows[i] at its distance from first_row.
template <class T, int kRows>
ADACONV_INLINE void store_signs(const V<T> (&w)[kRows][kTileVectors], const int32_t* rows,
                                int64_t first_row, uint8_t* signs) {
  ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
    uint8_t* to = signs + (rows[i] - first_row) * kSignBytes<T>;
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
      store_bits<T>(to + j * sizeof(SignWord<T>), positive(w[i][j]));
    }
  }
}

template <class T, int kRows>
void sign_weights(const T* P, const T* q, const int32_t* rows, int64_t features, const T* d,
                  int64_t first_row, uint8_t* signs) {
  V<T> w[kRows][kTileVectors];
  regress<T, kRows>(P, q, rows, features, d, w);
  store_signs<T, kRows>(w, rows, first_row, signs);
}

// Weights as above, and their use:
//   y[p] += sum_i act(w[i][p]) x[i][p]
template <class T, int kRows>
void regress_and_apply(const T* P, const T* q, const int32_t* rows, int64_t features, const T* d,
                       const T* x, T slope, T* y, uint8_t* signs) {
  V<T> w[kRows][kTileVectors];
  regress<T, kRows>(P, q, rows, features, d, w);
  if (signs != nullptr) store_signs<T, kRows>(w, rows, 0, signs);
  if (slope == 0) {
    ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
      ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) w[i][j] = relu<T>(w[i][j]);
    }
  } else {
    const V<T> slopes = broadcast<T>(slope);
    ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
      ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
        w[i][j] = w[i][j] > V<T>{} ? w[i][j] : w[i][j] * slopes;
      }
    }
  }
  ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
    V<T> total = {};
    ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
      total += w[i][j] * load(x + i * kTile<T> + j * kLanes<T>);
    }
    store(y + j * kLanes<T>, load(y + j * kLanes<T>) + total);
  }
}

// The gradient that reaches one weight of every output channel, before the weight's activation:
//   masked[o][p] = (sign bit ? 1 : slope) gy[o][p], and gx[p] += sum_o masked[o][p] q[o]
template <class T, bool kLeaky>
void mask_gradient(const T* gy, const uint8_t* signs, int64_t sign_step, const T* q, int64_t q_step,
                   int64_t channels, T slope, T* masked, T* gx) {
  const V<T> slopes = broadcast<T>(slope);
  V<T> total[kTileVectors] = {};
  for (int64_t o = 0; o < channels; ++o, signs += sign_step) {
    const V<T> bias = broadcast<T>(q == nullptr ? T(0) : q[o * q_step]);
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
      const V<T> g = load(gy + o * kTile<T> + j * kLanes<T>);
      const V<T> m = select(load_bits<T>(signs + j * sizeof(SignWord<T>)), g,
                            kLeaky ? g * slopes : V<T>{});
      store(masked + o * kTile<T> + j * kLanes<T>, m);
      total[j] += m * bias;
    }
  }
  ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) store(gx + j * kLanes<T>, total[j]);
}

// With R[k][p] = sum_o P[o][k] masked[o][p] for a block of features k of one weight:
//   gd[k][p] += x[p] R[k][p],  gx[p] += sum_k R[k][p] d[k][p]
template <class T>
void input_gradients(const T* P, const T* masked, int64_t channels, const T* x, const T* d, T* gd,
                     T* gx) {
  V<T> r[kFeatureBlock][kTileVectors] = {};
  _Pragma("GCC unroll 4") for (int64_t o = 0; o < channels; ++o) {
    V<T> m[kTileVectors];
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) m[j] = load(masked + j * kLanes<T>);
    ADACONV_UNROLL for (int k = 0; k < kFeatureBlock; ++k) {
      const V<T> pk = broadcast<T>(P[k]);
      ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) r[k][j] += pk * m[j];
    }
    P += kFeatureBlock;
    masked += kTile<T>;
  }
  V<T> total[kTileVectors];
  ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) total[j] = load(gx + j * kLanes<T>);
  ADACONV_UNROLL for (int k = 0; k < kFeatureBlock; ++k) {
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
      const int64_t at = k * kTile<T> + j * kLanes<T>;
      total[j] += r[k][j] * load(d + at);
      store(gd + at, load(gd + at) + load(x + j * kLanes<T>) * r[k][j]);
    }
  }
  ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) store(gx + j * kLanes<T>, total[j]);
}

// gP[rows[i]][k] += sum_p g[i][p] d[p][k] for a block of weights i and the first `columns` of
// kVectors vectors of features k.
template <class T, int kRows, int kVectors>
void weight_gradients(const T* g, const T* d, int64_t pixels, const int32_t* rows,
                      int64_t features, int64_t columns, T* gP) {
  V<T> total[kRows][kVectors] = {};
  _Pragma("GCC unroll 2") for (int64_t p = 0; p < pixels; ++p, d += kVectors * kLanes<T>) {
    V<T> dp[kVectors];
    ADACONV_UNROLL for (int j = 0; j < kVectors; ++j) dp[j] = load(d + j * kLanes<T>);
    ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
      const V<T> gi = broadcast<T>(g[i * kSegmentPixels<T> + p]);
      ADACONV_UNROLL for (int j = 0; j < kVectors; ++j) total[i][j] += gi * dp[j];
    }
  }
  ADACONV_UNROLL for (int i = 0; i < kRows; ++i) {
    T* to = gP + rows[i] * features;
    ADACONV_UNROLL for (int j = 0; j < kVectors; ++j, to += kLanes<T>) {
      if ((j + 1) * kLanes<T> <= columns) {
        store(to, load(to) + total[i][j]);
      } else {
        T rest[kLanes<T>];
        store(rest, total[i][j]);
        for (int k = 0; k < columns - j * kLanes<T>; ++k) to[k] += rest[k];
      }
    }
  }
}

// Tables of the instances by number of rows, so that a block has any number up to the largest.
template <class T>
using RegressAndApply = decltype(&regress_and_apply<T, 1>);
template <class T>
using SignWeights = decltype(&sign_weights<T, 1>);
template <class T>
using WeightGradients = decltype(&weight_gradients<T, 1, 1>);

template <class T, int... kIndex>
RegressAndApply<T> regress_and_apply_of(int rows, std::integer_sequence<int, kIndex...>) {
  static constexpr RegressAndApply<T> table[] = {&regress_and_apply<T, kIndex + 1>...};
  return table[rows - 1];
}

template <class T>
RegressAndApply<T> regress_and_apply_of(int rows) {
  return regress_and_apply_of<T>(rows, std::make_integer_sequence<int, kRowBlock>());
}

template <class T, int... kIndex>
SignWeights<T> sign_weights_of(int rows, std::integer_sequence<int, kIndex...>) {
  static constexpr SignWeights<T> table[] = {&sign_weights<T, kIndex + 1>...};
  return table[rows - 1];
}

template <class T>
SignWeights<T> sign_weights_of(int rows) {
  return sign_weights_of<T>(rows, std::make_integer_sequence<int, kRowBlock>());
}

template <class T, int kVectors, int... kIndex>
WeightGradients<T> weight_gradients_of(int rows, std::integer_sequence<int, kIndex...>) {
  static constexpr WeightGradients<T> table[] = {&weight_gradients<T, kIndex + 1, kVectors>...};
  return table[rows - 1];
}

template <class T>
WeightGradients<T> weight_gradients_of(int rows, int vectors) {
  switch (vectors) {
    case 1:
      return weight_gradients_of<T, 1>(rows, std::make_integer_sequence<int, gradient_block(1)>());
    case 2:
      return weight_gradients_of<T, 2>(rows, std::make_integer_sequence<int, gradient_block(2)>());
    default:
      return weight_gradients_of<T, 4>(rows, std::make_integer_sequence<int, gradient_block(4)>());
  }
}

}  // namespace adaconv::ADACONV_VARIANT
