// Dynamic convolution, whose weights are given at every pixel: what a call consists of.
//
//   y[n,o,p]          = sum_{c,t} w[n,s,c,t,p] x[n,c,p+t] + b[n,o,p]
//   gx[n,c,p+t]      += sum_{o,p} w[n,s,c,t,p] gy[n,o,p]
//   gw[n,s,c,t,p]     = sum_o gy[n,o,p] x[n,c,p+t], over the outputs o that have the filter s
//
// There is a filter for every output, or, with fewer filters than groups, one for each run of
// neighbouring groups, which have one output each.
#pragma once

#include "conv_shape.h"
#include "tensor.h"

namespace adaconv {

struct DynamicConvShape : ConvShape {
  int64_t filters, groups;

  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return filters < groups ? 1 : filters / groups; }
  int64_t first_filter(int64_t group) const { return group * filters / groups; }
  int64_t sharing() const { return filters < groups ? groups / filters : 1; }  // groups of a filter
};

// Weights (N, S, C / groups, kh, kw, OH, OW) with any strides, counted in elements.
template <class T>
struct StridedFilters {
  T* data = nullptr;
  int64_t n = 0, s = 0, c = 0, u = 0, v = 0, h = 0, w = 0;

  T* at(int64_t in, int64_t is, int64_t ic, int64_t iu, int64_t iv, int64_t ih) const {
    return data + in * n + is * s + ic * c + iu * u + iv * v + ih * h;
  }
};

template <class T>
struct DynamicConvForward {
  DynamicConvShape shape;
  Strided<const T> x;
  StridedFilters<const T> w;
  Strided<const T> b;  // may be null
  Strided<T> y;
};

template <class T>
struct DynamicConvInput {
  DynamicConvShape shape;
  Strided<const T> gy;
  StridedFilters<const T> w;
  Strided<Sum<T>> gx;  // is added to
};

template <class T>
struct DynamicConvWeight {
  DynamicConvShape shape;
  Strided<const T> gy, x;
  T* gw;  // contiguous
};

template <class T>
struct DynamicConvKernel {
  void (*forward)(const DynamicConvForward<T>&);
  void (*input)(const DynamicConvInput<T>&);
  void (*weight)(const DynamicConvWeight<T>&);
};
using DynamicConvKernels = ByType<DynamicConvKernel>;

}  // namespace adaconv
