// The kernels of adaptive convolution's gradients of x and d, see adaptive_conv_call.cuh.
//
// A block of the first has kPixels pixels, a chunk of D and a run of the taps of a group. It goes
// through the taps as the forward kernel does; the factor that stays in shared memory is gy, which
// becomes u on its way into the product. R lives in registers, 16 pixels of a warp by the chunk,
// and is multiplied by d and by x there. The gradient of x is written by output pixel; the second
// kernel lets every pixel of x gather it from those that read it.
#pragma once

#include "adaptive_conv_call.cuh"

namespace adaconv::cuda::adaptive_conv {

// Parts of the gradients: of x (chunks of D, C kh kw, pixels), which kernels afterwards gather, and
// of d (runs of taps * groups, D, pixels).
template <class T>
struct Inputs {
  Matrix<T> gy;  // (pixels, O)
  const uint8_t* signs;
  float *columns, *parts;
};

template <class T, int kOutputs>
struct InputsTiles {
  // Lanes read floats of gy two by two: rows 32 bytes apart keep them out of each other's banks.
  using gy = Rows<T, kOutputs, 8>;
  using P = Tile<T, 32, kFeatures<T>>;
  using d = Tile<T, kPixels, kFeatures<T>>;  // where the tiles of P are to be
  static_assert(d::kNumbers == 2 * P::kNumbers);

  static constexpr size_t bytes(int outputs) {
    return shared_bytes<T>(gy::tiles(outputs) * gy::Shape::kNumbers) +
           shared_bytes<T>(2 * P::kNumbers);
  }
};

// What a lane has of a block's R, d and gd: two rows, and two columns of each tile.
template <class T, int kTerms, int kOutputs>
class InputsLane {
 public:
  using C = Columns<kOutputs>;
  static constexpr int kTiles = kFeatures<T> / Accumulator::kColumns;
  static constexpr int kDepth = RowFragment<T>::kDepth, kNumbers = 4 / static_cast<int>(sizeof(T));

  __device__ __forceinline__ InputsLane(const Call<T>& call, const Inputs<T>& to, int group,
                                        int chunk, int64_t p0)
      : call_(call), to_(to), group_(group), chunk_(chunk), p0_(p0 + warp() * Accumulator::kRows) {
#pragma unroll
    for (int row = 0; row < 2; ++row) pixels_[row] = call.pixel(p(row));
  }

