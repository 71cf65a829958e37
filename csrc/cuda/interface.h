// What every C function of this folder takes and returns.
//
// All return null, or a message that says why nothing was computed; it lives until the next call.
// They start kernels on the stream and do not wait for them.
#pragma once

#include <cstdint>

#include "device.cuh"

namespace adaconv::cuda {

constexpr int kMostDimensions = 8;

// A tensor with any strides, counted in elements; where data is null it is not there.
struct Tensor {
  void* data;
  int64_t sizes[kMostDimensions], strides[kMostDimensions];
};

enum Type : int { kFloat32, kFloat16, kBFloat16 };

template <class T>
struct Typed {
  using type = T;
};

// Calls function(Typed<T>()) with the T of that number.
template <class Function>
const char* by_type(int type, const Function& function) {
  switch (type) {
    case kFloat32:
      return function(Typed<float>());
    case kFloat16:
      return function(Typed<Half>());
    case kBFloat16:
      return function(Typed<BFloat16>());
    default:
      return "the dtype must be 0, 1 or 2: float32, float16 or bfloat16";
  }
}

}  // namespace adaconv::cuda

#define ADACONV_CUDA_FUNCTION extern "C" __attribute__((visibility("default")))
