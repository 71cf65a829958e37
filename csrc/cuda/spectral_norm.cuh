// The kernels of spectral normalisation. Each takes all matrices W, (rows x columns), of a network
// in one launch; a block has the matrix of its blockIdx.y. The state holds u, then v of a matrix,
// and norms are formed by those who divide by them, as they read what they divide:
//
//   rows      s = W v / |v|                    in the place of u; a row to a warp
//   columns   t = W' s / |s|                   in the place of v; 32 columns to a block
//   finish    u = s / |s|, v = t / |t|, sigma = t v           since W u = t
//   quotient  W / sigma
//   product   sum of g W, in parts
//   gradient  g / sigma - (sum of g W) / sigma^2 u v'
//
// Every sum is made in an order of its own, which nothing changes.
#pragma once

#include "device.cuh"

namespace adaconv::cuda::spectral_norm {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kMost = 64;              // matrices of a launch: its arguments are 4 KiB at most
constexpr int kValues = 8 * kThreads;  // of a matrix, for a block that divides them
constexpr size_t kSlots = kWarps + 1;  // rows of shared memory, for 32 sums each

template <class T>
struct Matrix {
  const T *W, *g;  // g may be null
  T* result;
  float *u, *sigma;
  int rows, columns;

  __device__ __forceinline__ float* v() const { return u + rows; }
  __device__ __forceinline__ int64_t size() const { return int64_t{rows} * columns; }
};

template <class T>
struct Call {
  Matrix<T> matrices[kMost];
  float eps;

  __device__ __forceinline__ const Matrix<T>& mine() const { return matrices[blockIdx.y]; }
};

// NaN stays.
__device__ __forceinline__ float at_least(float value, float least) {
  return value < least ? least : value;
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, apart);
  }
  return value;
}

// The sum of all threads' values, for all of them. The slots, one for each warp, are free again
// after the block's next barrier.
__device__ __forceinline__ float block_sum(float value, float* slots) {
  const float of_warp = warp_sum(value);
  if (lane() == 0) store(slots + warp(), of_warp);
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) sum += load(slots + i);
  return sum;
}

// Writes s, `products` numbers behind the place of u. Grid (tiles of rows, matrices).
template <class T>
__global__ void __launch_bounds__(kThreads)
    rows_kernel(Call<T> call, int64_t products, bool normalise) {
  const Matrix<T>& matrix = call.mine();
  const int row = blockIdx.x * kWarps + warp();
  if (row >= matrix.rows) return;
  const T* W = matrix.W + int64_t{row} * matrix.columns;
  float sum = 0, square = 0;
#pragma unroll 4
  for (int c = lane(); c < matrix.columns; c += kWarp) {
    const float factor = load(matrix.v() + c);
    sum += to_float(load(W + c)) * factor;
    square += factor * factor;
  }
  sum = warp_sum(sum);
  square = warp_sum(square);
  if (lane() > 0) return;
  store(matrix.u + products + row, normalise ? sum / at_least(sqrtf(square), call.eps) : sum);
}

// Writes t; a warp adds up every kWarps-th row of 32 columns. Grid (tiles of columns, matrices).
template <class T>
__global__ void __launch_bounds__(kThreads) columns_kernel(Call<T> call) {
  const Matrix<T>& matrix = call.mine();
  const int column = blockIdx.x * kWarp + lane();
  if (static_cast<int>(blockIdx.x) * kWarp >= matrix.columns) return;
  SharedMemory shared;
  float* sums = shared.take<float>(kSlots * kWarp);
  float* squares = sums + kWarps * kWarp;

  const bool live = column < matrix.columns;
  float sum = 0, square = 0;
#pragma unroll 4
  for (int row = warp(); row < matrix.rows; row += kWarps) {
    const float factor = load(matrix.u + row);
    if (live) sum += to_float(load(matrix.W + int64_t{row} * matrix.columns + column)) * factor;
    square += factor * factor;
  }
  store(sums + warp() * kWarp + lane(), sum);
  if (lane() == 0) store(squares + warp(), square);
  __syncthreads();
  if (warp() > 0 || !live) return;
  sum = square = 0;
#pragma unroll
  for (int i = 0; i < kWarps; ++i) {
    sum += load(sums + i * kWarp + lane());
    square += load(squares + i);
  }
  store(matrix.v() + column, sum / at_least(sqrtf(square), call.eps));
}

__device__ __forceinline__ float dot(const float* a, const float* b, int count) {
  float sum = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += load(a + i) * load(b + i);
  return sum;
}

