// The kernels of minibatch discrimination, for one measure b of which
//
//   forward   o[i]    = sum_j k[i,j],   k[i,j] = exp(-sum_c |A[i,c] - B[j,c]|),   j != i + skip
//   backward  gA[i,c] = -sum_j (g[i] + h[j]) k[i,j] sign(A[i,c] - B[j,c])
//
// The gradient of the first set has g alone, that of the second one, whose rows take the place of
// A, has h alone, and that of a set which is compared with itself has both.
//
// A warp has one measure, a lane has one row i of it in registers. The rows j lie in shared memory,
// where all lanes read the same number at once. Neighbouring measures lie side by side in global
// memory, so the warps of a block, which have neighbouring ones, load the rows of all together. C
// is cut into chunks of kSize, which are zeros beyond the last c; the distances to kColumns rows j
// are kept from chunk to chunk. Nothing is kept of the pairs: the backward pass forms k anew.
#pragma once

#include "device.cuh"

namespace adaconv::cuda::minibatch_discrimination {

constexpr int kMeasures = 4, kThreads = kMeasures * kWarp;
constexpr int kRows = kWarp;
constexpr int64_t kSkipNothing = INT64_MIN;  // as skip: i + skip is no j

// One of the sets, (count, measures, size).
template <class T>
struct Set {
  T* data;
  int64_t row_stride, measure_stride, stride;
  int64_t count;

  __device__ __forceinline__ T* at(int64_t row, int measure, int c) const {
    return data + row * row_stride + measure * measure_stride + c * stride;
  }
};

// A number for each row and measure; 0 where there is no array.
template <class T>
struct Column {
  T* data;
  int64_t row_stride, measure_stride;

  __device__ __forceinline__ T* at(int64_t row, int measure) const {
    return data + row * row_stride + measure * measure_stride;
  }
  __device__ __forceinline__ float read(int64_t row, int measure) const {
    return data == nullptr ? 0 : to_float(load(at(row, measure)));
  }
};

template <class T>
struct Call {
  Set<const T> A, B;
  int measures, size;
  int64_t skip;
};

// kCount rows of kMeasures measures in shared memory. No two lanes meet in a bank: neither those
// that write a row, for measures are kSize banks apart, nor those that read a number of many rows.
template <int kCount, int kSize>
class Tile {
 public:
  static constexpr int kPitch = kSize + 1;
  static constexpr int kMeasureStride = (kCount * kPitch - kSize + 31) / 32 * 32 + kSize;
  static constexpr int kNumbers = kMeasures * kMeasureStride;

  __device__ __forceinline__ explicit Tile(SharedMemory& shared)
      : numbers_(shared.take<float>(kNumbers)) {}

  __device__ __forceinline__ float* at(int row, int measure) const {
    return numbers_ + measure * kMeasureStride + row * kPitch;
  }

  template <class T>
  __device__ __forceinline__ void fill(const Call<T>& call, const Set<const T>& set, int64_t row0,
                                       int measure0, int c0) const {
    for_each([&](int row, int measure, int c) {
      const bool there =
          row0 + row < set.count && measure0 + measure < call.measures && c0 + c < call.size;
      const float value =
          there ? to_float(load(set.at(row0 + row, measure0 + measure, c0 + c))) : 0.0f;
      store(at(row, measure) + c, value);
    });
  }

  template <class T>
  __device__ __forceinline__ void write(const Call<T>& call, const Set<T>& set, int64_t row0,
                                        int measure0, int c0) const {
    for_each([&](int row, int measure, int c) {
      const bool there =
          row0 + row < set.count && measure0 + measure < call.measures && c0 + c < call.size;
      const float value = load(at(row, measure) + c);
      if (there) {
        store(set.at(row0 + row, measure0 + measure, c0 + c), from_float<T>(value));
      }
    });
  }

 private:
  // Neighbouring threads take neighbouring numbers of global memory.
  template <class Function>
  __device__ static __forceinline__ void for_each(const Function& function) {
    for (int i = threadIdx.x; i < kMeasures * kCount * kSize; i += kThreads) {
      function(i / kSize / kMeasures, i / kSize % kMeasures, i % kSize);
    }
  }

  float* numbers_;
};

// What a thread knows: its row of A, and a tile of rows of B.
template <class T, int kSize>
class Pairs {
 public:
  static constexpr int kColumns = kSize <= 8 ? 16 : 8;  // k of them, and a chunk, are in registers
  static constexpr size_t kSharedBytes = shared_bytes<float>(Tile<kRows, kSize>::kNumbers) +
                                         shared_bytes<float>(Tile<kColumns, kSize>::kNumbers);

