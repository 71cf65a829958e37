// The table of instruction-set variants: the same sources compiled several times, chosen at run
// time.
#pragma once

#include "adaptive_conv.h"

namespace adaconv {

// The layout of the saved sign bits: pixels are cut into bands of whole rows, bands into tiles.
struct SignLayout {
  int64_t band_pixels;    // a band has as many whole output rows as fit into this, at least one
  int64_t tile_pixels;    // pixels that a tile holds
  int64_t bytes_per_row;  // bytes that hold the bits of one weight for the pixels of one tile
};

template <class T>
struct AdaptiveConvKernels {
  void (*forward)(const AdaptiveConvForward<T>&);
  void (*backward)(const AdaptiveConvBackward<T>&);
  SignLayout signs;
};

// Each makes at least so many additions and multiplications on all threads, as fast as the
// instruction set can, and returns how many; bf16 sums in fp32, in pairs where there are such
// instructions.
struct MultiplyRates {
  int64_t (*f32)(int64_t);
  int64_t (*f64)(int64_t);
  int64_t (*bf16)(int64_t);
};

struct Variant {
  const char* name;
  bool (*supported)();
  AdaptiveConvKernels<float> adaptive_conv_f32;
  AdaptiveConvKernels<double> adaptive_conv_f64;
  MultiplyRates multiply_rates;

  template <class T>
  const AdaptiveConvKernels<T>& adaptive_conv() const;
};

template <>
inline const AdaptiveConvKernels<float>& Variant::adaptive_conv<float>() const {
  return adaptive_conv_f32;
}
template <>
inline const AdaptiveConvKernels<double>& Variant::adaptive_conv<double>() const {
  return adaptive_conv_f64;
}

// All variants of this build, the best first; the last runs on every CPU of the architecture.
const Variant* variants(int* count);

// The one in use: the first that this CPU supports, or the one that ADACONV_CPU names.
// Throws std::runtime_error where that name is unknown or the CPU lacks it.
const Variant& active_variant();

}  // namespace adaconv
