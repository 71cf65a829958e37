// What the C functions of separable adaptive convolution share.
//
// They compute the first stage, and take the arguments of adaptive_conv_launch.cuh, as for a
// convolution of as many groups as channels:
//
//   P          (C, kh * kw, D), contiguous
//   q          (kh * kw, C), contiguous, or missing
//   gu         (N, C, OH, OW), float32, any strides: the gradient of u
//   signs      the bits, uint32 (kh * kw * ceil(C / 32), N OH OW), contiguous
#pragma once

#include "adaptive_conv_launch.cuh"
#include "adaptive_separable_call.cuh"

namespace adaconv::cuda::adaptive_separable {

// What a kernel is compiled for: a type, and the terms that factors are multiplied as.
template <class Function>
const char* by_product(int type, const int* options, const Function& function) {
  return by_kernel(type, options, kChannels,
                   [&](auto typed, auto terms, auto) { return function(typed, terms); });
}

// The channels are the outputs of a single group.
template <class T>
Call<T> first_stage(const Tensor& x, const Tensor& d, const Tensor& P, const Tensor& q,
                    const int* options, float slope) {
  Call<T> call = call_of<T>(x, d, P, q, options, slope);
  call.group_outputs = call.outputs;
  return call;
}

}  // namespace adaconv::cuda::adaptive_separable
