// What the C functions of adaptive convolution share: how arguments are read, and a kernel is
// found.
//
// The arguments that all of them take:
//
//   type       of all tensors but those that are said to be something else, see interface.h
//   x          (N, C, H, W), any strides
//   d          (N OH OW, D), contiguous: a row for each pixel of the output
//   P          (O, C / groups * kh * kw, D), contiguous
//   q          (C / groups * kh * kw, O), contiguous, or missing
//   gy         (N OH OW, O), contiguous: the gradient of y, a row for each pixel of the output
//   signs      the bits, uint32 (words, N OH OW), contiguous: words are
//              groups * ceil(C / groups * kh * kw / (32 / o)) * ceil(O / groups / o), with o = 16
//              where a group has no more outputs, else 32
//   options    int[kOptions], see Option
//   slope      of the activation below 0
//   scratch    memory for as many bytes as the function of that name says, 16-byte aligned; null
//   for
//              0. What it has is of no interest afterwards
//
// d, P, q, gy and signs must be aligned to their own numbers. Where d, P and gy are to be loaded 16
// bytes at once, they must be aligned to that, and D, O / groups be multiples of it.
#pragma once

#include <algorithm>
#include <type_traits>

#include "adaptive_conv_call.cuh"
#include "interface.h"

namespace adaconv::cuda::adaptive_conv {

enum Option {
  kKernelH,
  kKernelW,
  kStrideH,
  kStrideW,
  kPadH,  // at the top
  kPadW,  // at the left
  kDilationH,
  kDilationW,
  kOutHeight,
  kOutWidth,
  kUpsample,
  kGroups,
  kProcessors,  // multiprocessors of the GPU: loops are cut into runs until all have some
  kTf32,        // 1 where float32 may be multiplied as tf32, of 11 bits; 0 where it may not
  kWide,        // 1 where x and all gradients are float32, whatever the type
  kOptions
};

// What a kernel is compiled for. This is the whole table.
template <int kNumber>
using Number = std::integral_constant<int, kNumber>;

template <class Function>
const char* by_terms(int type, const int* options, const Function& function) {
  return by_type(type, [&](auto typed) {
    if constexpr (sizeof(typename decltype(typed)::type) == 4) {
      return options[kTf32] ? function(typed, Number<1>()) : function(typed, Number<2>());
    } else {
      return function(typed, Number<1>());
    }
  });
}

template <class Function>
const char* by_kernel(int type, const int* options, int64_t group_outputs,
                      const Function& function) {
  return by_terms(type, options, [&](auto typed, auto terms) {
    return group_outputs <= 16 ? function(typed, terms, Number<16>())
                               : function(typed, terms, Number<32>());
  });
}

// Calls function(Typed<X>()) with the X that gradients are of, in a call of T.
template <class T, class Function>
const char* by_width(const int* options, const Function& function) {
  return options[kWide] ? function(Typed<float>()) : function(Typed<T>());
}

// Bytes of memory for the numbers, of float32, that function(Typed<T>(), Number<kOutputs>()) says.
template <class Function>
int64_t bytes_of(int type, const Tensor& P, const int* options, const Function& function) {
  int64_t numbers = 0;
  by_kernel(type, options, P.sizes[0] / options[kGroups], [&](auto typed, auto, auto outputs) {
    numbers = function(typed, outputs);
    return static_cast<const char*>(nullptr);
  });
  return numbers * static_cast<int64_t>(sizeof(float));
}

inline Geometry geometry_of(const Tensor& x, const int* options) {
  return {static_cast<int>(x.sizes[2]),
          static_cast<int>(x.sizes[3]),
          options[kOutHeight],
          options[kOutWidth],
          options[kKernelH],
          options[kKernelW],
          options[kStrideH],
          options[kStrideW],
          options[kPadH],
          options[kPadW],
          options[kDilationH],
          options[kDilationW],
          options[kUpsample]};
}

template <class T>
Call<T> call_of(const Tensor& x, const Tensor& d, const Tensor& P, const Tensor& q,
                const int* options, float slope) {
  const int64_t groups = options[kGroups], D = P.sizes[2];
  return {{picture_of<const T>(x), options[kWide] != 0},
          matrix_of<T>(d.data, D),
          matrix_of<T>(P.data, D),
          static_cast<const T*>(q.data),
          geometry_of(x, options),
          d.sizes[0],
          static_cast<int>(x.sizes[1] / groups),
          static_cast<int>(P.sizes[1]),
          static_cast<int>(P.sizes[0]),
          static_cast<int>(P.sizes[0] / groups),
          static_cast<int>(D),
          slope};
}

inline bool is_contiguous(const Tensor& tensor, int dimensions) {
  int64_t stride = 1;
  for (int i = dimensions - 1; i >= 0; --i) {
    if (tensor.sizes[i] != 1 && tensor.strides[i] != stride) return false;
    stride *= tensor.sizes[i];
  }
  return true;
}

// Why the arguments fit no kernel, or null.
inline const char* refusal(const Tensor& x, const Tensor& d, const Tensor& P, const Tensor& q,
                           const int* options) {
  constexpr int64_t kMost = INT32_MAX;
  const int64_t groups = options[kGroups], taps = int64_t{options[kKernelH]} * options[kKernelW];
  const int64_t pixels = x.sizes[0] * options[kOutHeight] * options[kOutWidth];
  if (*std::min_element(options + kStrideH, options + kPadH) < 1 || options[kUpsample] < 1 ||
      groups < 1 || options[kProcessors] < 1) {
    return "strides, upsample, groups and processors must be positive";
  }
  if (P.sizes[0] % groups != 0 || x.sizes[1] != P.sizes[1] / taps * groups ||
      P.sizes[1] % taps != 0 || P.sizes[2] < 1 || !is_contiguous(P, 3)) {
    return "P must be contiguous, (O, C / groups * kh * kw, D)";
  }
  if (d.sizes[0] != pixels || d.sizes[1] != P.sizes[2] || !is_contiguous(d, 2)) {
    return "d must be contiguous, (N OH OW, D)";
  }
  if (q.data != nullptr &&
      (q.sizes[0] != P.sizes[1] || q.sizes[1] != P.sizes[0] || !is_contiguous(q, 2))) {
    return "q must be contiguous, (C / groups * kh * kw, O)";
  }
  const bool large = std::max({P.sizes[0], P.sizes[1], P.sizes[2], x.sizes[2] * options[kUpsample],
                               x.sizes[3] * options[kUpsample]}) > kMost / 2;
  return large ? "sizes other than the batch's must fit into 30 bits" : nullptr;
}

inline const char* refusal_of_gy(const Tensor& gy, const Tensor& d, const Tensor& P) {
  const bool fits = gy.sizes[0] == d.sizes[0] && gy.sizes[1] == P.sizes[0] && is_contiguous(gy, 2);
  return fits ? nullptr : "gy must be contiguous, (N OH OW, O)";
}

// How many runs a loop of so many steps is cut into, where so many blocks would each make it: until
// there are kBlocks for each multiprocessor, but into none of fewer than kSteps.
inline int runs_of(int64_t blocks, int64_t steps, const int* options) {
  constexpr int64_t kBlocks = 4, kSteps = 4;
  const int64_t wanted = kBlocks * options[kProcessors] / std::max<int64_t>(blocks, 1);
  return static_cast<int>(std::max<int64_t>(1, std::min(wanted, steps / kSteps)));
}

}  // namespace adaconv::cuda::adaptive_conv
