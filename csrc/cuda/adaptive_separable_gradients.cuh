// The kernels of the gradients of d, P and q, see adaptive_separable_call.cuh.
//
// All threads make a tile of v, kPixels pixels by 32 channels at a tap, of the bits, gu and x. It
// is a factor of the product of either kernel: with P, of which a block has some features for a
// tile of pixels and goes through the channels and taps, or with d, of which it has some features
// for one block of channels and a tap, and goes through the pixels. What the next step needs is
// loaded while a product is formed.
#pragma once

#include "adaptive_separable_call.cuh"

namespace adaconv::cuda::adaptive_separable {

// Features that a block has.
template <class T>
constexpr int kWide = 2 * kFeatures<T>;

// Channels from the block's first on, at a tap.
struct Column {
  int block, tap;
};
template <class T>
__device__ __forceinline__ Column column_of(const Call<T>& call, int step) {
  return {step / call.taps, step % call.taps};
}

// What makes v.
struct Gradient {
  Picture<const float> gu;
  const uint8_t* signs;
};

// A thread's share of v: loaded, then stored in a tile.
template <class T>
class Slopes {
 public:
  using Tile = cuda::Tile<T, kPixels, kChannels>;

  __device__ __forceinline__ void load_from(const Call<T>& call, const Gradient& of,
                                            const Column& column, int64_t p0) {
    const int64_t p = p0 + share().pixel;
    const bool live = p < call.pixels;
    const Pixel pixel = call.pixel(p);
    const Geometry& g = call.geometry;
    const Tap tap = tap_of(column.tap, g);
    const Read read = read_by<false>(g, pixel, tap);
    const Pixel at = {pixel.n, read.source.h / g.upsample, read.source.w / g.upsample};
    const int first = column.block * kChannels + share().channel;
    load_share(gu_, of.gu, pixel, live, first, call.outputs);
    load_share(x_, call.x.picture, at, live && read.inside, first, call.outputs);
    const auto* words = reinterpret_cast<const uint32_t*>(of.signs);
    bits_ = live ? load(words + C::word(call, 0, column.tap, column.block, p)) : 0;
  }

  // By depth, floats of a row come in the order in which load_transposed takes the depth.
  template <bool kByDepth>
  __device__ __forceinline__ void store_to(T* tile, float slope) {
    constexpr int kRun = 16 / static_cast<int>(sizeof(T));
    using Run = Vector<T, kRun>;
    T* row = tile + share().pixel * Tile::kPitch + share().channel;
#pragma unroll
    for (int i = 0; i < kShare; ++i) {
      // The bit of its column, see Columns: share() begins at a multiple of 16.
      const int bit = share().channel / 4 + i % 8 / 2 * 8 + i / 8 * 2 + i % 2;
      v_[i] = gate(bits_ >> bit & 1, gu_[i], slope) * x_[i];
    }
#pragma unroll
    for (int first = 0; first < kShare; first += kRun) {
      Run run;
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        const bool sorted = kByDepth && sizeof(T) == sizeof(float);
        run.at[i] =
            from_float<T>(v_[sorted ? first / 8 * 8 + 2 * i + first % 8 / kRun : first + i]);
      }
      store(reinterpret_cast<Run*>(row + first), run);
    }
  }

  // Of the pixel and channel i of the share, in float32.
  __device__ __forceinline__ float v(int i) const { return v_[i]; }

 private:
  float gu_[kShare], x_[kShare], v_[kShare];
  uint32_t bits_;
};

// Parts of the gradient of d, of a run of channels and taps each: (runs, D, pixels).
struct Features {
  Gradient gradient;
  float* parts;
};

// What is in shared memory for a step: there are two of each, for steps in turn.
template <class T>
struct FeaturesTiles {
  using v = typename Slopes<T>::Tile;
  using P = Tile<T, kChannels, kWide<T>>;

  static constexpr size_t bytes() {
    return shared_bytes<T>(2 * v::kNumbers) + shared_bytes<T>(2 * P::kNumbers);
  }
};