// Writes u, v and sigma; where u and v stay, W v is `products` numbers behind the place of u.
// Grid (1, matrices).
template <class T>
__global__ void __launch_bounds__(kThreads)
    finish_kernel(Call<T> call, int64_t products, bool normalise) {
  const Matrix<T>& matrix = call.mine();
  const auto divide = [](float* vector, int count, float by) {
    for (int i = threadIdx.x; i < count; i += kThreads) store(vector + i, load(vector + i) / by);
  };
  SharedMemory shared;
  float *slots = shared.take<float>(kWarps), *more = shared.take<float>(kWarps);
  float sigma;
  if (normalise) {
    const float square_u = block_sum(dot(matrix.u, matrix.u, matrix.rows), slots);
    const float square_v = block_sum(dot(matrix.v(), matrix.v(), matrix.columns), more);
    const float of_v = at_least(sqrtf(square_v), call.eps);
    divide(matrix.u, matrix.rows, at_least(sqrtf(square_u), call.eps));
    divide(matrix.v(), matrix.columns, of_v);
    sigma = square_v / of_v;
  } else {
    sigma = block_sum(dot(matrix.u, matrix.u + products, matrix.rows), slots);
  }
  if (threadIdx.x == 0) store(matrix.sigma, sigma);
}

// What W is divided by: sigma, or what stands for one that vanishes.
struct Divisor {
  float sigma;
  bool vanishes;

  template <class T>
  __device__ __forceinline__ explicit Divisor(const Call<T>& call)
      : sigma(load(call.mine().sigma)), vanishes(fabsf(sigma) < call.eps) {
    if (vanishes) sigma = call.eps;
  }
};

// Calls function(i) for the values of the block's part of the matrix; i counts from its first.
template <class Function>
__device__ __forceinline__ void for_each_value(int64_t first, int64_t size,
                                               const Function& function) {
#pragma unroll
  for (int i = threadIdx.x; i < kValues; i += kThreads) {
    if (first + i < size) function(i);
  }
}

// Grid (parts of matrices, matrices).
template <class T>
__global__ void __launch_bounds__(kThreads) quotient_kernel(Call<T> call) {
  const Matrix<T>& matrix = call.mine();
  const int64_t first = int64_t{blockIdx.x} * kValues;
  const float sigma = Divisor(call).sigma;
  for_each_value(first, matrix.size(), [&](int i) {
    store(matrix.result + first + i, from_float<T>(to_float(load(matrix.W + first + i)) / sigma));
  });
}

// Writes the sums of g W, (matrices, gridDim.x). Grid (parts of the sums, matrices).
template <class T>
__global__ void __launch_bounds__(kThreads) product_kernel(Call<T> call, float* parts) {
  const Matrix<T>& matrix = call.mine();
  SharedMemory shared;
  float* slots = shared.take<float>(kWarps);
  const int64_t step = int64_t{gridDim.x} * kThreads;
  float sum = 0;
#pragma unroll 4
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < matrix.size(); i += step) {
    sum += to_float(load(matrix.W + i)) * to_float(load(matrix.g + i));
  }
  sum = block_sum(sum, slots);
  if (threadIdx.x == 0) store(parts + blockIdx.y * gridDim.x + blockIdx.x, sum);
}

// Grid (parts of matrices, matrices).
template <class T>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(Call<T> call, const float* parts, int part_count) {
  const Matrix<T>& matrix = call.mine();
  const int64_t first = int64_t{blockIdx.x} * kValues;
  if (first >= matrix.size()) return;
  SharedMemory shared;
  float* slots = shared.take<float>(kWarps);
  float product = 0;
  for (int i = threadIdx.x; i < part_count; i += kThreads) {
    product += load(parts + blockIdx.y * part_count + i);
  }
  product = block_sum(product, slots);
  const Divisor by(call);
  const float slope = by.vanishes ? 0 : product / by.sigma / by.sigma;

  // Inside of a part, rows and columns need no division of 64 bits.
  const int row = static_cast<int>(first / matrix.columns);
  const int column = static_cast<int>(first % matrix.columns);
  for_each_value(first, matrix.size(), [&](int i) {
    const unsigned at = static_cast<unsigned>(column) + i, columns = matrix.columns;
    const float left = load(matrix.u + row + at / columns);
    const float right = load(matrix.v() + at % columns);
    const float g = to_float(load(matrix.g + first + i));
    store(matrix.result + first + i, from_float<T>(g / by.sigma - slope * left * right));
  });
}

}  // namespace adaconv::cuda::spectral_norm
