// The kernel of u and of the gradient of x, see adaptive_separable_call.cuh: sums over the taps.
//
// A block has kPixels pixels of the result and 32 channels, and goes through the taps: z lives in
// registers, is multiplied there by what is under the tap, or by the gradient of what reads the
// pixel by it, and added up. While one product is formed, the factors of the next are copied. Where
// the result is u, the rows of d are those of all taps and stay; otherwise each tap has its own.
#pragma once

#include <type_traits>

#include "adaptive_conv_forward.cuh"
#include "adaptive_separable_call.cuh"

namespace adaconv::cuda::adaptive_separable {

// u of x, or the gradient of x of that of u.
template <class T, bool kTransposed>
struct Sums {
  Picture<const std::conditional_t<kTransposed, float, T>> from;
  Picture<std::conditional_t<kTransposed, T, float>> to;  // may not be there
  int64_t pixels;                                         // of the result
  uint8_t* signs;                                         // of z; may be null
};

// What is in shared memory beside d: P, the numbers that z is multiplied by, the pixels.
template <class T, bool kTransposed>
struct SumsTiles {
  using d = Rows<T, kFeatures<T>, 16 / static_cast<int>(sizeof(T)), kTransposed ? 0 : 4>;
  using P = typename ForwardTiles<T>::P;
  // Of channels; a lane's four columns lie in banks of their own.
  static constexpr int kPitch = kPixels + 4, kFactors = kChannels * kPitch;

  static constexpr size_t bytes(int features) {
    return shared_bytes<T>(d::tiles(features) * d::Shape::kNumbers) +
           shared_bytes<T>(2 * P::kNumbers) + shared_bytes<float>(2 * kFactors) +
           shared_bytes<Pixel>(kPixels);
  }
};

// The pixels of a block, and what they read.
template <bool kTransposed>
class Places {
 public:
  __device__ __forceinline__ Places(SharedMemory& shared, const Geometry& geometry, int64_t p0,
                                    int64_t pixels)
      : geometry_(geometry),
        count_(static_cast<int>(pixels - p0 < kPixels ? pixels - p0 : kPixels)),
        pixels_(shared.take<Pixel>(kPixels)) {
    const Geometry& g = geometry;
    const auto i = static_cast<int>(threadIdx.x);
    if (i < count_) {
      store(pixels_ + i, kTransposed ? pixel_of(p0 + i, g.height, g.width)
                                     : pixel_of(p0 + i, g.out_height, g.out_width));
    }
  }

  // How many times a pixel of the result reads: by each tap, of x by each of its copies.
  __device__ __forceinline__ static int parts(const Geometry& g) {
    return kTransposed ? g.upsample * g.upsample : 1;
  }
  __device__ __forceinline__ bool live(int i) const { return i < count_; }
  __device__ __forceinline__ Pixel at(int i) const { return load(pixels_ + i); }

  // What pixel i reads, the time of that number.
  __device__ __forceinline__ Read read(int i, int time) const {
    if (!live(i)) return {};
    const Geometry& g = geometry_;
    const Tap tap = tap_of(time / parts(g), g);
    Pixel pixel = at(i);
    if constexpr (kTransposed) {
      pixel.h = pixel.h * g.upsample + time % parts(g) / g.upsample;
      pixel.w = pixel.w * g.upsample + time % g.upsample;
      return read_by<true>(g, pixel, tap);
    } else {
      Read read = read_by<false>(g, pixel, tap);
      read.source.h /= g.upsample;
      read.source.w /= g.upsample;
      return read;
    }
  }
  // The row of d that it takes its weight of; -1 where it reads nothing.
  __device__ __forceinline__ int64_t row_of_d(int i, int time) const {
    const auto [source, at, inside] = read(i, time);
    return inside ? (at.n * geometry_.out_height + at.h) * geometry_.out_width + at.w : -1;
  }

 private:
  const Geometry& geometry_;
  int count_;
  Pixel* pixels_;
};

// What a lane has of a block's z and sums: two rows, and two columns of each tile.
template <class T, bool kTransposed>
class SumsLane : public RegressionLane<T, kChannels> {
 public:
  using Base = RegressionLane<T, kChannels>;
  using Base::Base;
  using Base::z;

