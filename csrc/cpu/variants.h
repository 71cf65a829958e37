// The table of instruction-set variants: the same sources compiled several times, chosen at run
// time.
#pragma once

#include <type_traits>

#include "adaptive_conv.h"

namespace adaconv {

// The layout of the saved sign bits: pixels are cut into bands of whole rows, bands into tiles.
struct SignLayout {
  int64_t band_pixels;  // a band has as many whole output rows as fit into this, at least one
  int64_t tile_pixels;  // pixels that a tile holds
  int64_t outputs;      // the outputs of a group are rounded up to a multiple of this
  int64_t row_bytes;    // bytes that hold the bits of one weight for the pixels of one tile
};

template <class T>
struct AdaptiveConvKernels {
  SignLayout signs;
  void (*forward)(const AdaptiveConvForward<T>&);
  void (*backward)(const AdaptiveConvBackward<T>&);
};

// The kernels for a number of features and of outputs of a group, null where there are none.
// `terms` is how many numbers of bf16 have to stand for one of fp32: 3 is exact, 2 and 1 are faster
// on some CPUs.
template <class T>
using AdaptiveConvChoice = const AdaptiveConvKernels<T>* (*)(int64_t features, int64_t outputs,
                                                             int terms);

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
  bool (*supported)();  // by this CPU
  bool (*preferred)();  // over those that follow; one that is not can be asked for
  AdaptiveConvChoice<float> adaptive_conv_f32;
  AdaptiveConvChoice<double> adaptive_conv_f64;
  AdaptiveConvChoice<Bf16> adaptive_conv_bf16;
  MultiplyRates multiply_rates;

  template <class T>
  AdaptiveConvChoice<T> adaptive_conv() const {
    if constexpr (std::is_same_v<T, float>) return adaptive_conv_f32;
    if constexpr (std::is_same_v<T, double>) return adaptive_conv_f64;
    if constexpr (std::is_same_v<T, Bf16>) return adaptive_conv_bf16;
  }
};

// All variants of this build, the best first; the last runs on every CPU of the architecture.
const Variant* variants(int* count);

// The one in use: the first that this CPU supports and prefers, or the one that ADACONV_CPU names.
// Throws std::runtime_error where that name is unknown or the CPU lacks it.
const Variant& active_variant();

}  // namespace adaconv