  __device__ __forceinline__ Pairs(const Call<T>& call, SharedMemory& shared)
      : call_(call),
        rows_(shared),
        columns_(shared),
        row0_(int64_t{blockIdx.x} * kRows),
        measure0_(blockIdx.y * kMeasures),
        chunks_(ceil_div(call.size, kSize)) {}

  __device__ __forceinline__ int64_t row() const { return row0_ + lane(); }
  __device__ __forceinline__ int measure() const { return measure0_ + warp(); }
  __device__ __forceinline__ bool exists() const {
    return row() < call_.A.count && measure() < call_.measures;
  }

  // Sets k of the rows from j0 on, 0 where a pair does not count. The chunk comes last, so that
  // afterwards `mine` and `others` have it.
  __device__ __forceinline__ void visit(int64_t j0, int chunk) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) k[j] = 0;
    for (int step = 1; step <= chunks_; ++step) {
      const int c0 = (chunk + step) % chunks_ * kSize;
      const bool reload = j0 == 0 || chunks_ > 1;
      __syncthreads();  // the tiles before have been read
      columns_.fill(call_, call_.B, j0, measure0_, c0);
      if (reload) rows_.fill(call_, call_.A, row0_, measure0_, c0);
      __syncthreads();
#pragma unroll
      for (int c = 0; c < kSize; ++c) {
        if (reload) mine[c] = load(rows_.at(lane(), warp()) + c);
      }
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
#pragma unroll
        for (int c = 0; c < kSize; ++c) k[j] += fabsf(mine[c] - others(j, c));
      }
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const bool counts = j0 + j < call_.B.count && j0 + j != row() + call_.skip;
      k[j] = counts ? expf(-k[j]) : 0.0f;
    }
  }

  __device__ __forceinline__ float others(int j, int c) const {
    return load(columns_.at(j, warp()) + c);
  }

  // Writes a chunk of the rows of A's gradient, by way of the tile that had the rows.
  __device__ __forceinline__ void write(const float (&gradient)[kSize], const Set<T>& gA,
                                        int chunk) const {
#pragma unroll
    for (int c = 0; c < kSize; ++c) store(rows_.at(lane(), warp()) + c, gradient[c]);
    __syncthreads();
    rows_.write(call_, gA, row0_, measure0_, chunk * kSize);
  }

  float k[kColumns], mine[kSize];

 private:
  const Call<T>& call_;
  Tile<kRows, kSize> rows_;
  Tile<kColumns, kSize> columns_;
  int64_t row0_;
  int measure0_, chunks_;
};

// Grid (tiles of rows, tiles of measures).
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads) forward_kernel(Call<T> call, Column<T> o) {
  SharedMemory shared;
  Pairs<T, kSize> pairs(call, shared);
  float sum = 0;
  for (int64_t j0 = 0; j0 < call.B.count; j0 += pairs.kColumns) {
    pairs.visit(j0, 0);
#pragma unroll
    for (int j = 0; j < pairs.kColumns; ++j) sum += pairs.k[j];
  }
  if (pairs.exists()) store(o.at(pairs.row(), pairs.measure()), from_float<T>(sum));
}

// Grid (tiles of rows, tiles of measures, chunks of C).
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(Call<T> call, Column<const T> g, Column<const T> h, Set<T> gA) {
  SharedMemory shared;
  Pairs<T, kSize> pairs(call, shared);
  const int chunk = blockIdx.z;
  const float of_row = pairs.exists() ? g.read(pairs.row(), pairs.measure()) : 0;
  float gradient[kSize] = {};
  for (int64_t j0 = 0; j0 < call.B.count; j0 += pairs.kColumns) {
    pairs.visit(j0, chunk);
#pragma unroll
    for (int j = 0; j < pairs.kColumns; ++j) {
      const bool there = j0 + j < call.B.count && pairs.measure() < call.measures;
      const float slope = (there ? of_row + h.read(j0 + j, pairs.measure()) : 0) * pairs.k[j];
#pragma unroll
      for (int c = 0; c < kSize; ++c) {
        const float difference = pairs.mine[c] - pairs.others(j, c);
        // A NaN has a sign as well, so that it is not lost.
        const float signed_slope = difference > 0 ? slope : -slope;
        gradient[c] -= difference == 0 ? 0 : signed_slope;
      }
    }
  }
  pairs.write(gradient, gA, chunk);
}

}  // namespace adaconv::cuda::minibatch_discrimination
