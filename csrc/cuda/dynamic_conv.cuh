// The kernels of dynamic convolution, which are bound by reading or writing w once: neighbouring
// lanes have neighbouring pixels, of w as of the pictures.
//
// The channels fall into units. A unit is a group of channels and its filters m, or one filter and
// the groups r that share it. With c a channel of a group, t a tap:
//
//   A    y[r,m,p]    = sum_{c,t} w[m,c,t,p] x[r,c,p+t] + b[r,m,p]
//   Bx   gx[r,c,q]   = sum_{m,t} w[m,c,t,q-t] gy[r,m,q-t]
//   Bw   gw[m,c,t,p] = sum_r gy[r,m,p] x[r,c,p+t]
//
// A and Bx are one kernel: of m and c one is kept and the other summed. A thread has a pixel and
// some rows: of what is kept, or groups that share a filter, whose weights it then reads once.
#pragma once

#include "picture.cuh"

namespace adaconv::cuda::dynamic_conv {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kMostRows = 8, kTaps = 4;

// (N, units, kept, summed, kh, kw, OH, OW), any strides.
template <class T>
struct Weights {
  T* data;
  int64_t n, unit, kept, summed, tap_h, tap_w, h, w;

  __device__ __forceinline__ T* at(int64_t unit_number, int64_t row, const Tap& tap,
                                   const Pixel& pixel) const {
    return data + pixel.n * n + unit_number * unit + row * kept + tap.channel * summed +
           tap.h * tap_h + tap.w * tap_w + pixel.h * h + pixel.w * w;
  }
};

template <class T>
struct Sum {
  Picture<const T> source;
  Weights<const T> w;
  Picture<const T> b;
  Picture<T> result;
  Geometry geometry;
  int64_t pixels;
  int kept, summed, groups;  // the groups of a unit
};

// Goes on to the tap that is kWarps further.
__device__ __forceinline__ void advance(Tap& tap, const Tap& step, const Geometry& g) {
  tap.w += step.w;
  tap.h += step.h;
  tap.channel += step.channel;
  if (tap.w >= g.kernel_w) tap.w -= g.kernel_w, ++tap.h;
  if (tap.h >= g.kernel_h) tap.h -= g.kernel_h, ++tap.channel;
}

template <int kRows>
constexpr size_t sum_shared_bytes() {
  return shared_bytes<float>(kWarps * kRows * kWarp);
}

// Of 32 pixels, each warp of a block adds up every kWarps-th tap. Grid (tiles of pixels, tiles of
// rows).
template <class T, bool kTransposed, int kRows, bool kShared>
__global__ void __launch_bounds__(kThreads) sum_kernel(Sum<T> call) {
  const Geometry& g = call.geometry;
  const int rows = kShared ? call.groups : call.kept;
  const int tiles = ceil_div(rows, kRows);
  const int tile = blockIdx.y % tiles, row0 = tile * kRows;
  const int above = blockIdx.y / tiles;  // number of the unit, and of what is kept where shared
  const int unit = kShared ? above / call.kept : above, kept = kShared ? above % call.kept : row0;
  const int group = kShared ? unit * call.groups + row0 : unit;

  const int64_t p = int64_t{blockIdx.x} * kWarp + lane();
  const Pixel pixel =
      kTransposed ? pixel_of(p, g.height, g.width) : pixel_of(p, g.out_height, g.out_width);
  const bool exists = p < call.pixels;
  float sums[kRows] = {};
  if (exists) {
    const Tap step = tap_of(kWarps, g);
    for (Tap tap = tap_of(warp(), g); tap.channel < call.summed; advance(tap, step, g)) {
      const Read read = read_by<kTransposed>(g, pixel, tap);
      if (!read.inside) continue;
      const T* source = call.source.at(read.source.n, int64_t{group} * call.summed + tap.channel,
                                       read.source.h, read.source.w);
      const T* w = call.w.at(unit, kept, tap, read.weight);
      const float first = to_float(load(kShared ? w : source));
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const T* other = kShared ? source + i * (call.summed * call.source.c) : w + i * call.w.kept;
        if (row0 + i < rows) sums[i] += first * to_float(load(other));
      }
    }
  }

  SharedMemory shared;
  float* parts = shared.take<float>(kWarps * kRows * kWarp);
#pragma unroll
  for (int i = 0; i < kRows; ++i) store(parts + (warp() * kRows + i) * kWarp + lane(), sums[i]);
  __syncthreads();
  for (int i = warp(); i < kRows; i += kWarps) {
    if (!exists || row0 + i >= rows) return;
    const int64_t channel =
        kShared ? int64_t{group + i} * call.kept + kept : int64_t{unit} * call.kept + row0 + i;
    const bool biased = call.b.data != nullptr;
    float sum = biased ? to_float(load(call.b.at(pixel.n, channel, pixel.h, pixel.w))) : 0.0f;
#pragma unroll
    for (int part = 0; part < kWarps; ++part) {
      sum += load(parts + (part * kRows + i) * kWarp + lane());
    }
    store(call.result.at(pixel.n, channel, pixel.h, pixel.w), from_float<T>(sum));
  }
}

template <class T>
struct Products {
  Picture<const T> gy, x;
  Weights<T> gw;
  Geometry geometry;
  int64_t pixels;
  int filters, depth, groups;  // filters and channels of a group, groups of a unit
};

// Grid (tiles of pixels, tiles of filters, tiles of taps).
template <class T, int kRows>
__global__ void __launch_bounds__(kThreads) weight_kernel(Products<T> call) {
  const Geometry& g = call.geometry;
  const int64_t p = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (p >= call.pixels) return;
  const Pixel pixel = pixel_of(p, g.out_height, g.out_width);
  const int tiles = ceil_div(call.filters, kRows);
  const int unit = blockIdx.y / tiles, m0 = blockIdx.y % tiles * kRows;
  Tap taps[kTaps];
#pragma unroll
  for (int j = 0; j < kTaps; ++j) taps[j] = tap_of(blockIdx.z * kTaps + j, g);

  float sums[kTaps][kRows] = {};
  for (int r = 0; r < call.groups; ++r) {
    const int64_t group = int64_t{unit} * call.groups + r;
    float gy[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const bool there = m0 + i < call.filters;
      const T* at = call.gy.at(pixel.n, group * call.filters + m0 + i, pixel.h, pixel.w);
      gy[i] = there ? to_float(load(at)) : 0.0f;
    }
#pragma unroll
    for (int j = 0; j < kTaps; ++j) {
      const bool there = taps[j].channel < call.depth;
      const auto channel = static_cast<int>(group * call.depth + taps[j].channel);
      const Tap tap = {channel, taps[j].h, taps[j].w};
      const float x = there ? under(call.x, g, pixel, tap) : 0.0f;
#pragma unroll
      for (int i = 0; i < kRows; ++i) sums[j][i] += gy[i] * x;
    }
  }
#pragma unroll
  for (int j = 0; j < kTaps; ++j) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (taps[j].channel >= call.depth || m0 + i >= call.filters) continue;
      store(call.gw.at(unit, m0 + i, taps[j], pixel), from_float<T>(sums[j][i]));
    }
  }
}

}  // namespace adaconv::cuda::dynamic_conv
