// The forward kernel of adaptive convolution. With p a pixel of the output, j = (c, t) a tap of an
// input channel, and P_j the O x D matrix that the weights of that tap are regressed by:
//
//   z[p,j,o] = sum_k d[p,k] P_j[o,k] + q_j[o]            a product on the tensor cores
//   y[p,o]   = sum_j act(z[p,j,o]) x[p,j] + b[p,o]
//
// A block has kPixels pixels, whose d stays in shared memory, and kOutputs outputs. It goes through
// the taps; while it multiplies with P of one, that of the next is copied. z lives in registers, 16
// pixels of a warp by all the outputs, and is multiplied by x there and added up.
//
// d is (pixels, D) and P is (O, J, D), both contiguous, with D a multiple of 16 bytes; q is (J, O).
// Numbers in float32 are multiplied as tf32.
#pragma once

#include "device.cuh"

namespace adaconv::cuda::adaptive_conv {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kPixels = kWarps * Accumulator::kRows;
constexpr int kTiles = 4, kOutputs = kTiles * Accumulator::kColumns;

// (N, channels, H, W), with any strides.
template <class T>
struct Picture {
  T* data;
  int64_t n, c, h, w;

  __device__ __forceinline__ T* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + in * n + ic * c + ih * h + iw * w;
  }
};

struct Geometry {
  int height, width, out_height, out_width;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
};

template <class T>
struct Call {
  Picture<const T> x;
  const T *d, *P, *q;  // q may be null
  Picture<const T> b;  // likewise
  Picture<T> y;
  Geometry geometry;
  int64_t pixels;
  int taps, outputs, size;  // J, O, D
  float slope;
};

struct Pixel {
  int64_t n;
  int h, w;
};

__device__ __forceinline__ Pixel pixel_of(int64_t p, const Geometry& geometry) {
  const int64_t row = p / geometry.out_width;
  return {row / geometry.out_height, static_cast<int>(row % geometry.out_height),
          static_cast<int>(p % geometry.out_width)};
}

// The input under a tap; 0 outside of the picture.
template <class T>
__device__ __forceinline__ float under(const Call<T>& call, const Pixel& pixel, int j) {
  const Geometry& g = call.geometry;
  const int taps = g.kernel_h * g.kernel_w, tap = j % taps;
  const int h = pixel.h * g.stride_h - g.pad_h + tap / g.kernel_w * g.dilation_h;
  const int w = pixel.w * g.stride_w - g.pad_w + tap % g.kernel_w * g.dilation_w;
  const bool inside = h >= 0 && h < g.height && w >= 0 && w < g.width;
  return inside ? to_float(load(call.x.at(pixel.n, j / taps, h, w))) : 0.0f;
}

// Rows of D numbers in shared memory, zeros up to the depth of a fragment.
template <class T>
struct Rows {
  using Run = Vector<T, 16 / sizeof(T)>;
  static constexpr int kRun = 16 / sizeof(T), kDepth = RowFragment<T>::kDepth;

  __host__ __device__ static constexpr int depth(int size) {
    return ceil_div(size, kDepth) * kDepth;
  }
  // The odd number of runs keeps lanes that read a column of rows out of each other's banks.
  __host__ __device__ static constexpr int pitch(int size) { return depth(size) + kRun; }

  // Begins to copy rows; those from `count` on are zeros.
  __device__ static __forceinline__ void copy(T* tile, int rows, const T* from, int64_t stride,
                                              int64_t count, int size) {
    const int runs = depth(size) / kRun;
    for (int i = threadIdx.x; i < rows * runs; i += kThreads) {
      const int row = i / runs, at = i % runs * kRun;
      const bool live = row < count && at < size;
      copy_async(reinterpret_cast<Run*>(tile + row * pitch(size) + at),
                 reinterpret_cast<const Run*>(live ? from + row * stride + at : from), live);
    }
  }
};

