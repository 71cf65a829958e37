// The kernels of local adaptive convolution's gradients, see local_adaptive_call.cuh.
#pragma once

#include "local_adaptive_forward.cuh"

namespace adaconv::cuda::local_adaptive {

using adaptive_conv::gate;

// Sums over outputs of gy Z, (points, slots, parts of the outputs).
template <class T>
struct Filters : Apply<T> {
  int parts;

  Filters(const Chunk<T>& chunk, float* sums, int parts) : Apply<T>(chunk, sums), parts(parts) {}

  template <class Numbers>
  __device__ __forceinline__ void finish(const PlaceInWindow& at, int slot,
                                         const Numbers& numbers) const {
    const Chunk<T>& chunk = this->chunk;
    const Pixel pixel = at.window.pixel(slot);
    const bool live = slot < this->rows && pixel.n >= 0;
    float total = 0;
    if (live) {
      const T* gy = chunk.gy + chunk.out_number(pixel) * chunk.all_outputs;
      numbers([&](int o, float sum) {
        total += sum * to_float(load(gy + at.inner * this->columns + o));
      });
    }
#pragma unroll
    for (int other = 1; other < 4; other *= 2) {
      total += __shfl_xor_sync(kAllLanes, total, other);
    }
    if (live && lane() % 4 == 0) {
      store(this->Z + (at.outer * this->rows + slot) * parts + at.column_part, total);
    }
  }
};

// Adds to ga, (pixels, J). Grid (tiles of the pixels * J from pixel `start` on, to `stop`).
template <class T>
__global__ void __launch_bounds__(kPlaceThreads)
    filters_kernel(Chunk<T> chunk, const float* sums, int parts, float* ga, int64_t start,
                   int64_t stop) {
  const int neighbours = chunk.grid.neighbours();
  const int64_t i = start * neighbours + int64_t{blockIdx.x} * kPlaceThreads + threadIdx.x;
  if (i >= stop * neighbours) return;
  const auto j = static_cast<int>(i % neighbours);
  const int64_t slot = chunk.slot(chunk.out_pixel(i / neighbours), j);
  if (slot < 0) return;
  float total = load(ga + i);
  for (int part = 0; part < parts; ++part) total += load(sums + slot * parts + part);
  store(ga + i, total);
}

// u, (points, slots, outputs), 0 in slots without a pixel. Grid (tiles of all its numbers).
template <class T>
__global__ void __launch_bounds__(kPlaceThreads) shares_kernel(Chunk<T> chunk, T* u) {
  const int64_t i = int64_t{blockIdx.x} * kPlaceThreads + threadIdx.x;
  const int64_t row = i / chunk.outputs, g = row / chunk.grid.slots();
  if (g >= chunk.points) return;
  const Pixel pixel = chunk.window(g).pixel(static_cast<int>(row % chunk.grid.slots()));
  float share = 0;
  if (pixel.n >= 0) {
    float a = 0;
    for (int j = 0; j < chunk.grid.neighbours(); ++j) {
      if (chunk.slot(pixel, j) != row) continue;
      a += to_float(load(chunk.a.at(pixel.n, j, pixel.h, pixel.w)));
    }
    const T* gy = chunk.gy + chunk.out_number(pixel) * chunk.all_outputs;
    share = a * to_float(load(gy + i % chunk.outputs));
  }
  store(u + i, from_float<T>(share));
}

// The gradient of x by point, (points, pixels of a span, channels).
template <class T>
struct Inputs : product::Product<T, Runs::kAlong, Runs::kAcross> {
  using Base = product::Product<T, Runs::kAlong, Runs::kAcross>;
  Chunk<T> chunk;
  const T* u;
  float* parts;

  Inputs(const Chunk<T>& chunk, const T* u, float* parts)
      : Base{chunk.span(),
             chunk.depth,
             chunk.geometry.taps() * chunk.group_outputs,
             aligned<T>(u, {chunk.group_outputs}),
             aligned<T>(chunk.W, {chunk.depth}),
             bits_of_W<T>(chunk.slope)},
        chunk(chunk),
        u(u),
        parts(parts) {}

