// Spectral normalisation: what a call consists of, shared by every native implementation.
//
//   u <- W v / |W v|,  v <- Wt u / |Wt u|  (some times),   sigma = ut W v,   y = W / sigma
//
// for each matrix W (rows x columns). Its gradient is g / sigma - (sum g W) / sigma^2 u vt.
#pragma once

#include <cstdint>

namespace adaconv {

// All arrays are contiguous. What a norm is divided by is at least eps, and so is the size of what
// stands for a sigma that is smaller.
template <class T>
struct SpectralMatrix {
  int64_t rows, columns;
  const T* W;
  T *u, *v;    // updated in place
  T* sigma;    // one number, written by the forward pass and read by the backward pass
  const T* g;  // null in the forward pass
  T* result;   // y or the gradient of W
};

// Some rows of one of the matrices: a task of one thread.
struct SpectralBlock {
  int64_t matrix, first, rows;
};

template <class T>
struct SpectralNorm {
  const SpectralMatrix<T>* matrices;
  int64_t count;
  const SpectralBlock* blocks;  // in the order of the matrices and their rows
  int64_t block_count;
  int64_t most_columns;
  T eps;
};

template <class T>
struct SpectralNormKernels {
  void (*forward)(const SpectralNorm<T>&, int64_t iterations);
  void (*backward)(const SpectralNorm<T>&);
};

struct SpectralNormChoices {
  SpectralNormKernels<float> f32;
  SpectralNormKernels<double> f64;
};

}  // namespace adaconv
