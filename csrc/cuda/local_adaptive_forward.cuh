// The forward kernels of local adaptive convolution, see local_adaptive_call.cuh.
#pragma once

#include "adaptive_conv_call.cuh"
#include "local_adaptive_call.cuh"

namespace adaconv::cuda::local_adaptive {

using adaptive_conv::leaky;
using product::Place;
using product::Runs;

// W of all points.
template <class T>
struct Regress : product::Product<T, Runs::kAlong, Runs::kAlong> {
  using Base = product::Product<T, Runs::kAlong, Runs::kAlong>;
  Chunk<T> chunk;

  explicit Regress(const Chunk<T>& chunk)
      : Base{static_cast<int>(chunk.points), chunk.weights(), chunk.features,
             aligned<T>(chunk.d, {chunk.features}), aligned<T>(chunk.P, {chunk.features})},
        chunk(chunk) {}

  __device__ __forceinline__ const T* left(const Place&, int g, int k) const {
    return chunk.d + int64_t{g} * chunk.features + k;
  }
  __device__ __forceinline__ const T* right(const Place&, int weight, int k) const {
    return chunk.row_of_P(weight, k);
  }
  template <class Numbers>
  __device__ __forceinline__ void finish(const Place&, int g, const Numbers& numbers) const {
    if (g >= this->rows) return;
    numbers([&](int weight, float z) {
      if (chunk.q != nullptr) z += to_float(load(chunk.q + weight));
      const float value = leaky(z, chunk.slope < 0 ? -chunk.slope : chunk.slope);
      store(chunk.W + int64_t{g} * this->columns + weight, from_float<T>(value));
    });
  }
};

// Z of each point and group, (points, slots, outputs).
template <class T>
struct Apply : product::Product<T, Runs::kAlong, Runs::kAlong> {
  using Base = product::Product<T, Runs::kAlong, Runs::kAlong>;
  Chunk<T> chunk;
  float* Z;

  Apply(const Chunk<T>& chunk, float* Z)
      : Base{chunk.grid.slots(),
             chunk.group_outputs,
             chunk.taps(),
             aligned<T>(chunk.x, {chunk.all_channels, chunk.depth}),
             aligned<T>(chunk.W, {chunk.taps()}),
             bits_of_W<T>(chunk.slope)},
        chunk(chunk),
        Z(Z) {}

  __device__ __forceinline__ PlaceInWindow at(const Place& place) const {
    return {place, chunk.window(place.outer)};
  }
  __device__ __forceinline__ const T* left(const PlaceInWindow& at, int slot, int tap) const {
    return chunk.patch(at.window.pixel(slot), at.inner, tap);
  }
  __device__ __forceinline__ const T* right(const Place& at, int o, int tap) const {
    return chunk.weight(at.outer, at.inner, o, tap);
  }
  template <class Numbers>
  __device__ __forceinline__ void finish(const Place& at, int slot, const Numbers& numbers) const {
    if (slot >= this->rows) return;
    float* row = Z + (at.outer * this->rows + slot) * chunk.outputs + at.inner * this->columns;
    numbers([&](int o, float sum) { store(row + o, sum); });
  }
};

// Adds to y, (pixels, O). Grid (tiles of the pixels * outputs from pixel `start` on, to `stop`).
template <class T>
__global__ void __launch_bounds__(kPlaceThreads)
    mix_kernel(Chunk<T> chunk, const float* Z, float* y, int64_t start, int64_t stop) {
  const int64_t i = int64_t{blockIdx.x} * kPlaceThreads + threadIdx.x;
  const int64_t p = start + i / chunk.outputs;
  if (p >= stop) return;
  const int o = static_cast<int>(i % chunk.outputs);
  const Pixel pixel = chunk.out_pixel(p);
  float* to = y + p * chunk.all_outputs + o;
  float total = load(to);
  for (int j = 0; j < chunk.grid.neighbours(); ++j) {
    const int64_t slot = chunk.slot(pixel, j);
    if (slot < 0) continue;
    const float a = to_float(load(chunk.a.at(pixel.n, j, pixel.h, pixel.w)));
    total += a * load(Z + slot * chunk.outputs + o);
  }
  store(to, total);
}

}  // namespace adaconv::cuda::local_adaptive