  // Takes d from a tile.
  __device__ __forceinline__ void take(const T* d_tile) {
    using Pair = Vector<T, 2>;
    constexpr int kPitch = InputsTiles<T, kOutputs>::d::kPitch;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        const int at = warp() * Accumulator::kRows + Accumulator::row(lane(), 2 * row);
        const int k = tile * Accumulator::kColumns + Accumulator::column(lane(), 0);
        const Pair pair = load(reinterpret_cast<const Pair*>(d_tile + at * kPitch + k));
#pragma unroll
        for (int i = 0; i < 2; ++i) d_[tile].at[2 * row + i] = to_float(pair.at[i]);
      }
    }
  }

  // Reads the bits of a block of taps and one of outputs.
  __device__ __forceinline__ void read_signs(int tap_block, int output_block) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const int64_t word = C::word(call_, group_, tap_block, output_block, p(row));
      bits_[row] = live(row) ? load(to_.signs + word * 4 + lane() % 4) : 0;
    }
  }

  // Begins with tap j, the gradient of x by what q gives it.
  __device__ __forceinline__ void begin(int j) {
    const bool reads = j < call_.taps;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      gx_[row] = 0;
      x_[row] = reads && live(row)
                    ? under(call_.x, call_.geometry, pixels_[row], call_.tap(group_, j))
                    : 0;
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) R_[tile] = {};
  }

  // Adds u P of tap j, which is `tap` of its block, and outputs from o on to R.
  __device__ __forceinline__ void multiply_tap(const T* gy_rows, const T* P_tile, int tap, int j,
                                               int o) {
    using Tiles = InputsTiles<T, kOutputs>;
#pragma unroll
    for (int k = 0; k < kOutputs; k += kDepth) {
      if (o + k >= call_.group_outputs) break;
      auto u = load_reordered(gy_rows + k, Tiles::gy::Shape::kPitch);
#pragma unroll
      for (int i = 0; i < u.kWords; ++i) {
        Word<T> numbers = unpack<T>(u.words[i]);
#pragma unroll
        for (int n = 0; n < kNumbers; ++n) {
          // Its place among the numbers that the lane has of the tap's outputs.
          const int at = (k / kDepth * 2 + i / 2) * kNumbers + n;
          const bool positive = bits_[i % 2] >> (tap * kOutputs / 4 + at) & 1;
          const float value = gate(positive, to_float(numbers.at[n]), call_.slope);
          numbers.at[n] = from_float<T>(value);
          gx_[i % 2] += value * bias(j, o + depth_of(lane(), at));
        }
        u.words[i] = pack<T>(numbers);
      }
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        if (chunk_ * kFeatures<T> + tile * 8 >= call_.features) break;
        const T* columns = P_tile + (tap * kOutputs + k) * Tiles::P::kPitch + tile * 8;
        multiply<kTerms>(R_[tile], u, load_transposed<ColumnFragment>(columns, Tiles::P::kPitch));
      }
    }
  }

  // Multiplies R by x and by d, and writes the gradient of x under tap j.
  __device__ __forceinline__ void finish(int j) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        gd_[tile].at[i] += R_[tile].at[i] * x_[i / 2];
        gx_[i / 2] += R_[tile].at[i] * d_[tile].at[i];
      }
    }
    const int64_t channels = int64_t{gridDim.y} * call_.taps;
    const int64_t row_of_columns = chunk_ * channels + int64_t{group_} * call_.taps + j;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
#pragma unroll
      for (int other = 1; other < 4; other *= 2) {
        gx_[row] += __shfl_xor_sync(kAllLanes, gx_[row], other);
      }
      if (lane() % 4 == 0 && live(row) && j < call_.taps) {
        store(to_.columns + row_of_columns * call_.pixels + p(row), gx_[row]);
      }
    }
  }

  __device__ __forceinline__ void write(int part) const {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        const int k = chunk_ * kFeatures<T> + tile * 8 + Accumulator::column(lane(), i);
        if (!live(i / 2) || k >= call_.features) continue;
        const int64_t channel = int64_t{part} * call_.features + k;
        store(to_.parts + channel * call_.pixels + p(i / 2), gd_[tile].at[i]);
      }
    }
  }

 private:
  __device__ __forceinline__ int64_t p(int row) const {
    return p0_ + Accumulator::row(lane(), 2 * row);
  }
  __device__ __forceinline__ bool live(int row) const { return p(row) < call_.pixels; }
  // q of tap j and output o of the group, in the blocks that have D's first chunk.
  __device__ __forceinline__ float bias(int j, int o) const {
    const bool there = call_.q != nullptr && chunk_ == 0 && j < call_.taps;
    if (!there || o >= call_.group_outputs) return 0;
    const int64_t at = int64_t{j} * call_.outputs + group_ * call_.group_outputs + o;
    return to_float(load(call_.q + at));
  }

  const Call<T>& call_;
  const Inputs<T>& to_;
  int group_, chunk_;
  int64_t p0_;
  Pixel pixels_[2];
  unsigned bits_[2];
  float x_[2], gx_[2];
  Accumulator R_[kTiles], d_[kTiles], gd_[kTiles] = {};
};

