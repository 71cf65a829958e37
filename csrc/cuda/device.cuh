// What kernels are written against: CUDA C++ and the few functions below, each of which has two
// realisations. nvcc takes device/native.cuh, the GPU's own instructions; g++ takes the emulation,
// which runs the same source on the host and finds its bugs (csrc/emulation/device.h).
//
//   __global__, __launch_bounds__, threadIdx, blockIdx, blockDim, gridDim, __syncthreads,
//   __syncwarp, __shfl_*_sync, __ballot_sync, atomicAdd, __threadfence    as in CUDA
//   lane(), warp()                  of a thread in its warp, and in its block
//   Half, BFloat16                  number types; to_float(v), from_float<T>(v)
//   load(p), store(p, v)            every access to global or shared memory, sizeof(*p) bytes at
//                                   once
//   Vector<T, N>                    N numbers that are loaded or stored at once
//   SharedMemory                    the block's memory: take<T>(count) gives one array after
//   another
//                                   to all threads alike; a launch adds up shared_bytes<T>(count).
//                                   There is no other: __shared__ does not compile in the emulation
//   copy_async(to, from, live)      4, 8 or 16 bytes into shared memory, zeros where they are not
//                                   live; commit_copies() closes a group of copies, and
//                                   wait_copies<N>() waits for this thread's groups but the last N.
//                                   Before sm_80 the copy is made at once
//   RowFragment<T>, ColumnFragment<T>, Accumulator    matrices held by a warp: device/types.cuh
//   multiply_add(sum, a, b)         sum += a b on the tensor cores: 16 x 8, in depth 16 for Half
//                                   and BFloat16, 8 for float, whose words are tf32: as_tf32(word).
//                                   load_fragment(rows, stride) reads them. Where a GPU has no such
//                                   instruction, by shuffles
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

// Loads a fragment of rows that lie `stride` numbers apart; of floats, rounded to tf32. Of a stride
// of 4 odd multiples of 32 bits modulo 32, no two lanes meet in a bank of shared memory.
template <template <class> class Fragment, class T>
__device__ __forceinline__ Fragment<T> load_fragment(const T* rows, int stride) {
  Fragment<T> fragment;
#pragma unroll
  for (int i = 0; i < Fragment<T>::kWords; ++i) {
    const T* at = rows + Fragment<T>::row(lane(), i) * stride +
                  Fragment<T>::word(lane(), i) * (4 / static_cast<int>(sizeof(T)));
    fragment.words[i] = load(reinterpret_cast<const uint32_t*>(at));
    if constexpr (sizeof(T) == sizeof(float)) fragment.words[i] = as_tf32(fragment.words[i]);
  }
  return fragment;
}

}  // namespace adaconv::cuda
