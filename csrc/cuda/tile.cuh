// Parts of matrices, on their way from global memory through shared memory into the tensor cores.
#pragma once

#include "device.cuh"

namespace adaconv::cuda {

// Rows of numbers, one directly behind the other. Where they are aligned, each begins at a multiple
// of 16 bytes and so does each run of rows' columns that a tile is cut from.
template <class T>
struct Matrix {
  const T* data;
  int columns;
  bool aligned;

  __device__ __forceinline__ const T* at(int64_t row, int column) const {
    return data + row * columns + column;
  }
};

// The matrix, of whose columns tiles begin at multiples of `begin`.
template <class T>
Matrix<T> matrix_of(const void* data, int64_t columns, int64_t begin = 0) {
  const bool aligned = reinterpret_cast<uintptr_t>(data) % 16 == 0 &&
                       columns * sizeof(T) % 16 == 0 && begin * sizeof(T) % 16 == 0;
  return {static_cast<const T*>(data), static_cast<int>(columns), aligned};
}

// kRows rows of kColumns numbers in shared memory, kPad numbers apart: by 16 bytes, fragments are
// loaded without bank conflicts.
template <class T, int kRows, int kColumns, int kPad = 16 / static_cast<int>(sizeof(T))>
struct Tile {
  static constexpr int kPitch = kColumns + kPad, kNumbers = kRows * kPitch;

  // Begins to copy the columns from `column` on: of `from`, to row i, row row_of(i), or zeros where
  // that is negative; zeros from column `end` on. All of kThreads threads take part.
  template <int kThreads, class RowOf>
  __device__ static __forceinline__ void copy(T* tile, const Matrix<T>& from, int column, int end,
                                              const RowOf& row_of) {
    if (from.aligned) {
      copy_runs<kThreads, 16 / sizeof(T)>(tile, from, column, end, row_of);
    } else {
      copy_runs<kThreads, 1>(tile, from, column, end, row_of);
    }
  }

 private:
  template <int kThreads, int kRun, class RowOf>
  __device__ static __forceinline__ void copy_runs(T* tile, const Matrix<T>& from, int column,
                                                   int end, const RowOf& row_of) {
    using Run = Vector<T, kRun>;
    constexpr int kRuns = kColumns / kRun;
    for (int i = threadIdx.x; i < kRows * kRuns; i += kThreads) {
      const int row = i / kRuns, at = i % kRuns * kRun;
      const int64_t source = row_of(row);
      const bool live = source >= 0 && column + at < end;
      auto* to = reinterpret_cast<Run*>(tile + row * kPitch + at);
      const auto* run =
          reinterpret_cast<const Run*>(live ? from.at(source, column + at) : from.data);
      if constexpr (sizeof(Run) >= 4) {
        copy_async(to, run, live);
      } else {
        store(to, live ? load(run) : Run{});
      }
    }
  }
};

}  // namespace adaconv::cuda
