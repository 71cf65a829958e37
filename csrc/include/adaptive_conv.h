// Adaptive convolution: what a call consists of, shared by every native implementation.
//
//   w[n,o,c,t,p] = act(sum_k P[o,c,t,k] d[n,k,p] + q[o,c,t])
//   y[n,o,p]     = sum_{c,t} w[n,o,c,t,p] x[n,c,p+t] + b[n,o,p]
//
// The picture that is convolved is x enlarged `upsample` times: its pixel (i, j) is x's (i /
// upsample, j / upsample). It is never in memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace adaconv {

struct Bf16 {
  uint16_t bits;
};

// The type that sums, and gradients until they are complete, are kept in.
template <class T>
struct SumOf {
  using type = T;
};
template <>
struct SumOf<Bf16> {
  using type = float;
};
template <class T>
using Sum = typename SumOf<T>::type;

struct AdaptiveConvShape {
  int64_t batch, in_channels, height, width;  // of the enlarged picture
  int64_t out_channels, kernel_h, kernel_w, features, groups;
  int64_t out_height, out_width;
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int64_t upsample;
  double negative_slope;

  int64_t group_in() const { return in_channels / groups; }
  int64_t group_out() const { return out_channels / groups; }
  int64_t taps() const { return kernel_h * kernel_w; }
  int64_t rows() const { return group_in() * taps(); }  // weights per output value
};

// A tensor (N, C, H, W) with any strides, counted in elements.
template <class T>
struct Strided {
  T* data = nullptr;
  int64_t n = 0, c = 0, h = 0, w = 0;

  T* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + in * n + ic * c + ih * h + iw * w;
  }
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
};

}  // namespace adaconv