  // Adds z times the factors of that time.
  __device__ __forceinline__ void convolve(const float* factors, const Places<kTransposed>& places,
                                           int time) {
    bool reads[2];
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      reads[row] = !kTransposed || places.read(pixel(row), time).inside;
    }
#pragma unroll
    for (int tile = 0; tile < C::kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        const int column = tile * Accumulator::kColumns + Accumulator::column(lane(), i);
        const float* factor = factors + column * SumsTiles<T, kTransposed>::kPitch + pixel(i / 2);
        const float product = leaky(z[tile].at[i], call_.slope) * load(factor);
        if (reads[i / 2]) sums_[tile].at[i] += product;
      }
    }
  }

  __device__ __forceinline__ void write(const Sums<T, kTransposed>& sums,
                                        const Places<kTransposed>& places) const {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      if (!places.live(pixel(row))) continue;
      const Pixel at = places.at(pixel(row));
#pragma unroll
      for (int tile = 0; tile < C::kTiles; ++tile) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          using To = std::remove_pointer_t<decltype(sums.to.data)>;
          const float sum = sums_[tile].at[2 * row + i];
          if (output(tile, i) >= call_.outputs) continue;
          store(sums.to.at(at.n, output(tile, i), at.h, at.w), from_float<To>(sum));
        }
      }
    }
  }

 private:
  using Base::call_;
  using Base::output;

  // Its place in the tile.
  __device__ __forceinline__ static int pixel(int row) {
    return warp() * Accumulator::kRows + Accumulator::row(lane(), 2 * row);
  }

  Accumulator sums_[C::kTiles] = {};
};

// Grid (tiles of the result's pixels, blocks of channels).
template <class T, int kTerms, bool kTransposed>
__global__ void __launch_bounds__(kThreads, 3)
    sums_kernel(Call<T> call, Sums<T, kTransposed> sums) {
  using Tiles = SumsTiles<T, kTransposed>;
  using P = typename Tiles::P;
  const int64_t p0 = int64_t{blockIdx.x} * kPixels;
  const int c0 = blockIdx.y * kChannels;
  SharedMemory shared;
  const typename Tiles::d d(shared, call.d, 0, call.features, p0, call.pixels);
  T* P_tiles = shared.take<T>(2 * P::kNumbers);
  float* factors = shared.take<float>(2 * Tiles::kFactors);
  const Places<kTransposed> places(shared, call.geometry, p0, sums.pixels);
  __syncthreads();

  // A step takes a chunk of D for one time that the pixels read.
  const bool summed = sums.to.data != nullptr;
  const int chunks = d.chunks(call.features), parts = places.parts(call.geometry);
  const int steps = call.taps * parts * chunks;
  const auto copy = [&](int step) {
    const int time = step / chunks;
    if constexpr (kTransposed) {
      d.copy(step, [&](int row) { return places.row_of_d(row, time); });
    } else {
      d.copy(step);
    }
    P::template copy<kThreads>(
        P_tiles + step % 2 * P::kNumbers, call.P, step % chunks * kFeatures<T>, call.features,
        [&](int column) { return C::row_of_P(call, 0, time / parts, c0, column); });
    commit_copies();
  };
  float numbers[kShare];
  const auto take = [&](int time) {
    const Read read = places.read(share().pixel, time);
    load_share(numbers, sums.from, read.source, read.inside, c0 + share().channel, call.outputs);
  };
  const auto put = [&](int time) {
    float* to = factors + time % 2 * Tiles::kFactors + share().pixel;
#pragma unroll
    for (int i = 0; i < kShare; ++i) store(to + (share().channel + i) * Tiles::kPitch, numbers[i]);
  };

  SumsLane<T, kTransposed> mine(call, 0, c0, p0);
  copy(0);
  if (summed) take(0), put(0);
  for (int step = 0; step < steps; ++step) {
    const int chunk = step % chunks, time = step / chunks;
    if (chunk == 0) mine.begin(time / parts);
    wait_copies<0>();
    __syncthreads();  // the copies of all threads are there, and the tile of the last step is read
    const bool more = step + 1 < steps, ends = chunk + 1 == chunks;
    if (more) copy(step + 1);
    if (more && ends && summed) take(time + 1);
    regress<kTerms>(mine.z, d.of_warp(step), P_tiles + step % 2 * P::kNumbers,
                    call.features - chunk * kFeatures<T>, call.outputs - c0);
    if (!ends) continue;
    if (sums.signs != nullptr) mine.write_signs(sums.signs, time);
    if (summed) mine.convolve(factors + time % 2 * Tiles::kFactors, places, time);
    if (more && summed) put(time + 1);
  }
  if (summed) mine.write(sums, places);
}

}  // namespace adaconv::cuda::adaptive_separable
