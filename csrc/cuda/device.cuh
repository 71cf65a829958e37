// What kernels are written against: CUDA C++ and the few functions below, each of which has two
// realisations. nvcc takes device/native.cuh, the GPU's own instructions; g++ takes the emulation,
// which runs the same source on the host and finds its bugs (csrc/emulation/device.h).
//
//   __global__, __launch_bounds__, threadIdx, blockIdx, blockDim, gridDim, __syncthreads,
//   __syncwarp, __shfl_*_sync, __ballot_sync, atomicAdd, __threadfence    as in CUDA
//   lane(), warp()                  of a thread in its warp, and in its block
//   Half, BFloat16                  number types; to_float(v), from_float<T>(v)
//   load(p), store(p, v)            every access to global or shared memory: sizeof(*p) bytes at a
//                                   time
//   Vector<T, N>                    N numbers that are loaded or stored at a time
//   SharedMemory                    the block's memory: take<T>(count) gives one array after the
//                                   other to all threads alike; a launch adds up
//                                   shared_bytes<T>(count). There is no other: __shared__ does not
//                                   compile in the emulation
//   copy_async(to, from, live)      4, 8 or 16 bytes into shared memory, zeros where they are not
//                                   live; commit_copies() closes a group of copies, and
//                                   wait_copies<N>() waits for this thread's groups but the last N.
//                                   Before sm_80 the copy is made at once
//   RowFragment<T>, ColumnFragment<T>, Accumulator    matrices held by a warp: device/types.cuh
//   load_fragment(rows, stride), load_transposed(rows, stride), load_reordered(rows, stride)
//                                   read them from shared memory
//   load_matrices(words, row)       ldmatrix, which they are made of
//   multiply_add(sum, a, b)         sum += a b on the tensor cores: 16 x 8, in depth 16 for Half
//                                   and BFloat16, 8 for float, whose words are tf32: as_tf32(word).
//                                   Where a GPU has no such instruction (kMultipliesTf32), by
//                                   shuffles
//   multiply<kTerms>(sum, a, b)     the same, of floats as kTerms numbers of tf32 each: 2 of them
//                                   have the accuracy of float
//   launch(kernel, grid, block, shared_bytes, stream, arguments...)    starts a kernel from the
//                                   host; null, or why it could not start
//   usable(kernel)                  null, or why it cannot start on the current device
//
// Sources include nothing else of CUDA's and use no other of its functions.
#pragma once

#ifdef __CUDACC__
#include "device/native.cuh"
#else
#include "../emulation/device.h"
#endif

namespace adaconv::cuda {

template <class T>
__host__ __device__ constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// Loads a fragment of rows that lie `stride` numbers apart in shared memory, each aligned to 16
// bytes. Of a stride of an odd multiple of 16 bytes, no two lanes meet in a bank.
template <template <class> class Fragment, class T>
__device__ __forceinline__ Fragment<T> load_fragment(const T* rows, int stride) {
  using F = Fragment<T>;
  constexpr int kNumbers = 4 / static_cast<int>(sizeof(T));
  const int first = lane() % 8 * 4, matrix = lane() / 8 % F::kWords;
  F fragment;
  load_matrices<false>(fragment.words,
                       rows + F::row(first, matrix) * stride + F::word(first, matrix) * kNumbers);
  return fragment;
}

// Loads a fragment whose rows are the columns of a tile: number i of row r lies at [i * stride +
// r]. Of floats, the depth is taken in another order, depth_of: both factors of a product must be.
template <template <class> class Fragment, class T>
__device__ __forceinline__ Fragment<T> load_transposed(const T* columns, int stride) {
  using F = Fragment<T>;
  F fragment;
  if constexpr (sizeof(T) == 2) {
    const int matrix = lane() / 8 % F::kWords;
    const int depth = F::word(0, matrix) * 2 + lane() % 8;
    load_matrices<true>(fragment.words, columns + depth * stride + F::row(0, matrix));
  } else {
#pragma unroll
    for (int i = 0; i < F::kWords; ++i) {
      const T* at = columns + depth_of(lane(), F::word(0, i) / 4) * stride + F::row(lane(), i);
      fragment.words[i] = load(reinterpret_cast<const uint32_t*>(at));
    }
  }
  return fragment;
}

// Loads a fragment of rows, of floats with the depth in the order of load_transposed. Those lie
// apart by 32 bytes more than a multiple of 128, so that no two lanes meet in a bank.
template <class T>
__device__ __forceinline__ RowFragment<T> load_reordered(const T* rows, int stride) {
  if constexpr (sizeof(T) == 2) {
    return load_fragment<RowFragment>(rows, stride);
  } else {
    RowFragment<T> fragment;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const T* at = rows + RowFragment<T>::row(lane(), row) * stride + depth_of(lane(), 0);
      const auto pair = load(reinterpret_cast<const Vector<uint32_t, 2>*>(at));
      fragment.words[row] = pair.at[0];
      fragment.words[row + 2] = pair.at[1];
    }
    return fragment;
  }
}

// The numbers that a word is made of.
template <class T>
using Word = Vector<T, 4 / sizeof(T)>;

template <class T>
__device__ __forceinline__ Word<T> unpack(uint32_t word) {
  Word<T> numbers;
  memcpy(static_cast<void*>(&numbers), &word, sizeof(word));
  return numbers;
}

template <class T>
__device__ __forceinline__ uint32_t pack(const Word<T>& numbers) {
  uint32_t word;
  memcpy(&word, &numbers, sizeof(word));
  return word;
}

// A fragment of floats as a sum of two of tf32: the nearest numbers, and those nearest to the rest.
template <template <class> class Fragment>
__device__ __forceinline__ void split(const Fragment<float>& fragment, Fragment<float>& first,
                                      Fragment<float>& rest) {
#pragma unroll
  for (int i = 0; i < Fragment<float>::kWords; ++i) {
    const uint32_t word = fragment.words[i];
    first.words[i] = as_tf32(word);
    const float left = unpack<float>(word).at[0] - unpack<float>(first.words[i]).at[0];
    rest.words[i] = as_tf32(pack<float>({left}));
  }
}

template <int kTerms, class T>
__device__ __forceinline__ void multiply(Accumulator& sum, const RowFragment<T>& a,
                                         const ColumnFragment<T>& b) {
  if constexpr (sizeof(T) == 2 || !kMultipliesTf32) {
    multiply_add(sum, a, b);
  } else {
    RowFragment<float> a_first, a_rest;
    ColumnFragment<float> b_first, b_rest;
    split(a, a_first, a_rest);
    split(b, b_first, b_rest);
    if constexpr (kTerms == 2) {
      multiply_add(sum, a_rest, b_first);
      multiply_add(sum, a_first, b_rest);
    }
    multiply_add(sum, a_first, b_first);
  }
}

}  // namespace adaconv::cuda
