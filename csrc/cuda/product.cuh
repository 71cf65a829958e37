// Products of matrices on the tensor cores, where a problem says what the factors are, which may be
// gathered from anywhere, and what becomes of the sums:
//
//   sum[row, column] = sum_k left[row, k] right[column, k]
//
// A problem derives from Product and has
//
//   left(at, row, k), right(at, column, k)    where a run of numbers begins, or null for zeros;
//                                             all three are within their bounds
//   finish(at, row, numbers)                  takes a row of sums, or one that is beyond the last:
//                                             numbers(f) calls f(column, sum) for those of the lane
//
// where `at` is a block's place, or what a function at(place) makes of it once.
//
// A launch makes many products of the same sizes: `outer` times `inner`. The depth may be cut into
// runs, whose sums are apart.
#pragma once

#include <type_traits>

#include "tile.cuh"

namespace adaconv::cuda::product {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kRows = 64, kColumns = 64;  // of a block
constexpr int kWarpRows = 32, kWarpColumns = 32;

// Numbers of a tile along the depth, 128 bytes.
template <class T>
constexpr int kDepth = 128 / static_cast<int>(sizeof(T));

// How the numbers of a factor lie in memory: runs go along the depth, or across it.
enum class Runs { kAlong, kAcross };

// Which of the products; which run of the depth; which part of the columns of all inner products a
// warp has.
struct Place {
  int64_t outer;
  int inner, run, column_part;
};

template <class T, Runs kLeftRuns, Runs kRightRuns>
struct Product {
  using Type = T;
  static constexpr Runs kLeft = kLeftRuns, kRight = kRightRuns;
  // Of floats, what lies across the depth has it in another order, and so must the other factor.
  static_assert(kLeft == Runs::kAlong || kRight == Runs::kAcross);

  int rows, columns, depth;
  bool left_aligned, right_aligned;    // whether all runs of 16 bytes are whole and aligned
  uint32_t right_mask = ~uint32_t{0};  // what is kept of the words of the right factor

  __device__ __forceinline__ const Place& at(const Place& place) const { return place; }
};

// Into how many parts the columns of all inner products fall.
inline int column_parts(int columns, int inner) {
  return inner * ceil_div(columns, kColumns) * (kColumns / kWarpColumns);
}

template <class Problem>
struct Tiles {
  using T = typename Problem::Type;
  static constexpr bool kMixed = Problem::kLeft != Problem::kRight;
  static constexpr int kPad = kMixed ? 8 : 16 / static_cast<int>(sizeof(T));

  using Left = std::conditional_t<Problem::kLeft == Runs::kAlong, Tile<T, kRows, kDepth<T>, kPad>,
                                  Tile<T, kDepth<T>, kRows>>;
  using Right = std::conditional_t<Problem::kRight == Runs::kAlong, Tile<T, kColumns, kDepth<T>>,
                                   Tile<T, kDepth<T>, kColumns>>;

  static constexpr size_t bytes() {
    return shared_bytes<T>(2 * Left::kNumbers) + shared_bytes<T>(2 * Right::kNumbers);
  }

  __device__ static __forceinline__ RowFragment<T> left(const T* tile, int row, int k) {
    if constexpr (Problem::kLeft == Runs::kAcross) {
      return load_transposed<RowFragment>(tile + k * Left::kPitch + row, Left::kPitch);
    } else if constexpr (kMixed) {
      return load_reordered(tile + row * Left::kPitch + k, Left::kPitch);
    } else {
      return load_fragment<RowFragment>(tile + row * Left::kPitch + k, Left::kPitch);
    }
  }
  __device__ static __forceinline__ ColumnFragment<T> right(const T* tile, int column, int k) {
    if constexpr (Problem::kRight == Runs::kAcross) {
      return load_transposed<ColumnFragment>(tile + k * Right::kPitch + column, Right::kPitch);
    } else {
      return load_fragment<ColumnFragment>(tile + column * Right::kPitch + k, Right::kPitch);
    }
  }
};

// The sums of a warp.
template <int kTerms, class Problem>
class Sums {
 public:
  using T = typename Problem::Type;
  static constexpr int kRowTiles = kWarpRows / Accumulator::kRows;
  static constexpr int kColumnTiles = kWarpColumns / Accumulator::kColumns;

  // Of a block that has so many rows and columns.
  __device__ __forceinline__ Sums(int rows, int columns, uint32_t right_mask)
      : rows_(rows), columns_(columns), right_mask_(right_mask) {}

  __device__ static __forceinline__ int column_part() { return warp() % (kColumns / kWarpColumns); }

