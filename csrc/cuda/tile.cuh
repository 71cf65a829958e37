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
    copy<kThreads>(tile, from.aligned, [&](int i, int at) {
      const int64_t row = row_of(i);
      return row >= 0 && column + at < end ? from.at(row, column + at) : nullptr;
    });
  }

  // Begins to copy runs of numbers, those from row i and column j on from at(i, j), or zeros where
  // that is null. Runs that are aligned have 16 bytes; others, a number.
  template <int kThreads, class At>
  __device__ static __forceinline__ void copy(T* tile, bool aligned, const At& at) {
    if (aligned) {
      copy_runs<kThreads, 16 / sizeof(T)>(tile, at);
    } else {
      copy_runs<kThreads, 1>(tile, at);
    }
  }

 private:
  template <int kThreads, int kRun, class At>
  __device__ static __forceinline__ void copy_runs(T* tile, const At& at) {
    using Run = Vector<T, kRun>;
    constexpr int kRuns = kColumns / kRun;
    for (int i = threadIdx.x; i < kRows * kRuns; i += kThreads) {
      const int row = i / kRuns, column = i % kRuns * kRun;
      const auto* run = reinterpret_cast<const Run*>(at(row, column));
      auto* to = reinterpret_cast<Run*>(tile + row * kPitch + column);
      if constexpr (sizeof(Run) >= 4) {
        copy_async(to, run, run != nullptr);
      } else {
        store(to, run != nullptr ? load(run) : Run{});
      }
    }
  }
};

// The bounds of one of `parts` runs that `count` steps are cut into; none is empty if there are
// as many steps.
struct Run {
  int first, last;
};
__device__ __forceinline__ Run run_of(int count, int parts, int part) {
  return {static_cast<int>(int64_t{count} * part / parts),
          static_cast<int>(int64_t{count} * (part + 1) / parts)};
}

}  // namespace adaconv::cuda
