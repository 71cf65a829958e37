// Local adaptive convolution of every channel by itself, with channels as lanes. For the weights W
// of one point of the grid, and the pixels p that have it as a neighbour:
//
//   z[p] = sum_t W[t] x[p+t]      y[p] += a[p] z[p]       ga[p] = sum_c gy[p] z[p]
//   gx[p+t] += W[t] a[p] gy[p]    gW[t] = sum_p a[p] gy[p] x[p+t]
#pragma once

#include <utility>

#include "local_adaptive_grid.h"
#include "local_adaptive_product.h"

namespace adaconv::ADACONV_VARIANT::local {

// Taps whose weights, and their gradients, are in registers at a time.
constexpr int kTapBlock = kRegisters == 32 ? 9 : 5;

// Some taps for a vector of channels: their offsets from a pixel's patch, and their weights, which
// lie `channels` apart.
template <class T>
struct Taps {
  int64_t offsets[kTapBlock];
  T* W;
  int64_t channels, left;  // of which `left` are meant, or all of the vector
};

template <class T, int kTaps, bool kWhole>
void apply_taps(const LocalAdaptiveForward<T>& call, const Pixels<T>& pixels, const Taps<T>& taps,
                int64_t channel) {
  const int64_t left = kWhole ? kLanes<T> : taps.left;
  V<T> w[kTaps];
  ADACONV_UNROLL for (int t = 0; t < kTaps; ++t) w[t] = load(taps.W + t * taps.channels);
  for (int64_t p = 0; p < pixels.count; ++p) {
    const T* x = call.x + pixels.x[p];
    V<T> z = {};
    ADACONV_UNROLL for (int t = 0; t < kTaps; ++t) z += w[t] * load(x + taps.offsets[t]);
    T* y = call.y + pixels.y[p] * taps.channels + channel;
    store_first(y, load_first(y, left) + broadcast<T>(pixels.a[p]) * z, left);
  }
}

// Replaces the weights, before their activation, by their gradients; adds to gx and, before lanes
// are summed, to ga, if there is a gx.
template <class T, int kTaps, bool kWhole, bool kInputs>
void differentiate_taps(const LocalAdaptiveBackward<T>& call, const Pixels<T>& pixels,
                        const Taps<T>& taps, int64_t channel, T* ga) {
  const int64_t left = kWhole ? kLanes<T> : taps.left;
  const T slope = static_cast<T>(call.shape.negative_slope);
  V<T> w[kTaps], gw[kTaps] = {};
  ADACONV_UNROLL for (int t = 0; t < kTaps; ++t) {
    w[t] = activated<T>(load_first(taps.W + t * taps.channels, left), slope);
  }
  for (int64_t p = 0; p < pixels.count; ++p) {
    const V<T> gy = load_first(call.gy + pixels.y[p] * taps.channels + channel, left);
    const V<T> ag = broadcast<T>(pixels.a[p]) * gy;
    V<T> z = {};
    ADACONV_UNROLL for (int t = 0; t < kTaps; ++t) {
      const int64_t at = pixels.x[p] + taps.offsets[t];
      const V<T> x = load_first(call.x + at, left);
      gw[t] += ag * x;
      if (!kInputs) continue;
      z += w[t] * x;
      store_first(call.gx + at, load_first(call.gx + at, left) + w[t] * ag, left);
    }
    if (kInputs) store(ga + p * kLanes<T>, load(ga + p * kLanes<T>) + gy * z);
  }
  ADACONV_UNROLL for (int t = 0; t < kTaps; ++t) {
    T* to = taps.W + t * taps.channels;
    const V<T> below = slope != 0 ? gw[t] * broadcast<T>(slope) : V<T>{};
    store_first(to, load_first(to, left) > V<T>{} ? gw[t] : below, left);
  }
}

template <int kTaps, bool kWhole>
struct Constants {
  static constexpr int taps = kTaps;
  static constexpr bool whole = kWhole;
};

// Calls use(constants, taps, channel) for all taps and vectors of channels.
template <class T, class Use, int... kIndex>
ADACONV_INLINE void for_each_taps(const LocalAdaptiveShape& s, const Runs& runs, T* W, Use use,
                                  std::integer_sequence<int, kIndex...>) {
  const int64_t channels = s.out_channels, blocks = (runs.taps + kTapBlock - 1) / kTapBlock;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t first = runs.taps * block / blocks;
    const int64_t count = runs.taps * (block + 1) / blocks - first;
    for (int64_t c = 0; c < channels; c += kLanes<T>) {
      Taps<T> taps{{}, W + first * channels + c, channels, channels - c};
      for (int64_t t = 0; t < count; ++t) taps.offsets[t] = runs.at_tap(first + t) + c;
      const auto with = [&](auto number) {
        if (count != number) return;
        if (taps.left < kLanes<T>) return use(Constants<number, false>(), taps, c);
        use(Constants<number, true>(), taps, c);
      };
      (with(std::integral_constant<int, kIndex + 1>()), ...);
    }
  }
}

template <class T>
void apply_channels(const LocalAdaptiveForward<T>& call, const Runs& runs, const Pixels<T>& pixels,
                    T* W) {
  const auto use = [&](auto constants, const Taps<T>& taps, int64_t channel) {
    apply_taps<T, constants.taps, constants.whole>(call, pixels, taps, channel);
  };
  for_each_taps(call.shape, runs, W, use, std::make_integer_sequence<int, kTapBlock>());
}

template <class T>
void differentiate_channels(const LocalAdaptiveBackward<T>& call, const Runs& runs,
                            const Pixels<T>& pixels, T* W, T* ga) {
  const auto use = [&](auto constants, const Taps<T>& taps, int64_t channel) {
    constexpr int kTaps = constants.taps;
    constexpr bool kWhole = constants.whole;
    if (call.gx != nullptr) {
      differentiate_taps<T, kTaps, kWhole, true>(call, pixels, taps, channel, ga);
    } else {
      differentiate_taps<T, kTaps, kWhole, false>(call, pixels, taps, channel, ga);
    }
  };
  for_each_taps(call.shape, runs, W, use, std::make_integer_sequence<int, kTapBlock>());
}

}  // namespace adaconv::ADACONV_VARIANT::local