template <class T>
constexpr size_t forward_shared_bytes(int size) {
  return shared_bytes<T>(kPixels * Rows<T>::pitch(size)) +
         shared_bytes<T>(2 * kOutputs * Rows<T>::pitch(size));
}

// z without q of a warp's pixels and a tile of outputs.
template <class T>
__device__ __forceinline__ void regress(Accumulator (&z)[kTiles], const T* d_rows, const T* P_rows,
                                        int size) {
  const int pitch = Rows<T>::pitch(size);
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) z[tile] = {};
  for (int k = 0; k < size; k += Rows<T>::kDepth) {
    const auto a = load_fragment<RowFragment>(d_rows + k, pitch);
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const T* columns = P_rows + tile * Accumulator::kColumns * pitch + k;
      multiply_add(z[tile], a, load_fragment<ColumnFragment>(columns, pitch));
    }
  }
}

// Grid (tiles of pixels, tiles of outputs).
template <class T>
__global__ void __launch_bounds__(kThreads, 1) forward_kernel(Call<T> call) {
  const int size = call.size, pitch = Rows<T>::pitch(size);
  const int64_t p0 = int64_t{blockIdx.x} * kPixels;
  const int o0 = blockIdx.y * kOutputs;
  SharedMemory shared;
  T* d_tile = shared.take<T>(kPixels * pitch);
  T* P_tiles = shared.take<T>(2 * kOutputs * pitch);

  Rows<T>::copy(d_tile, kPixels, call.d + p0 * size, size, call.pixels - p0, size);
  const auto copy_P = [&](int j) {
    const T* from = call.P + (int64_t{o0} * call.taps + j) * size;
    Rows<T>::copy(P_tiles + j % 2 * kOutputs * pitch, kOutputs, from, int64_t{call.taps} * size,
                  call.outputs - o0, size);
  };
  copy_P(0);
  commit_copies();

  // Of the two rows and two columns of each accumulator that a lane has.
  const auto row_of = [&](int i) { return p0 + warp() * 16 + Accumulator::row(lane(), i); };
  const auto output_of = [&](int tile, int i) {
    return o0 + tile * Accumulator::kColumns + Accumulator::column(lane(), i);
  };
  const bool live[2] = {row_of(0) < call.pixels, row_of(2) < call.pixels};
  const Pixel pixels[2] = {pixel_of(row_of(0), call.geometry), pixel_of(row_of(2), call.geometry)};

  Accumulator y[kTiles] = {};
  for (int j = 0; j < call.taps; ++j) {
    if (j + 1 < call.taps) copy_P(j + 1);
    commit_copies();
    wait_copies<1>();
    __syncthreads();  // all threads' copies are there
    Accumulator z[kTiles];
    regress(z, d_tile + warp() * 16 * pitch, P_tiles + j % 2 * kOutputs * pitch, size);
    __syncthreads();  // the tile may be written again
    float x[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) x[i] = live[i] ? under(call, pixels[i], j) : 0.0f;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        const int o = output_of(tile, i);
        const bool biased = call.q != nullptr && o < call.outputs;
        const float q = biased ? to_float(load(call.q + int64_t{j} * call.outputs + o)) : 0.0f;
        const float weight = z[tile].at[i] + q;
        y[tile].at[i] += (weight > 0 ? weight : weight * call.slope) * x[i / 2];
      }
    }
  }

#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < Accumulator::kCount; ++i) {
      const int o = output_of(tile, i);
      if (!live[i / 2] || o >= call.outputs) continue;
      const Pixel& at = pixels[i / 2];
      const bool biased = call.b.data != nullptr;
      const float b = biased ? to_float(load(call.b.at(at.n, o, at.h, at.w))) : 0.0f;
      store(call.y.at(at.n, o, at.h, at.w), from_float<T>(y[tile].at[i] + b));
    }
  }
}

}  // namespace adaconv::cuda::adaptive_conv
