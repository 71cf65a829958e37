// What the kernels of local adaptive convolution share: some points of the grid and some outputs,
// and what lies where.
//
// A point g of the grid has W_g, the weights (O, K) that are regressed there, K being the taps
// (t, c) of a group's channels, and a window of slots: the rectangle of output pixels p that have
// it as a neighbour. With a_g the sum of those filter values of a pixel that belong to g, there are
// products on the tensor cores, of matrices of many points or of one,
//
//   regress   W[g,(o,t,c)]  = act(sum_k d[g,k] P[(o,c,t),k] + q)
//   apply     Z_g[p,o]      = sum_{t,c} x[p+t,c] W_g[o,(t,c)]
//   input     gx_g[i,c]     = sum_{t,o} u_g[p,o] W_g[o,(t,c)]         of the p with p + t = i
//   weights   gW_g[o,(t,c)] = act' sum_p u_g[p,o] x[p+t,c]
//   features  gd[g,k]       = sum_{o,t,c} gW[g,(o,t,c)] P[(o,c,t),k]
//   matrix    gP[(o,t,c),k] = sum_g gW[g,(o,t,c)] d[g,k]
//
// and between them go, over what lies at pixels and what lies at points,
//
//   mix       y[p,o]    = sum_j a_j[p] Z_{g_j(p)}[p,o]
//   filters   ga_j[p]   = sum_o gy[p,o] Z_{g_j(p)}[p,o]
//   shares    u_g[p,o]  = a_g[p] gy[p,o]
//   gather    gx[i,c]   = sum_g gx_g[i,c]
//   biases    gq[o,t,c] = sum_g gW[g,(o,t,c)]
//
// The mixed weights are nowhere, and W is there for some points and outputs at a time, a chunk,
// whose results are added to what others gave. In memory W has the sign of what was activated,
// which where the slope is negative is not its own. gW takes its place.
#pragma once

#include <initializer_list>

#include "picture.cuh"
#include "product.cuh"

namespace adaconv::cuda::local_adaptive {

constexpr int kPlaceThreads = 256;  // of the kernels without a product: each has a number

// The points of a picture's pixels, see adaconv/reference/local_adaptive.py, and how many slots
// they have in each direction.
struct Grid {
  int pitch, side, shift, height, width, slots_h, slots_w;

  __host__ __device__ int slots() const { return slots_h * slots_w; }
  __host__ __device__ int neighbours() const { return side * side; }
  // The first pixel of a point in one direction, and that of its window: it may lie before the
  // picture.
  __host__ __device__ int start(int point) const { return (point - side + 2) * pitch - shift; }
  __host__ __device__ int first(int point) const {
    const int pixel = start(point);
    return pixel > 0 ? pixel : 0;
  }
  // The i-th neighbour of a pixel in one direction, of so many points.
  __device__ __forceinline__ int neighbour(int pixel, int i, int points) const {
    return min(max((pixel + shift) / pitch - 1 + i, 0), points - 1);
  }
};

// The pixels that have a point as a neighbour: slots, as many for each point, that begin at one.
struct Window {
  int64_t n;  // picture
  int top, left, bottom, right, slots_w;

  // The pixel of a slot; n is negative where there is none.
  __device__ __forceinline__ Pixel pixel(int slot) const {
    const int h = top + slot / slots_w, w = left + slot % slots_w;
    return {h < bottom && w < right ? n : -1, h, w};
  }
};

// Pointers are those of the first of the chunk's points, outputs and channels; rows of pictures
// have those of all chunks.
template <class T>
struct Chunk {
  const T *x, *d, *P, *q, *gy;  // (pixels, C), (points, D), (O, C, taps, D), (O, taps, C), as y
  Picture<const T> a;
  T* W;  // (points, outputs, taps, C)
  Geometry geometry;
  Grid grid;
  int64_t first, points;  // number of the first point, among those of all pictures
  int output, channel;    // those of the first, among all
  int outputs, group_outputs, depth, features;  // depth: channels of a group
  int all_channels, all_outputs;
  float slope;