  __device__ __forceinline__ const T* left(const Place& at, int i, int k) const {
    const Geometry& g = chunk.geometry;
    const int t = k / chunk.group_outputs, o = k % chunk.group_outputs;
    const int top = i / chunk.span_w() - t / g.kernel_w * g.dilation_h;
    const int left = i % chunk.span_w() - t % g.kernel_w * g.dilation_w;
    const int h = top / g.stride_h, w = left / g.stride_w;
    const bool reads = top >= 0 && top % g.stride_h == 0 && h < chunk.grid.slots_h && left >= 0 &&
                       left % g.stride_w == 0 && w < chunk.grid.slots_w;
    if (!reads) return nullptr;
    const int64_t row = at.outer * chunk.grid.slots() + h * chunk.grid.slots_w + w;
    return u + row * chunk.outputs + at.inner * chunk.group_outputs + o;
  }
  __device__ __forceinline__ const T* right(const Place& at, int channel, int k) const {
    const int t = k / chunk.group_outputs, o = k % chunk.group_outputs;
    return chunk.weight(at.outer, at.inner, o, t * chunk.depth + channel);
  }
  template <class Numbers>
  __device__ __forceinline__ void finish(const Place& at, int i, const Numbers& numbers) const {
    if (i >= this->rows) return;
    const int64_t row = at.outer * this->rows + i;
    float* to = parts + (row * chunk.groups() + at.inner) * chunk.depth;
    numbers([&](int channel, float sum) { store(to + channel, sum); });
  }
};

// Adds to gx, (pixels, C). Grid (tiles of the pixels * channels from pixel `start` on, to `stop`).
template <class T>
__global__ void __launch_bounds__(kPlaceThreads)
    gather_kernel(Chunk<T> chunk, const float* parts, float* gx, int64_t start, int64_t stop) {
  const Geometry& g = chunk.geometry;
  const Grid& grid = chunk.grid;
  const int channels = chunk.groups() * chunk.depth;
  const int64_t number = int64_t{blockIdx.x} * kPlaceThreads + threadIdx.x;
  const int64_t i = start + number / channels;
  if (i >= stop) return;
  const auto channel = static_cast<int>(number % channels);
  const Pixel pixel = pixel_of(i, g.height, g.width);
  float* to = gx + i * chunk.all_channels + channel;
  float total = load(to);
  // The last point whose window begins so early, and those before it that reach so far.
  const auto last = [&](int at, int stride, int points) {
    return min((at / stride - grid.start(0)) / grid.pitch, points - 1);
  };
  for (int phase = 0; phase < g.upsample * g.upsample; ++phase) {
    const int h = pixel.h * g.upsample + phase / g.upsample + g.pad_h;
    const int w = pixel.w * g.upsample + phase % g.upsample + g.pad_w;
    for (int row = last(h, g.stride_h, grid.height); row >= 0; --row) {
      const int down = h - grid.first(row) * g.stride_h;
      if (down >= chunk.span_h()) break;
      for (int column = last(w, g.stride_w, grid.width); column >= 0; --column) {
        const int across = w - grid.first(column) * g.stride_w;
        if (across >= chunk.span_w()) break;
        const int64_t point = (pixel.n * grid.height + row) * grid.width + column - chunk.first;
        if (point < 0 || point >= chunk.points) continue;
        const int64_t at = point * chunk.span() + down * chunk.span_w() + across;
        total += load(parts + at * channels + channel);
      }
    }
  }
  store(to, total);
}

// The gradient of W before the activation, which takes its place.
template <class T>
struct Weights : product::Product<T, Runs::kAcross, Runs::kAcross> {
  using Base = product::Product<T, Runs::kAcross, Runs::kAcross>;
  Chunk<T> chunk;
  const T* u;

  Weights(const Chunk<T>& chunk, const T* u)
      : Base{chunk.group_outputs, chunk.taps(), chunk.grid.slots(),
             aligned<T>(u, {chunk.group_outputs}),
             aligned<T>(chunk.x, {chunk.all_channels, chunk.depth})},
        chunk(chunk),
        u(u) {}

