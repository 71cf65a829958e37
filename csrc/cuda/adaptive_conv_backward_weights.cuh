// The kernel of adaptive convolution's gradients of P and q, see adaptive_conv_call.cuh.
//
// A block has kTapBlocks blocks of taps, a warp each, one of outputs, a chunk of D and a run of
// pixels. It goes through the pixels; while it multiplies those of a tile, the next are copied. The
// product is transposed, features by columns, with the pixels as its depth: the columns u x are
// made in registers, of gy, the bits and x in shared memory.
#pragma once

#include "adaptive_conv_call.cuh"

namespace adaconv::cuda::adaptive_conv {

constexpr int kTapBlocks = kWarps;  // of a block of threads

// Parts of the gradients, of a run of pixels each: of P (runs, O, J, D), and of q (runs, O, J).
template <class T>
struct Weights {
  Matrix<T> gy;  // (pixels, O)
  const uint8_t* signs;
  float *P, *q;
  bool continues;  // adds to what the parts have
};

// What is in shared memory of a tile of pixels: d, gy, the words of the blocks of taps, and x under
// their taps. There are two of them, for steps in turn.
template <class T, int kOutputs>
struct WeightsTile {
  using C = Columns<kOutputs>;
  using d = Tile<T, kPixels, kFeatures<T>>;
  using gy = Tile<T, kPixels, kOutputs>;
  static constexpr int kTaps = kTapBlocks * C::kTaps;

  static constexpr size_t bytes() {
    return shared_bytes<T>(2 * d::kNumbers) + shared_bytes<T>(2 * gy::kNumbers) +
           shared_bytes<uint32_t>(2 * kTapBlocks * kPixels) +
           shared_bytes<float>(2 * kTaps * kPixels);
  }
  __device__ static __forceinline__ WeightsTile first(SharedMemory& shared) {
    T* d_rows = shared.take<T>(2 * d::kNumbers);
    T* gy_rows = shared.take<T>(2 * gy::kNumbers);
    uint32_t* words = shared.take<uint32_t>(2 * kTapBlocks * kPixels);
    return {d_rows, gy_rows, words, shared.take<float>(2 * kTaps * kPixels)};
  }
  __device__ __forceinline__ WeightsTile of(int step) const {
    const int i = step % 2;
    return {d_rows + i * d::kNumbers, gy_rows + i * gy::kNumbers, words + i * kTapBlocks * kPixels,
            x + i * kTaps * kPixels};
  }

  T *d_rows, *gy_rows;
  uint32_t* words;
  float* x;
};

// The place of a block: a group, blocks of taps from one on, a block of outputs, a chunk of D.
struct WeightsPlace {
  int group, tap_block, output_block, chunk;
};

// Begins to copy what a tile has of the pixels from p0 on, but for x.
template <class T, int kOutputs>
__device__ __forceinline__ void copy_pixels(const WeightsTile<T, kOutputs>& to, const Call<T>& call,
                                            const Weights<T>& weights, const WeightsPlace& at,
                                            int64_t p0) {
  using W = WeightsTile<T, kOutputs>;
  using C = Columns<kOutputs>;
  const auto row_of = [&](int row) { return p0 + row < call.pixels ? p0 + row : -1; };
  W::d::template copy<kThreads>(to.d_rows, call.d, at.chunk * kFeatures<T>, call.features, row_of);
  const int first = at.group * call.group_outputs;
  W::gy::template copy<kThreads>(to.gy_rows, weights.gy, first + at.output_block * kOutputs,
                                 first + call.group_outputs, row_of);
  const auto* words = reinterpret_cast<const uint32_t*>(weights.signs);
  for (int i = threadIdx.x; i < kTapBlocks * kPixels; i += kThreads) {
    const int64_t p = p0 + i % kPixels;
    const int tap_block = at.tap_block + i / kPixels;
    const bool live = p < call.pixels && tap_block < C::tap_blocks(call.taps);
    const int64_t word = C::word(call, at.group, tap_block, at.output_block, p);
    copy_async(to.words + i, live ? words + word : words, live);
  }
  commit_copies();
}

// x under the taps of a block for a tile of pixels: loaded by all threads, then stored in a tile.
template <class T, int kOutputs>
class Patches {
 public:
  __device__ __forceinline__ void load_from(const Call<T>& call, const WeightsPlace& at,
                                            int64_t p0) {
    const int64_t p = p0 + threadIdx.x % kPixels;
    const Pixel pixel = call.pixel(p);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int tap = threadIdx.x / kPixels + i * (kThreads / kPixels);
      const int j = at.tap_block * Columns<kOutputs>::kTaps + tap;
      const bool reads = p < call.pixels && j < call.taps;
      x_[i] = reads ? under(call.x, call.geometry, pixel, call.tap(at.group, j)) : 0;
    }
  }
  __device__ __forceinline__ void store_to(float* tile) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) store(tile + threadIdx.x + i * kThreads, x_[i]);
  }

 private:
  static constexpr int kCount = WeightsTile<T, kOutputs>::kTaps * kPixels / kThreads;
  float x_[kCount];
};

