// Minibatch discrimination: what a call consists of, shared by every native implementation.
//
//   k[i,j,b] = exp(-sum_c |M[i,b,c] - Z[j,b,c]|)
//   o[i,b]   = sum_j k[i,j,b]    without j = i + skip
//
// Where Z is null the rows of M are compared with each other, each with all but itself.
#pragma once

#include <cstdint>

namespace adaconv {

// All arrays are contiguous.
template <class T>
struct MinibatchDiscrimination {
  int64_t rows, others, kernels, size;  // M is (rows, kernels, size), Z is (others, kernels, size)
  int64_t skip;
  const T *M, *Z;
};

template <class T>
struct MinibatchDiscriminationKernels {
  void (*forward)(const MinibatchDiscrimination<T>&, T* o);
  // gZ is null where Z is; gM then has the gradient in both places of M.
  void (*backward)(const MinibatchDiscrimination<T>&, const T* g, T* gM, T* gZ);
};

struct MinibatchDiscriminationChoices {
  MinibatchDiscriminationKernels<float> f32;
  MinibatchDiscriminationKernels<double> f64;
};

}  // namespace adaconv