// Grid (tiles of pixels, blocks of features, runs of channels and taps).
template <class T, int kTerms>
__global__ void __launch_bounds__(kThreads, 2) features_kernel(Call<T> call, Features to) {
  using v = typename FeaturesTiles<T>::v;
  using P = typename FeaturesTiles<T>::P;
  constexpr int kTiles = kWide<T> / Accumulator::kColumns;
  const int64_t p0 = int64_t{blockIdx.x} * kPixels;
  const int k0 = blockIdx.y * kWide<T>;
  SharedMemory shared;
  T* v_tiles = shared.take<T>(2 * v::kNumbers);
  T* P_tiles = shared.take<T>(2 * P::kNumbers);

  const Run run =
      run_of(C::output_blocks(call.outputs) * call.taps, static_cast<int>(gridDim.z), blockIdx.z);
  Slopes<T> slopes;
  const auto begin = [&](int step) {
    const Column at = column_of(call, step);
    P::template copy<kThreads>(
        P_tiles + step % 2 * P::kNumbers, call.P, k0, call.features,
        [&](int column) { return C::row_of_P(call, 0, at.tap, at.block * kChannels, column); });
    commit_copies();
    slopes.load_from(call, to.gradient, at, p0);
  };
  const auto put = [&](int step) {
    slopes.template store_to<true>(v_tiles + step % 2 * v::kNumbers, call.slope);
  };
  Accumulator sums[kTiles] = {};
  begin(run.first);
  put(run.first);
  for (int step = run.first; step < run.last; ++step) {
    wait_copies<0>();
    __syncthreads();  // the tiles of all threads are there, and those of the last step are read
    const bool more = step + 1 < run.last;
    if (more) begin(step + 1);
    const T* rows = v_tiles + step % 2 * v::kNumbers + warp() * Accumulator::kRows * v::kPitch;
    const T* columns = P_tiles + step % 2 * P::kNumbers;
    const int channels = call.outputs - column_of(call, step).block * kChannels;
    add_products<T>(sums, [&](auto& into) {
#pragma unroll
      for (int c = 0; c < kChannels; c += RowFragment<T>::kDepth) {
        if (c >= channels) break;
        const auto a = load_fragment<RowFragment>(rows + c, v::kPitch);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          if (k0 + tile * Accumulator::kColumns >= call.features) break;
          const T* b = columns + c * P::kPitch + tile * Accumulator::kColumns;
          multiply<kTerms>(into[tile], a, load_transposed<ColumnFragment>(b, P::kPitch));
        }
      }
    });
    if (more) put(step + 1);
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < Accumulator::kCount; ++i) {
      const int64_t p = p0 + warp() * Accumulator::kRows + Accumulator::row(lane(), i);
      const int k = k0 + tile * Accumulator::kColumns + Accumulator::column(lane(), i);
      if (p >= call.pixels || k >= call.features) continue;
      store(to.parts + (int64_t{blockIdx.z} * call.features + k) * call.pixels + p,
            sums[tile].at[i]);
    }
  }
}

// Parts of the gradients, of a run of pixels each: of P (runs, C, kh kw, D), and of q without D.
struct Weights {
  Gradient gradient;
  float *P, *q;
};

// What is in shared memory for a step: there are two of each, for steps in turn.
template <class T>
struct WeightsTiles {
  using v = typename Slopes<T>::Tile;
  using d = Tile<T, kPixels, kWide<T>>;
  static constexpr int kSums = kWarps * kShare;  // of q

  static constexpr size_t bytes() {
    return shared_bytes<T>(2 * v::kNumbers) + shared_bytes<T>(2 * d::kNumbers) +
           shared_bytes<float>(kSums);
  }
};

// Adds the products of a tile's d and v, features by channels; a warp has some of the features.
template <class T, int kTerms>
class WeightsWarp {
 public:
  using v = typename WeightsTiles<T>::v;
  using d = typename WeightsTiles<T>::d;
  static constexpr int kRows = kWide<T> / kWarps, kRowTiles = kRows / Accumulator::kRows;

  // Of so many features of the block.
  __device__ __forceinline__ explicit WeightsWarp(int features) : features_(features - first()) {}

  __device__ __forceinline__ void multiply_tile(const T* d_rows, const T* v_rows) {
    constexpr int kDepth = RowFragment<T>::kDepth;
    add_products<T>(sums_, [&](auto& sums) {
#pragma unroll
      for (int p = 0; p < kPixels; p += kDepth) {
        if (features_ <= 0) break;
        RowFragment<T> a[kRowTiles];
#pragma unroll
        for (int row = 0; row < kRowTiles; ++row) {
          const T* columns = d_rows + p * d::kPitch + first() + row * Accumulator::kRows;
          a[row] = load_transposed<RowFragment>(columns, d::kPitch);
        }
#pragma unroll
        for (int tile = 0; tile < C::kTiles; ++tile) {
          const T* columns = v_rows + p * v::kPitch + tile * Accumulator::kColumns;
          const auto b = load_transposed<ColumnFragment>(columns, v::kPitch);
#pragma unroll
          for (int row = 0; row < kRowTiles; ++row) {
            if (row * Accumulator::kRows >= features_) break;
            multiply<kTerms>(sums[row * C::kTiles + tile], a[row], b);
          }
        }
      }
    });
  }

