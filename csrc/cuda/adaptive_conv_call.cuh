// What the kernels of adaptive convolution share: the arguments, and how they are cut.
//
// With p a pixel of the output, j = (c, t) a tap of an input channel, and P_j the O x D matrix that
// the weights of that tap are regressed by, each kernel has one product on the tensor cores:
//
//   forward   z[p,j,o]  = sum_k d[p,k] P_j[o,k] + q_j[o]
//             y[p,o]    = sum_j act(z[p,j,o]) x[p,j] + b[p,o]     and whether z is positive, a bit
//   inputs    u[p,j,o]  = act'(z[p,j,o]) gy[p,o]                  of the bit alone
//             R[p,j,k]  = sum_o u[p,j,o] P_j[o,k]
//             gx[p,j]   = sum_k R[p,j,k] d[p,k] + sum_o u[p,j,o] q_j[o]    as act(z) = act'(z) z
//             gd[p,k]   = sum_j R[p,j,k] x[p,j]
//   weights   gP_j[o,k] = sum_p u[p,j,o] x[p,j] d[p,k]
//             gq_j[o]   = sum_p u[p,j,o] x[p,j]
//
// No weight is ever in memory: z lives in registers. What several blocks share is written apart and
// added up afterwards, so that every sum has one order. Groups are runs of O / groups outputs,
// whose J counts the channels of their group alone.
#pragma once

#include "picture.cuh"
#include "tile.cuh"

namespace adaconv::cuda::adaptive_conv {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kPixels = kWarps * Accumulator::kRows;  // of a block
constexpr size_t kSharedMemory = 64 << 10;            // that every GPU from sm_75 on gives a block

// Features that a tile has, 128 bytes; D is cut into chunks of so many.
template <class T>
constexpr int kFeatures = 128 / static_cast<int>(sizeof(T));

template <class T>
struct Call {
  Source<T> x;
  Matrix<T> d, P;  // (pixels, D) and (O J, D)
  const T* q;      // (J, O), or null
  Geometry geometry;
  int64_t pixels;
  int channels, taps, outputs, group_outputs, features;  // C of a group, J, O, O of a group, D
  float slope;

  // A tap of a group's channels, as one of all channels.
  __device__ __forceinline__ Tap tap(int group, int j) const {
    Tap tap = tap_of(j, geometry);
    tap.channel += group * channels;
    return tap;
  }
  __device__ __forceinline__ Pixel pixel(int64_t p) const {
    return pixel_of(p, geometry.out_height, geometry.out_width);
  }
};

// 32 columns of a product, the weights of a pixel that a word of bits is of: those of kOutputs
// outputs, and as many taps as fill it, one after the other.
template <int kOutputs>
struct Columns {
  static constexpr int kCount = 32, kTaps = kCount / kOutputs;
  static constexpr int kTiles = kCount / Accumulator::kColumns;
  static constexpr int kTapTiles = kTiles / kTaps;  // that a tap has

  __host__ __device__ static int tap_blocks(int taps) { return ceil_div(taps, kTaps); }
  __host__ __device__ static int output_blocks(int outputs) { return ceil_div(outputs, kOutputs); }

  // Row of P, as (O J, D), of a column from tap j and output o of a group on; -1 where there is
  // none.
  template <class T>
  __device__ static __forceinline__ int64_t row_of_P(const Call<T>& call, int group, int j, int o,
                                                     int column) {
    const int tap = j + column / kOutputs, output = o + column % kOutputs;
    if (tap >= call.taps || output >= call.group_outputs) return -1;
    return (int64_t{group} * call.group_outputs + output) * call.taps + tap;
  }

  // The place of the bits, whether each z is positive, of 32 columns: words (groups, blocks of
  // taps, blocks of outputs, pixels). Byte lane % 4 of a word has, in their order, the bits of the
  // columns that the lane has in accumulators: what a lane of the forward kernel knows is a byte,
  // and so is what one of the inputs' kernel wants.
  template <class T>
  __device__ static __forceinline__ int64_t word(const Call<T>& call, int group, int tap_block,
                                                 int output_block, int64_t p) {
    const int64_t block = int64_t{group} * tap_blocks(call.taps) + tap_block;
    return (block * output_blocks(call.group_outputs) + output_block) * call.pixels + p;
  }
};

// Rows of a block's pixels, cut into chunks of columns that come round and round, a step each. If
// there are few of them they stay in shared memory, otherwise each is copied whenever its turn
// comes: always, where none may stay.
template <class T, int kColumns, int kPad, int kMostChunks = 4>
class Rows {
 public:
  using Shape = Tile<T, kPixels, kColumns, kPad>;
  static constexpr int kMost = kMostChunks;

  __host__ __device__ static constexpr int chunks(int columns) {
    return ceil_div(columns, kColumns);
  }
  __host__ __device__ static constexpr int tiles(int columns) {
    return chunks(columns) <= kMost ? chunks(columns) : 2;
  }

  // The columns from `first` on, and rows from p0 on, of so many.
  __device__ __forceinline__ Rows(SharedMemory& shared, const Matrix<T>& from, int first,
                                  int columns, int64_t p0, int64_t pixels)
      : from_(from),
        first_(first),
        columns_(columns),
        chunks_(chunks(columns)),
        tiles_(tiles(columns)),
        p0_(p0),
        pixels_(pixels),
        numbers_(shared.take<T>(tiles_ * Shape::kNumbers)) {}

  __device__ __forceinline__ void copy(int step) const {
    copy(step, [&](int row) { return p0_ + row < pixels_ ? p0_ + row : -1; });
  }
  // Of rows row_of(i), see Tile.
  template <class RowOf>
  __device__ __forceinline__ void copy(int step, const RowOf& row_of) const {
    if (chunks_ <= kMost && step >= chunks_) return;
    const int column = first_ + step % chunks_ * kColumns;
    Shape::template copy<kThreads>(numbers_ + step % tiles_ * Shape::kNumbers, from_, column,
                                   first_ + columns_, row_of);
  }
  // The rows of this warp's pixels.
  __device__ __forceinline__ const T* of_warp(int step) const {
    return numbers_ + step % tiles_ * Shape::kNumbers + warp() * Accumulator::kRows * Shape::kPitch;
  }

 private:
  const Matrix<T>& from_;
  int first_, columns_, chunks_, tiles_;
  int64_t p0_, pixels_;
  T* numbers_;
};

__device__ __forceinline__ float leaky(float z, float slope) {
  return z > 0 ? z : slope == 0 && z <= 0 ? 0 : z * slope;
}

// Lets a function add products to sums. Tensor cores cut off what does not fit as they add, which
// would show in float32 after many sums: there, those of each call are added up by themselves.
template <class T, int kCount, class Function>
__device__ __forceinline__ void add_products(Accumulator (&sums)[kCount],
                                             const Function& multiply_into) {
  if constexpr (sizeof(T) == 2) {
    multiply_into(sums);
  } else {
    Accumulator products[kCount] = {};
    multiply_into(products);
#pragma unroll
    for (int tile = 0; tile < kCount; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) sums[tile].at[i] += products[tile].at[i];
    }
  }
}

// A gradient through the activation at z, of which the sign is enough.
__device__ __forceinline__ float gate(bool positive, float g, float slope) {
  return positive ? g : slope == 0 ? 0 : g * slope;
}

}  // namespace adaconv::cuda::adaptive_conv