  // Adds the products of two tiles, so deep. Tensor cores cut off what does not fit as they add,
  // which would show in float32 after many sums: there, each tile has its own.
  __device__ __forceinline__ void multiply_tile(const T* left, const T* right, int depth) {
    if constexpr (sizeof(T) == 2) {
      multiply_tile(left, right, depth, sums_);
    } else {
      Accumulator sums[kRowTiles][kColumnTiles] = {};
      multiply_tile(left, right, depth, sums);
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r) {
#pragma unroll
        for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
          for (int i = 0; i < Accumulator::kCount; ++i) sums_[r][c].at[i] += sums[r][c].at[i];
        }
      }
    }
  }

  // Calls function(row, numbers) for the rows of the block, those that it does not have as well.
  template <class Function>
  __device__ __forceinline__ void for_each_row(const Function& function) const {
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        function(row(r) + Accumulator::row(lane(), 2 * half), [&](const auto& take) {
#pragma unroll
          for (int c = 0; c < kColumnTiles; ++c) {
#pragma unroll
            for (int i = 0; i < 2; ++i) {
              const int at = column(c) + Accumulator::column(lane(), i);
              if (at < columns_) take(at, sums_[r][c].at[2 * half + i]);
            }
          }
        });
      }
    }
  }

 private:
  __device__ static __forceinline__ int row(int tile) {
    return warp() / (kColumns / kWarpColumns) * kWarpRows + tile * Accumulator::kRows;
  }
  __device__ static __forceinline__ int column(int tile) {
    return column_part() * kWarpColumns + tile * Accumulator::kColumns;
  }

  __device__ __forceinline__ void multiply_tile(const T* left, const T* right, int depth,
                                                Accumulator (&sums)[kRowTiles][kColumnTiles]) {
    using Shape = Tiles<Problem>;
#pragma unroll
    for (int k = 0; k < kDepth<T>; k += RowFragment<T>::kDepth) {
      if (k >= depth || row(0) >= rows_) break;
      RowFragment<T> a[kRowTiles];
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r) a[r] = Shape::left(left, row(r), k);
#pragma unroll
      for (int c = 0; c < kColumnTiles; ++c) {
        if (column(c) >= columns_) break;
        auto b = Shape::right(right, column(c), k);
#pragma unroll
        for (int i = 0; i < b.kWords; ++i) b.words[i] &= right_mask_;
#pragma unroll
        for (int r = 0; r < kRowTiles; ++r) multiply<kTerms>(sums[r][c], a[r], b);
      }
    }
  }

  int rows_, columns_;
  uint32_t right_mask_;
  Accumulator sums_[kRowTiles][kColumnTiles] = {};
};

// Begins to copy a tile of a factor, which has so many rows, at a depth. Within the tile both begin
// at 0; at(row, k) is where a run begins.
template <class Tile, Runs kRuns, class T, class At>
__device__ __forceinline__ void copy_factor(T* tile, bool aligned, int rows, int depth,
                                            const At& at) {
  Tile::template copy<kThreads>(tile, aligned, [&](int i, int j) -> const T* {
    const int row = kRuns == Runs::kAlong ? i : j, k = kRuns == Runs::kAlong ? j : i;
    return row < rows && k < depth ? at(row, k) : nullptr;
  });
}

// Grid (outer products * tiles of rows, inner products * tiles of columns, runs of the depth).
template <class T, int kTerms, template <class> class Problem>
__global__ void __launch_bounds__(kThreads, 3) product_kernel(Problem<T> problem) {
  using Shape = Tiles<Problem<T>>;
  const int row_tiles = ceil_div(problem.rows, kRows);
  const int column_tiles = ceil_div(problem.columns, kColumns);
  const int row0 = blockIdx.x % row_tiles * kRows, column0 = blockIdx.y % column_tiles * kColumns;
  const int rows = problem.rows - row0, columns = problem.columns - column0;
  Sums<kTerms, Problem<T>> mine(rows, columns, problem.right_mask);
  const Place place = {
      blockIdx.x / row_tiles, static_cast<int>(blockIdx.y) / column_tiles,
      static_cast<int>(blockIdx.z),
      static_cast<int>(blockIdx.y) * (kColumns / kWarpColumns) + mine.column_part()};
  const auto at = problem.at(place);
  SharedMemory shared;
  T* left = shared.take<T>(2 * Shape::Left::kNumbers);
  T* right = shared.take<T>(2 * Shape::Right::kNumbers);

  const auto copy = [&](int step) {
    const int k0 = step * kDepth<T>, depth = problem.depth - k0;
    copy_factor<typename Shape::Left, Problem<T>::kLeft>(
        left + step % 2 * Shape::Left::kNumbers, problem.left_aligned, rows, depth,
        [&](int row, int k) { return problem.left(at, row0 + row, k0 + k); });
    copy_factor<typename Shape::Right, Problem<T>::kRight>(
        right + step % 2 * Shape::Right::kNumbers, problem.right_aligned, columns, depth,
        [&](int column, int k) { return problem.right(at, column0 + column, k0 + k); });
    commit_copies();
  };
  const Run run = run_of(ceil_div(problem.depth, kDepth<T>), gridDim.z, blockIdx.z);
  copy(run.first);
  for (int step = run.first; step < run.last; ++step) {
    wait_copies<0>();
    __syncthreads();  // the copies of all threads are there, and the tile of the last step is read
    if (step + 1 < run.last) copy(step + 1);
    mine.multiply_tile(left + step % 2 * Shape::Left::kNumbers,
                       right + step % 2 * Shape::Right::kNumbers, problem.depth - step * kDepth<T>);
  }
  mine.for_each_row([&](int row, const auto& numbers) {
    problem.finish(at, row0 + row, [&](const auto& take) {
      numbers([&](int column, float sum) { take(column0 + column, sum); });
    });
  });
}

// Starts the kernel; null, or why it could not start.
template <int kTerms, template <class> class Problem, class T>
const char* start(const Problem<T>& problem, int64_t outer, int inner, int runs, Stream stream) {
  const dim3 grid(static_cast<unsigned>(outer * ceil_div(problem.rows, kRows)),
                  static_cast<unsigned>(inner * ceil_div(problem.columns, kColumns)),
                  static_cast<unsigned>(runs));
  return launch(product_kernel<T, kTerms, Problem>, grid, kThreads, Tiles<Problem<T>>::bytes(),
                stream, problem);
}

}  // namespace adaconv::cuda::product