// What a warp has of the gradients: kFeatures features by 32 columns, and the columns' sums.
template <class T, int kTerms, int kOutputs>
class WeightsWarp {
 public:
  using C = Columns<kOutputs>;
  static constexpr int kRowTiles = kFeatures<T> / Accumulator::kRows;
  static constexpr int kSums = kRowTiles * C::kTiles;
  static constexpr int kDepth = RowFragment<T>::kDepth, kNumbers = 4 / static_cast<int>(sizeof(T));
  static constexpr int kSteps = kPixels / kDepth;

  __device__ __forceinline__ WeightsWarp(float slope, int features)
      : slope_(slope), features_(features) {}

  __device__ __forceinline__ void multiply_tile(const WeightsTile<T, kOutputs>& tile) {
    add_products<T>(P_, [&](auto& sums) { multiply_tile(tile, sums); });
  }

  __device__ __forceinline__ void write(const Call<T>& call, const Weights<T>& to,
                                        const WeightsPlace& at, int part) {
    const int j0 = (at.tap_block + warp()) * C::kTaps, o0 = at.output_block * kOutputs;
    // Where the gradient of tap j and output o begins, in units of features; -1 where it is none.
    const auto row_of = [&](int column) {
      const int64_t row = C::row_of_P(call, at.group, j0, o0, column);
      return row < 0 ? -1 : int64_t{part} * call.outputs * call.taps + row;
    };
    const auto put = [&](float* place, float value) {
      store(place, to.continues ? load(place) + value : value);
    };
#pragma unroll
    for (int tile = 0; tile < C::kTiles; ++tile) {
#pragma unroll
      for (int row = 0; row < kRowTiles; ++row) {
#pragma unroll
        for (int i = 0; i < Accumulator::kCount; ++i) {
          const int k =
              at.chunk * kFeatures<T> + row * Accumulator::kRows + Accumulator::row(lane(), i);
          const int64_t P = row_of(tile * 8 + Accumulator::column(lane(), i));
          if (P >= 0 && k < call.features)
            put(to.P + P * call.features + k, P_[row * C::kTiles + tile].at[i]);
        }
      }
#pragma unroll
      for (int other = 1; other < 4; other *= 2) {
        q_[tile] += __shfl_xor_sync(kAllLanes, q_[tile], other);
      }
      const int64_t q = row_of(tile * 8 + lane() / 4);
      const bool mine = at.chunk == 0 && lane() % 4 == 0;
      if (mine && q >= 0) put(to.q + q, q_[tile]);
    }
  }

