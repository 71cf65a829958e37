// Local adaptive convolution: what a call consists of, shared by every native implementation.
//
//   w[g,n,o,t,c] = act(sum_k P[o,c,t,k] d[n,g,k] + q[o,c,t])   at the points g of a grid
//   y[n,p,o]    += sum_j a[n,p,j] sum_{t,c} w[g_j(p),n,o,t,c] x[n,p+t,c]
//
// P, q and their gradients are contiguous, and so are all others, with the channels last. See
// adaconv/reference/local_adaptive.py for the grid.
#pragma once

#include "tensor.h"

namespace adaconv {

struct LocalAdaptiveShape {
  int64_t batch, height, width, in_channels;  // of the picture, which has its pads
  int64_t out_channels, kernel_h, kernel_w, features, out_height, out_width;
  int64_t stride_h, stride_w, dilation_h, dilation_w, groups;
  int64_t pitch, side;  // a pixel has side x side neighbours
  double negative_slope;

  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
  bool depthwise() const { return group_in() == 1 && group_out() == 1; }
  int64_t taps() const { return kernel_h * kernel_w; }
  int64_t rows() const { return taps() * group_in(); }       // weights per output value
  int64_t weights() const { return out_channels * rows(); }  // of a grid point
  int64_t grid_h() const { return (out_height + pitch - 1) / pitch; }
  int64_t grid_w() const { return (out_width + pitch - 1) / pitch; }
};

// q may be null. The features are a multiple of kLocalAdaptiveSlack, and so many numbers more can
// be read behind the picture. y is added to.
constexpr int64_t kLocalAdaptiveSlack = 16;

template <class T>
struct LocalAdaptiveForward {
  LocalAdaptiveShape shape;
  const T *x, *d, *P, *q, *a;
  T* y;
};

// All gradients are added to. gx and ga may be null together, as may gd, gP and gq.
template <class T>
struct LocalAdaptiveBackward {
  LocalAdaptiveShape shape;
  const T *gy, *x, *d, *P, *q, *a;
  T *gx, *gd, *gP, *gq, *ga;
};

template <class T>
struct LocalAdaptiveKernels {
  void (*forward)(const LocalAdaptiveForward<T>&);
  void (*backward)(const LocalAdaptiveBackward<T>&);
};

// bf16 has none: it is widened to fp32.
using LocalAdaptiveKernelsByType = ByType<LocalAdaptiveKernels>;

}  // namespace adaconv