  // Calls function(feature of the block, column, sum).
  template <class Function>
  __device__ __forceinline__ void for_each(const Function& function) const {
#pragma unroll
    for (int tile = 0; tile < kRowTiles * C::kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        function(first() + tile / C::kTiles * Accumulator::kRows + Accumulator::row(lane(), i),
                 tile % C::kTiles * Accumulator::kColumns + Accumulator::column(lane(), i),
                 sums_[tile].at[i]);
      }
    }
  }

 private:
  __device__ __forceinline__ static int first() { return warp() * kRows; }

  int features_;
  Accumulator sums_[kRowTiles * C::kTiles] = {};
};

// Adds up a number for each channel of the shares over the pixels; thread c gets that of channel c.
__device__ __forceinline__ float sum_of_pixels(float (&numbers)[kShare], float* memory) {
#pragma unroll
  for (int i = 0; i < kShare; ++i) {
#pragma unroll
    for (int other = 1; other < kWarp; other *= 2) {
      numbers[i] += __shfl_xor_sync(kAllLanes, numbers[i], other);
    }
    if (lane() == 0) store(memory + warp() * kShare + i, numbers[i]);
  }
  __syncthreads();
  constexpr int kWarpsOfShare = kPixels / kWarp;
  float sum = 0;
  if (threadIdx.x < kChannels) {
    const auto c = static_cast<int>(threadIdx.x);
    const float* first = memory + c / kShare * kWarpsOfShare * kShare + c % kShare;
#pragma unroll
    for (int i = 0; i < kWarpsOfShare; ++i) sum += load(first + i * kShare);
  }
  return sum;
}

// Grid (taps * blocks of channels, blocks of features, runs of pixels).
template <class T, int kTerms>
__global__ void __launch_bounds__(kThreads, 2) weights_kernel(Call<T> call, Weights to) {
  using v = typename WeightsTiles<T>::v;
  using d = typename WeightsTiles<T>::d;
  const Column at = column_of(call, blockIdx.x);
  const int k0 = blockIdx.y * kWide<T>;
  SharedMemory shared;
  T* v_tiles = shared.take<T>(2 * v::kNumbers);
  T* d_tiles = shared.take<T>(2 * d::kNumbers);
  float* memory = shared.take<float>(WeightsTiles<T>::kSums);

  const Run run = run_of(static_cast<int>(ceil_div<int64_t>(call.pixels, kPixels)),
                         static_cast<int>(gridDim.z), blockIdx.z);
  Slopes<T> slopes;
  float of_q[kShare] = {};
  const auto begin = [&](int step) {
    const int64_t p0 = int64_t{step} * kPixels;
    d::template copy<kThreads>(d_tiles + step % 2 * d::kNumbers, call.d, k0, call.features,
                               [&](int row) { return p0 + row < call.pixels ? p0 + row : -1; });
    commit_copies();
    slopes.load_from(call, to.gradient, at, p0);
  };
  const auto put = [&](int step) {
    slopes.template store_to<false>(v_tiles + step % 2 * v::kNumbers, call.slope);
#pragma unroll
    for (int i = 0; i < kShare; ++i) of_q[i] += slopes.v(i);
  };
  WeightsWarp<T, kTerms> mine(call.features - k0);
  begin(run.first);
  put(run.first);
  for (int step = run.first; step < run.last; ++step) {
    wait_copies<0>();
    __syncthreads();  // the tiles of all threads are there, and those of the last step are read
    const bool more = step + 1 < run.last;
    if (more) begin(step + 1);
    mine.multiply_tile(d_tiles + step % 2 * d::kNumbers, v_tiles + step % 2 * v::kNumbers);
    if (more) put(step + 1);
  }

  // Where the gradient of a channel begins, in units of features; -1 where it is none.
  const auto row_of = [&](int column) {
    const int64_t row = C::row_of_P(call, 0, at.tap, at.block * kChannels, column);
    return row < 0 ? -1 : int64_t{blockIdx.z} * call.outputs * call.taps + row;
  };
  mine.for_each([&](int feature, int column, float sum) {
    const int64_t row = row_of(column);
    const int k = k0 + feature;
    if (row >= 0 && k < call.features) store(to.P + row * call.features + k, sum);
  });
  const float sum = sum_of_pixels(of_q, memory);
  const int64_t row = row_of(threadIdx.x);
  if (threadIdx.x < kChannels && row >= 0 && k0 == 0) store(to.q + row, sum);
}

}  // namespace adaconv::cuda::adaptive_separable
