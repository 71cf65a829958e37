// Features with features as lanes, as gradients of regression matrices need them.
#pragma once

#include "adaptive_conv_micro.h"

namespace adaconv::ADACONV_VARIANT {

// [panel of features][pixel][feature], for the pixels of consecutive tiles. A panel is as wide as
// weight_gradients takes at a time. Rows follow each other without gaps, which would leave sets of
// the first cache unused.
template <class T>
struct FeaturePanels {
  T* data;
  int64_t features, tiles;

  static int64_t columns(int64_t features) {  // whole vectors
    return (features + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
  }
  static int64_t size(int64_t features, int64_t tiles) {
    return columns(features) * tiles * kTile<T>;
  }

  int vectors(int64_t k) const { return gradient_vectors((columns(features) - k) / kLanes<T>); }
  int64_t width(int64_t k) const { return vectors(k) * kLanes<T>; }
  T* at(int64_t tile, int64_t k) const { return data + (k * tiles + tile * width(k)) * kTile<T>; }

  // Transposes a tile, packed[feature][lane].
  void pack(int64_t tile, const T* packed) const {
    for (int64_t k = 0; k < features; k += width(k)) {
      T* to = at(tile, k);
      for (int lane = 0; lane < kTile<T>; ++lane, to += width(k)) {
        for (int64_t i = 0; i < width(k); ++i) {
          to[i] = k + i < features ? packed[(k + i) * kTile<T> + lane] : T(0);
        }
      }
    }
  }
};

}  // namespace adaconv::ADACONV_VARIANT