 private:
  __device__ __forceinline__ void multiply_tile(const WeightsTile<T, kOutputs>& tile,
                                                Accumulator (&sums)[kSums]) {
    using W = WeightsTile<T, kOutputs>;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      RowFragment<T> rows[kRowTiles];
#pragma unroll
      for (int row = 0; row < kRowTiles; ++row) {
        const T* d = tile.d_rows + step * kDepth * W::d::kPitch + row * Accumulator::kRows;
        rows[row] = load_transposed<RowFragment>(d, W::d::kPitch);
      }
#pragma unroll
      for (int column = 0; column < C::kTiles; ++column) {
        const auto b = scaled(tile, step, column);
#pragma unroll
        for (int row = 0; row < kRowTiles; ++row) {
          if (row * Accumulator::kRows >= features_) break;
          multiply<kTerms>(sums[row * C::kTiles + column], rows[row], b);
        }
      }
    }
  }

  // u x of 8 columns, and a step's pixels.
  __device__ __forceinline__ ColumnFragment<T> scaled(const WeightsTile<T, kOutputs>& tile,
                                                      int step, int column) {
    using W = WeightsTile<T, kOutputs>;
    using Pair = Vector<float, 2>;
    const int tap = column / C::kTapTiles, o = column % C::kTapTiles * 8;
    const uint32_t* words = tile.words + warp() * kPixels;
    const float* x = tile.x + (warp() * C::kTaps + tap) * kPixels;
    const T* gy = tile.gy_rows + step * kDepth * W::gy::kPitch + o;
    auto b = load_transposed<ColumnFragment>(gy, W::gy::kPitch);
    // The bit of the lane's column, which the forward kernel had in lane / 4 / 2.
    const int bit = lane() / 8 * 8 + 2 * column + lane() / 4 % 2;
#pragma unroll
    for (int pair = 0; pair < kNumbers; ++pair) {
      const int p = step * kDepth + depth_of(lane(), 2 * pair);
      const auto of_words = load(reinterpret_cast<const Vector<uint32_t, 2>*>(words + p));
      const Pair of_x = load(reinterpret_cast<const Pair*>(x + p));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int at = 2 * pair + i;
        Word<T> numbers = unpack<T>(b.words[at / kNumbers]);
        const float g = to_float(numbers.at[at % kNumbers]);
        const float value = gate(of_words.at[i] >> bit & 1, g, slope_) * of_x.at[i];
        q_[column] += value;
        numbers.at[at % kNumbers] = from_float<T>(value);
        b.words[at / kNumbers] = pack<T>(numbers);
      }
    }
    return b;
  }

  float slope_;
  int features_;  // of the chunk
  Accumulator P_[kSums] = {};
  float q_[C::kTiles] = {};
};

// Grid (kTapBlocks blocks of taps, groups * blocks of outputs * chunks of D, runs of pixels).
template <class T, int kTerms, int kOutputs>
__global__ void __launch_bounds__(kThreads, 2) weights_kernel(Call<T> call, Weights<T> to) {
  const int chunks = ceil_div(call.features, kFeatures<T>), tile = blockIdx.y / chunks;
  const int blocks = Columns<kOutputs>::output_blocks(call.group_outputs);
  const WeightsPlace at = {tile / blocks, static_cast<int>(blockIdx.x) * kTapBlocks, tile % blocks,
                           static_cast<int>(blockIdx.y) % chunks};
  SharedMemory shared;
  const auto tiles = WeightsTile<T, kOutputs>::first(shared);
  const Run run =
      run_of(static_cast<int>(ceil_div<int64_t>(call.pixels, kPixels)), gridDim.z, blockIdx.z);

  WeightsWarp<T, kTerms, kOutputs> mine(call.slope, call.features - at.chunk * kFeatures<T>);
  Patches<T, kOutputs> patches;
  const auto begin = [&](int step) {
    const int64_t p0 = int64_t{step} * kPixels;
    copy_pixels(tiles.of(step), call, to, at, p0);
    patches.load_from(call, at, p0);
  };
  begin(run.first);
  patches.store_to(tiles.of(run.first).x);
  for (int step = run.first; step < run.last; ++step) {
    wait_copies<0>();
    __syncthreads();  // the tile of all threads is there, and that of the last step is read
    const bool more = step + 1 < run.last;
    if (more) begin(step + 1);
    mine.multiply_tile(tiles.of(step));
    if (more) patches.store_to(tiles.of(step + 1).x);
  }
  mine.write(call, to, at, blockIdx.z);
}

}  // namespace adaconv::cuda::adaptive_conv