// Grid (tiles of pixels, groups, runs of taps * chunks of D).
template <class T, int kTerms, int kOutputs>
__global__ void __launch_bounds__(kThreads, 2) inputs_kernel(Call<T> call, Inputs<T> to) {
  using C = Columns<kOutputs>;
  using Tiles = InputsTiles<T, kOutputs>;
  using P = typename Tiles::P;
  const int features_chunks = ceil_div(call.features, kFeatures<T>);
  const int chunk = blockIdx.z % features_chunks, part = blockIdx.z / features_chunks;
  const int group = blockIdx.y, k0 = chunk * kFeatures<T>;
  const int64_t p0 = int64_t{blockIdx.x} * kPixels;
  SharedMemory shared;
  const typename Tiles::gy gy(shared, to.gy, group * call.group_outputs, call.group_outputs, p0,
                              call.pixels);
  T* P_tiles = shared.take<T>(2 * P::kNumbers);

  InputsLane<T, kTerms, kOutputs> mine(call, to, group, chunk, p0);
  Tiles::d::template copy<kThreads>(P_tiles, call.d, k0, call.features, [&](int row) {
    return p0 + row < call.pixels ? p0 + row : -1;
  });
  commit_copies();
  wait_copies<0>();
  __syncthreads();
  mine.take(P_tiles);
  __syncthreads();  // P may take its place

  // A step takes a block of outputs for one of taps.
  const int blocks = C::output_blocks(call.group_outputs);
  const Run run = run_of(C::tap_blocks(call.taps), gridDim.z / features_chunks, part);
  const int steps = (run.last - run.first) * blocks;
  const auto copy = [&](int step) {
    const int j = (run.first + step / blocks) * C::kTaps, o = step % blocks * kOutputs;
    gy.copy(step);
    P::template copy<kThreads>(P_tiles + step % 2 * P::kNumbers, call.P, k0, call.features,
                               [&](int column) { return C::row_of_P(call, group, j, o, column); });
    commit_copies();
  };
  copy(0);
  for (int step = 0; step < steps; ++step) {
    const int tap_block = run.first + step / blocks, block = step % blocks;
    mine.read_signs(tap_block, block);
    wait_copies<0>();
    __syncthreads();  // the copies of all threads are there, and the tile of the last step is read
    if (step + 1 < steps) copy(step + 1);
#pragma unroll
    for (int tap = 0; tap < C::kTaps; ++tap) {
      const int j = tap_block * C::kTaps + tap;
      if (block == 0) mine.begin(j);
      mine.multiply_tap(gy.of_warp(step), P_tiles + step % 2 * P::kNumbers, tap, j,
                        block * kOutputs);
      if (block + 1 == blocks) mine.finish(j);
    }
  }
  mine.write(part * gridDim.y + group);
}

constexpr int kGatherThreads = 256;

// What each pixel of x gathers from its readers.
template <class T>
struct Gather {
  const float* columns;  // (parts, channels * taps of a channel, pixels of the output)
  int parts;
  int64_t inputs, pixels;  // pixels of x, and of the output
  Picture<T> gx;
  Geometry geometry;
};

// Grid (tiles of the pixels of x, channels).
template <class T>
__global__ void __launch_bounds__(kGatherThreads, 4) gather_kernel(Gather<T> gather) {
  const Geometry& g = gather.geometry;
  const int64_t i = int64_t{blockIdx.x} * kGatherThreads + threadIdx.x;
  if (i >= gather.inputs) return;
  const Pixel pixel = pixel_of(i, g.height, g.width);
  float total = 0;
  for_each_reader(g, pixel, [&](int h, int w, int tap) {
    const int64_t p = (pixel.n * g.out_height + h) * g.out_width + w;
    for (int part = 0; part < gather.parts; ++part) {
      const int64_t row = (int64_t{part} * gridDim.y + blockIdx.y) * g.taps() + tap;
      total += load(gather.columns + row * gather.pixels + p);
    }
  });
  store(gather.gx.at(pixel.n, blockIdx.y, pixel.h, pixel.w), from_float<T>(total));
}

}  // namespace adaconv::cuda::adaptive_conv
