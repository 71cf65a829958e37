// Separable adaptive convolution: what a call consists of, shared by every native implementation.
//
//   u[n,c,p] = sum_t act(sum_k P1[c,t,k] d[n,k,p] + q1[c,t]) x[n,c,p+t]
//   y[n,o,p] = sum_c act(sum_k P2[o,c,k] d[n,k,p] + q2[o,c]) u[n,c,p] + b[n,o,p]
#pragma once

#include "adaptive_conv.h"

namespace adaconv {

struct AdaptiveSeparableShape {
  AdaptiveConvShape depthwise;   // the first stage: a group for each channel
  int64_t out_channels, groups;  // of the second
  // What goes through both stages before the next: so many images, or so many rows of one image.
  // One of u and its gradient is kept at a time.
  int64_t piece_images, piece_rows;
  int terms;  // numbers of bf16 that stand for one of fp32, see AdaptiveConvChoice
};

// P1, q1, P2, q2 and their gradients are contiguous; q1, q2 and b may be null. Where u is null it
// is not kept; where the signs are null, those of the second stage's weights are not.
template <class T>
struct AdaptiveSeparableForward {
  AdaptiveSeparableShape shape;
  Strided<const T> x, d, b;
  const T *P1, *q1, *P2, *q2;
  Strided<T> u, y;
  uint8_t* signs;
};

// What is null of u and the signs is computed anew. Each gradient may be null, but where there is
// gx, gP1 or gq1 there is gd.
template <class T>
struct AdaptiveSeparableBackward {
  AdaptiveSeparableShape shape;
  Strided<const T> gy, x, d;
  const T *P1, *q1, *P2, *q2;
  Strided<const T> u;
  const uint8_t* signs;
  Strided<T> gx, gd;
  T *gP1, *gq1, *gP2, *gq2;
};

template <class T>
struct AdaptiveSeparableKernels {
  void (*forward)(const AdaptiveSeparableForward<T>&);
  void (*backward)(const AdaptiveSeparableBackward<T>&);
};

// bf16 has none: it is widened to fp32, where one term is exact.
using AdaptiveSeparableKernelsByType = ByType<AdaptiveSeparableKernels>;

}  // namespace adaconv
