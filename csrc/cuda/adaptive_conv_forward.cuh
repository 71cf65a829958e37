// The forward kernel of adaptive convolution, see adaptive_conv_call.cuh.
//
// A block has kPixels pixels, whose d stays in shared memory, and kOutputs outputs of a group. It
// goes through a run of taps, so many at a time as 32 columns have; while it multiplies with P of
// these, that of the next is copied. z lives in registers, 16 pixels of a warp by 32 columns,
// begins as q, is multiplied by x there and added up.
#pragma once

#include "adaptive_conv_call.cuh"

namespace adaconv::cuda::adaptive_conv {

// Where y goes: of one run of taps to y itself, of several to parts (runs, O, pixels). Without
// both, the signs alone are made.
template <class T>
struct Forward {
  Picture<const T> b;
  Picture<T> y;
  float* parts;
  uint8_t* signs;  // may be null
};

template <class T>
struct ForwardTiles {
  using d = Rows<T, kFeatures<T>, 16 / static_cast<int>(sizeof(T))>;
  using P = Tile<T, 32, kFeatures<T>>;

  static constexpr size_t bytes(int features) {
    return shared_bytes<T>(d::tiles(features) * d::Shape::kNumbers) +
           shared_bytes<T>(2 * P::kNumbers);
  }
};

// Adds the products of a warp's pixels and so many columns, over so many features.
template <int kTerms, class T, int kTiles>
__device__ __forceinline__ void regress(Accumulator (&z)[kTiles], const T* d_rows, const T* P_rows,
                                        int features,
                                        int columns = kTiles * Accumulator::kColumns) {
  using P = typename ForwardTiles<T>::P;
#pragma unroll
  for (int k = 0; k < kFeatures<T>; k += RowFragment<T>::kDepth) {
    if (k >= features) break;
    const auto a = load_fragment<RowFragment>(d_rows + k, P::kPitch);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      if (tile * Accumulator::kColumns >= columns) break;
      const T* rows = P_rows + tile * Accumulator::kColumns * P::kPitch + k;
      multiply<kTerms>(z[tile], a, load_fragment<ColumnFragment>(rows, P::kPitch));
    }
  }
}

// What a lane has of a block's z: two rows, and two columns of each tile.
template <class T, int kOutputs>
class RegressionLane {
 public:
  using C = Columns<kOutputs>;

  __device__ __forceinline__ RegressionLane(const Call<T>& call, int group, int o0, int64_t p0)
      : call_(call), group_(group), o0_(o0), p0_(p0 + warp() * Accumulator::kRows) {}

  // Begins with q of the taps from j on.
  __device__ __forceinline__ void begin(int j) {
#pragma unroll
    for (int tile = 0; tile < C::kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int tap = j + tile / C::kTapTiles, o = output(tile, i);
        const bool biased = call_.q != nullptr && tap < call_.taps && o < call_.group_outputs;
        const int64_t at = int64_t{tap} * call_.outputs + group_ * call_.group_outputs + o;
        z[tile].at[i] = z[tile].at[i + 2] = biased ? to_float(load(call_.q + at)) : 0;
      }
    }
  }

  __device__ __forceinline__ void write_signs(uint8_t* signs, int tap_block) const {
    unsigned bits[2] = {};
#pragma unroll
    for (int tile = 0; tile < C::kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        // Not within the shift: GCC's -fsanitize=shift,bounds would lose the index.
        const bool positive = z[tile].at[i] > 0;
        bits[i / 2] |= unsigned{positive} << (2 * tile + i % 2);
      }
    }
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const int64_t word = C::word(call_, group_, tap_block, o0_ / kOutputs, p(row));
      if (live(row)) store(signs + word * 4 + lane() % 4, static_cast<uint8_t>(bits[row]));
    }
  }

  Accumulator z[C::kTiles];

 protected:
  __device__ __forceinline__ int64_t p(int row) const {
    return p0_ + Accumulator::row(lane(), 2 * row);
  }
  __device__ __forceinline__ bool live(int row) const { return p(row) < call_.pixels; }
  __device__ __forceinline__ int output(int tile, int i) const {
    return o0_ + tile % C::kTapTiles * Accumulator::kColumns + Accumulator::column(lane(), i);
  }

  const Call<T>& call_;
  int group_, o0_;
  int64_t p0_;
};

// And what it has of y.
template <class T, int kOutputs>
class ForwardLane : public RegressionLane<T, kOutputs> {
 public:
  using Base = RegressionLane<T, kOutputs>;
  using Base::z;
  using typename Base::C;

