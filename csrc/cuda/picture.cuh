// Pictures, and how the outputs of a convolution read them.
#pragma once

#include "interface.h"

namespace adaconv::cuda {

// (N, channels, H, W), with any strides; not there where data is null.
template <class T>
struct Picture {
  T* data;
  int64_t n, c, h, w;

  __device__ __forceinline__ int64_t offset(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return in * n + ic * c + ih * h + iw * w;
  }
  __device__ __forceinline__ T* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + offset(in, ic, ih, iw);
  }
  __device__ __forceinline__ float read(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return to_float(load(at(in, ic, ih, iw)));
  }
};

template <class T>
Picture<T> picture_of(const Tensor& tensor) {
  return {static_cast<T*>(tensor.data), tensor.strides[0], tensor.strides[1], tensor.strides[2],
          tensor.strides[3]};
}

// A picture of T or, where it is wide, of float: known when a kernel runs, which reads little of
// it.
template <class T>
struct Source {
  Picture<const T> picture;
  bool wide;

  __device__ __forceinline__ float read(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    if constexpr (sizeof(T) < sizeof(float)) {
      const auto* numbers = reinterpret_cast<const float*>(picture.data);
      if (wide) return load(numbers + picture.offset(in, ic, ih, iw));
    }
    return picture.read(in, ic, ih, iw);
  }
};

// x is enlarged `upsample` times, padded, and read by the taps of a kernel. Height and width are
// those of x itself.
struct Geometry {
  int height, width, out_height, out_width;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, upsample;

  __host__ __device__ int taps() const { return kernel_h * kernel_w; }
};

// A pixel of a batch of pictures, by its place among all of them.
struct Pixel {
  int64_t n;
  int h, w;
};

__device__ __forceinline__ Pixel pixel_of(int64_t p, int height, int width) {
  const int64_t row = p / width;
  return {row / height, static_cast<int>(row % height), static_cast<int>(p % width)};
}

// A tap of the kernel of an input channel: number (channel * kernel_h + h) * kernel_w + w.
struct Tap {
  int channel, h, w;
};

__device__ __forceinline__ Tap tap_of(int j, const Geometry& geometry) {
  const int row = j / geometry.kernel_w;
  return {row / geometry.kernel_h, row % geometry.kernel_h, j % geometry.kernel_w};
}

// The pixel that is read by a tap of a pixel of the result, and that whose weight it is: of x,
// which is enlarged, by one of the output, or the other way round.
struct Read {
  Pixel source, weight;
  bool inside;
};

template <bool kTransposed>
__device__ __forceinline__ Read read_by(const Geometry& g, const Pixel& pixel, const Tap& tap) {
  if constexpr (kTransposed) {
    const int top = pixel.h + g.pad_h - tap.h * g.dilation_h;
    const int left = pixel.w + g.pad_w - tap.w * g.dilation_w;
    const Pixel at = {pixel.n, top / g.stride_h, left / g.stride_w};
    const bool inside = top >= 0 && left >= 0 && top % g.stride_h == 0 && left % g.stride_w == 0 &&
                        at.h < g.out_height && at.w < g.out_width;
    return {at, at, inside};
  } else {
    const Pixel at = {pixel.n, pixel.h * g.stride_h - g.pad_h + tap.h * g.dilation_h,
                      pixel.w * g.stride_w - g.pad_w + tap.w * g.dilation_w};
    const bool inside =
        at.h >= 0 && at.h < g.height * g.upsample && at.w >= 0 && at.w < g.width * g.upsample;
    return {at, pixel, inside};
  }
}

// The pixel of x that a pixel of the output reads by a tap; outside of the picture n is negative.
__device__ __forceinline__ Pixel source_of(const Geometry& g, const Pixel& pixel, const Tap& tap) {
  const Read read = read_by<false>(g, pixel, tap);
  const Pixel& at = read.source;
  return {read.inside ? at.n : -1, at.h / g.upsample, at.w / g.upsample};
}

// What a pixel of the output reads of x by a tap; 0 outside of the picture.
template <class From>
__device__ __forceinline__ float under(const From& x, const Geometry& g, const Pixel& pixel,
                                       const Tap& tap) {
  const Pixel at = source_of(g, pixel, tap);
  return at.n < 0 ? 0 : x.read(at.n, tap.channel, at.h, at.w);
}

// Calls function(oh, ow, number of the tap in its channel) for each output pixel that reads the
// pixel of x; taps come in order, and so do the pixels that each is enlarged to.
template <class Function>
__device__ __forceinline__ void for_each_reader(const Geometry& g, const Pixel& pixel,
                                                const Function& function) {
  for (int tap = 0; tap < g.taps(); ++tap) {
    const int top = pixel.h * g.upsample + g.pad_h - tap / g.kernel_w * g.dilation_h;
    const int left = pixel.w * g.upsample + g.pad_w - tap % g.kernel_w * g.dilation_w;
    for (int h = max(top, 0); h < top + g.upsample; ++h) {
      for (int w = max(left, 0); w < left + g.upsample; ++w) {
        const bool reads = h % g.stride_h == 0 && h / g.stride_h < g.out_height &&
                           w % g.stride_w == 0 && w / g.stride_w < g.out_width;
        if (reads) function(h / g.stride_h, w / g.stride_w, tap);
      }
    }
  }
}

}  // namespace adaconv::cuda
