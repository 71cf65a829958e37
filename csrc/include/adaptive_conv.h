// Adaptive convolution: what a call consists of, shared by every native implementation.
//
//   w[n,o,c,t,p] = act(sum_k P[o,c,t,k] d[n,k,p] + q[o,c,t])
//   y[n,o,p]     = sum_{c,t} w[n,o,c,t,p] x[n,c,p+t] + b[n,o,p]
#pragma once

#include "conv_shape.h"
#include "tensor.h"

namespace adaconv {

struct AdaptiveConvShape : ConvShape {
  int64_t out_channels, features, groups;
  double negative_slope;

  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
  int64_t rows() const { return group_in() * taps(); }  // weights per output value
};

// P, q and their gradients are contiguous; q, b, the sign bits and each gradient may be null. A
// backward pass adds to gx, writes the other gradients, and recomputes sign bits that it lacks.
template <class T>
struct AdaptiveConvForward {
  AdaptiveConvShape shape;
  Strided<const T> x, d, b;
  const T* P;
  const Sum<T>* q;
  Strided<T> y;
  uint8_t* signs;
};

template <class T>
struct AdaptiveConvBackward {
  AdaptiveConvShape shape;
  Strided<const T> gy, x, d;
  const T* P;
  const Sum<T>* q;
  const uint8_t* signs;
  Strided<Sum<T>> gx, gd;  // both or neither
  Sum<T>* gP;
  Sum<T>* gq;
  bool adds = false;  // to gP and gq; they are written otherwise
};

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
using AdaptiveConvChoices = ByType<AdaptiveConvChoice>;

}  // namespace adaconv