  __device__ __forceinline__ ForwardLane(const Call<T>& call, int group, int o0, int64_t p0)
      : Base(call, group, o0, p0) {
#pragma unroll
    for (int row = 0; row < 2; ++row) pixels_[row] = call.pixel(p(row));
  }

  // Begins with taps from j on.
  __device__ __forceinline__ void begin(int j, bool with_x) {
#pragma unroll
    for (int tap = 0; tap < C::kTaps; ++tap) {
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        const bool reads = with_x && live(row) && j + tap < call_.taps;
        x_[tap][row] =
            reads ? under(call_.x, call_.geometry, pixels_[row], call_.tap(group_, j + tap)) : 0;
      }
    }
    Base::begin(j);
  }

  __device__ __forceinline__ void convolve() {
#pragma unroll
    for (int tile = 0; tile < C::kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        y_[tile % C::kTapTiles].at[i] +=
            leaky(z[tile].at[i], call_.slope) * x_[tile / C::kTapTiles][i / 2];
      }
    }
  }

  // Writes y, or a part of it.
  __device__ __forceinline__ void write(const Forward<T>& to, int part) const {
#pragma unroll
    for (int tile = 0; tile < C::kTapTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        const int row = i / 2, o = group_ * call_.group_outputs + output(tile, i % 2);
        if (!live(row) || output(tile, i % 2) >= call_.group_outputs) continue;
        if (to.parts != nullptr) {
          const int64_t channel = int64_t{part} * call_.outputs + o;
          store(to.parts + channel * call_.pixels + p(row), y_[tile].at[i]);
          continue;
        }
        const Pixel& at = pixels_[row];
        const bool biased = to.b.data != nullptr;
        const float b = biased ? to_float(load(to.b.at(at.n, o, at.h, at.w))) : 0;
        store(to.y.at(at.n, o, at.h, at.w), from_float<T>(y_[tile].at[i] + b));
      }
    }
  }

 private:
  using Base::call_;
  using Base::group_;
  using Base::live;
  using Base::output;
  using Base::p;

  Pixel pixels_[2];
  float x_[C::kTaps][2];
  Accumulator y_[C::kTapTiles] = {};
};

// Grid (tiles of pixels, groups * blocks of outputs, runs of taps).
template <class T, int kTerms, int kOutputs>
__global__ void __launch_bounds__(kThreads, 3) forward_kernel(Call<T> call, Forward<T> to) {
  using C = Columns<kOutputs>;
  using P = typename ForwardTiles<T>::P;
  const int blocks = C::output_blocks(call.group_outputs);
  const int group = blockIdx.y / blocks, o0 = blockIdx.y % blocks * kOutputs;
  const int64_t p0 = int64_t{blockIdx.x} * kPixels;
  const bool with_y = to.parts != nullptr || to.y.data != nullptr;
  SharedMemory shared;
  const typename ForwardTiles<T>::d d(shared, call.d, 0, call.features, p0, call.pixels);
  T* P_tiles = shared.take<T>(2 * P::kNumbers);

  // A step takes a chunk of D for a block of taps.
  const int chunks = d.chunks(call.features);
  const Run run = run_of(C::tap_blocks(call.taps), gridDim.z, blockIdx.z);
  const int steps = (run.last - run.first) * chunks;
  const auto copy = [&](int step) {
    const int j = (run.first + step / chunks) * C::kTaps;
    d.copy(step);
    P::template copy<kThreads>(P_tiles + step % 2 * P::kNumbers, call.P,
                               step % chunks * kFeatures<T>, call.features,
                               [&](int column) { return C::row_of_P(call, group, j, o0, column); });
    commit_copies();
  };
  ForwardLane<T, kOutputs> mine(call, group, o0, p0);
  copy(0);
  for (int step = 0; step < steps; ++step) {
    const int chunk = step % chunks, tap_block = run.first + step / chunks;
    if (chunk == 0) mine.begin(tap_block * C::kTaps, with_y);
    wait_copies<0>();
    __syncthreads();  // the copies of all threads are there, and the tile of the last step is read
    if (step + 1 < steps) copy(step + 1);
    regress<kTerms>(mine.z, d.of_warp(step), P_tiles + step % 2 * P::kNumbers,
                    call.features - chunk * kFeatures<T>);
    if (chunk + 1 < chunks) continue;
    if (to.signs != nullptr) mine.write_signs(to.signs, tap_block);
    if (with_y) mine.convolve();
  }
  if (with_y) mine.write(to, blockIdx.z);
}

}  // namespace adaconv::cuda::adaptive_conv