  __host__ __device__ int groups() const { return outputs / group_outputs; }
  __host__ __device__ int taps() const { return geometry.taps() * depth; }  // of an output
  __host__ __device__ int weights() const { return outputs * taps(); }
  // The pixels of x, enlarged and padded, that a window reads.
  __host__ __device__ int span_h() const {
    return (grid.slots_h - 1) * geometry.stride_h + (geometry.kernel_h - 1) * geometry.dilation_h +
           1;
  }
  __host__ __device__ int span_w() const {
    return (grid.slots_w - 1) * geometry.stride_w + (geometry.kernel_w - 1) * geometry.dilation_w +
           1;
  }
  __host__ __device__ int span() const { return span_h() * span_w(); }

  __device__ __forceinline__ Window window(int64_t g) const {
    const Pixel at = pixel_of(first + g, grid.height, grid.width);
    return {at.n,
            grid.first(at.h),
            grid.first(at.w),
            min(grid.start(at.h) + grid.side * grid.pitch, geometry.out_height),
            min(grid.start(at.w) + grid.side * grid.pitch, geometry.out_width),
            grid.slots_w};
  }
  // The slot, among those of all points, that a pixel has at its neighbour j; negative where that
  // is a point of another chunk.
  __device__ __forceinline__ int64_t slot(const Pixel& pixel, int j) const {
    const int h = grid.neighbour(pixel.h, j / grid.side, grid.height);
    const int w = grid.neighbour(pixel.w, j % grid.side, grid.width);
    const int64_t g = (pixel.n * grid.height + h) * grid.width + w - first;
    if (g < 0 || g >= points) return -1;
    return g * grid.slots() + (pixel.h - grid.first(h)) * grid.slots_w + pixel.w - grid.first(w);
  }
  __device__ __forceinline__ Pixel out_pixel(int64_t p) const {
    return pixel_of(p, geometry.out_height, geometry.out_width);
  }
  __device__ __forceinline__ int64_t out_number(const Pixel& pixel) const {
    return (pixel.n * geometry.out_height + pixel.h) * geometry.out_width + pixel.w;
  }

  // Where the numbers of tap (t, c) of an output's pixel begin; null where they are 0.
  __device__ __forceinline__ const T* patch(const Pixel& pixel, int group, int tap) const {
    const int t = tap / depth;
    const Tap of_kernel = {0, t / geometry.kernel_w, t % geometry.kernel_w};
    const Pixel source = source_of(geometry, pixel, of_kernel);
    if (source.n < 0) return nullptr;
    const int64_t row = (source.n * geometry.height + source.h) * geometry.width + source.w;
    return x + row * all_channels + group * depth + tap % depth;
  }
  // Where P has the row by which weight (o, t, c) is regressed, and it is feature k's turn.
  __device__ __forceinline__ const T* row_of_P(int weight, int k) const {
    const int tap = weight % taps();
    const int64_t row = weight - tap + tap % depth * geometry.taps() + tap / depth;
    return P + row * features + k;
  }
  // Where W, or its gradient, has a weight of an output.
  __device__ __forceinline__ T* weight(int64_t g, int group, int o, int tap) const {
    return W + (g * outputs + group * group_outputs + o) * taps() + tap;
  }
};

// Whether runs of 16 bytes, which begin at multiples of all these numbers, are aligned.
template <class T>
bool aligned(const void* data, std::initializer_list<int> multiples) {
  bool fits = reinterpret_cast<uintptr_t>(data) % 16 == 0;
  for (const int multiple : multiples) fits = fits && multiple * sizeof(T) % 16 == 0;
  return fits;
}

// What words of W keep as factors: where the slope is negative, no weight is.
template <class T>
uint32_t bits_of_W(float slope) {
  constexpr uint32_t kMagnitudes = sizeof(T) == 2 ? 0x7fff7fff : 0x7fffffff;
  return slope < 0 ? kMagnitudes : ~uint32_t{0};
}

// Which product of points, and the window of its point.
struct PlaceInWindow : product::Place {
  Window window;
};

}  // namespace adaconv::cuda::local_adaptive