  __device__ __forceinline__ PlaceInWindow at(const Place& place) const {
    return {place, chunk.window(place.outer)};
  }
  __device__ __forceinline__ const T* left(const Place& at, int o, int slot) const {
    const int64_t row = at.outer * this->depth + slot;
    return u + row * chunk.outputs + at.inner * chunk.group_outputs + o;
  }
  __device__ __forceinline__ const T* right(const PlaceInWindow& at, int tap, int slot) const {
    return chunk.patch(at.window.pixel(slot), at.inner, tap);
  }
  template <class Numbers>
  __device__ __forceinline__ void finish(const Place& at, int o, const Numbers& numbers) const {
    if (o >= this->rows) return;
    numbers([&](int tap, float sum) {
      T* weight = chunk.weight(at.outer, at.inner, o, tap);
      const bool positive = to_float(load(weight)) > 0;
      store(weight, from_float<T>(gate(positive, sum, chunk.slope)));
    });
  }
};

// Parts of the gradient of d, (runs of weights, points, D).
template <class T>
struct Features : product::Product<T, Runs::kAlong, Runs::kAcross> {
  using Base = product::Product<T, Runs::kAlong, Runs::kAcross>;
  Chunk<T> chunk;
  float* parts;

  Features(const Chunk<T>& chunk, float* parts)
      : Base{static_cast<int>(chunk.points), chunk.features, chunk.weights(),
             aligned<T>(chunk.W, {chunk.weights()}), aligned<T>(chunk.P, {chunk.features})},
        chunk(chunk),
        parts(parts) {}

  __device__ __forceinline__ const T* left(const Place&, int g, int weight) const {
    return chunk.W + int64_t{g} * this->depth + weight;
  }
  __device__ __forceinline__ const T* right(const Place&, int k, int weight) const {
    return chunk.row_of_P(weight, k);
  }
  template <class Numbers>
  __device__ __forceinline__ void finish(const Place& at, int g, const Numbers& numbers) const {
    if (g >= this->rows) return;
    float* row = parts + (int64_t{at.run} * this->rows + g) * this->columns;
    numbers([&](int k, float sum) { store(row + k, sum); });
  }
};

// Parts of the gradient of P, (runs of points, O, taps, C, D).
template <class T>
struct MatrixGradient : product::Product<T, Runs::kAcross, Runs::kAcross> {
  using Base = product::Product<T, Runs::kAcross, Runs::kAcross>;
  Chunk<T> chunk;
  float* parts;

  MatrixGradient(const Chunk<T>& chunk, float* parts)
      : Base{chunk.weights(), chunk.features, static_cast<int>(chunk.points),
             aligned<T>(chunk.W, {chunk.weights()}), aligned<T>(chunk.d, {chunk.features})},
        chunk(chunk),
        parts(parts) {}

  __device__ __forceinline__ const T* left(const Place&, int weight, int g) const {
    return chunk.W + int64_t{g} * this->rows + weight;
  }
  __device__ __forceinline__ const T* right(const Place&, int k, int g) const {
    return chunk.d + int64_t{g} * chunk.features + k;
  }
  template <class Numbers>
  __device__ __forceinline__ void finish(const Place& at, int weight,
                                         const Numbers& numbers) const {
    if (weight >= this->rows) return;
    float* row = parts + (int64_t{at.run} * this->rows + weight) * this->columns;
    numbers([&](int k, float sum) { store(row + k, sum); });
  }
};

// Parts of the gradient of q, (runs of points, O, taps, C). Grid (tiles of weights, runs).
template <class T>
__global__ void __launch_bounds__(kPlaceThreads) biases_kernel(Chunk<T> chunk, float* parts) {
  const int weights = chunk.weights(), weight = blockIdx.x * kPlaceThreads + threadIdx.x;
  if (weight >= weights) return;
  const Run run = run_of(static_cast<int>(chunk.points), gridDim.y, blockIdx.y);
  float total = 0;
  for (int g = run.first; g < run.last; ++g) {
    total += to_float(load(chunk.W + int64_t{g} * weights + weight));
  }
  store(parts + int64_t{blockIdx.y} * weights + weight, total);
}

}  // namespace adaconv::cuda::local_adaptive
