// The realisation of device.cuh by nvcc, for sm_75 and newer.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstring>
#include <type_traits>

#include "types.cuh"

namespace adaconv::cuda {

using Half = __half;
using BFloat16 = __nv_bfloat16;

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(Half value) { return __half2float(value); }
__device__ __forceinline__ float to_float(BFloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ __forceinline__ T from_float(float value) {
  if constexpr (std::is_same_v<T, Half>) {
    return __float2half_rn(value);
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return __float2bfloat16_rn(value);
  } else {
    return value;
  }
}

__device__ __forceinline__ uint32_t as_tf32(uint32_t word) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(__uint_as_float(word)));
#endif
  return word;
}

// Memory.

template <class T>
__device__ __forceinline__ T load(const T* p) {
  return *p;
}

template <class T>
__device__ __forceinline__ void store(T* p, const T& value) {
  *p = value;
}

class SharedMemory {
 public:
  template <class T>
  __device__ __forceinline__ T* take(int count) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* array = reinterpret_cast<T*>(memory + used_);
    used_ += static_cast<unsigned>(shared_bytes<T>(count));
    return array;
  }

 private:
  unsigned used_ = 0;
};

template <class T>
__device__ __forceinline__ void copy_async(T* to, const T* from, bool live = true) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);
#if __CUDA_ARCH__ >= 800
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = live ? sizeof(T) : 0;  // zeros follow them
  if constexpr (sizeof(T) == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from),
                 "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(from),
                 "n"(sizeof(T)), "r"(bytes)
                 : "memory");
  }
#else
  using Words = Vector<uint32_t, sizeof(T) / 4>;
  *reinterpret_cast<Words*>(to) = live ? *reinterpret_cast<const Words*>(from) : Words{};
#endif
}

__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int kGroupsLeft>
__device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
#endif
}

// Warp operations.

__device__ __forceinline__ int thread_number() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}
__device__ __forceinline__ int lane() { return thread_number() % kWarp; }
__device__ __forceinline__ int warp() { return thread_number() / kWarp; }

// Loads matrices of 8 rows of 16 bytes from shared memory. Lane 8 m + i knows where row i of matrix
// m is, and gets word lane % 4 of row lane / 4 of each; of transposed matrices of halves, these are
// the words that numbers lane % 4 * 2 and the next make of column lane / 4.
template <bool kTransposed, int kCount>
__device__ __forceinline__ void load_matrices(uint32_t (&words)[kCount], const void* row) {
  static_assert(kCount == 2 || kCount == 4);
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kCount == 4 && kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(at)
                 : "memory");
  } else if constexpr (kCount == 4) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(at)
                 : "memory");
  } else if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(words[0]), "=r"(words[1])
                 : "r"(at)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(words[0]), "=r"(words[1])
                 : "r"(at)
                 : "memory");
  }
}

// What a GPU without the instruction does: lanes ask each other for words and add up products.
template <class T>
__device__ __forceinline__ float word_product(uint32_t a, uint32_t b) {
  constexpr int kCount = 4 / sizeof(T);
  T left[kCount], right[kCount];
  memcpy(left, &a, sizeof(a));
  memcpy(right, &b, sizeof(b));
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum += to_float(left[i]) * to_float(right[i]);
  return sum;
}

template <class T>
__device__ __forceinline__ void multiply_add_by_shuffles(Accumulator& sum, const RowFragment<T>& a,
                                                         const ColumnFragment<T>& b) {
#pragma unroll 1  // a product is long enough, and there are many of them in a kernel
  for (int word = 0; word < 4; ++word) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      uint32_t rows[2], columns[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        rows[half] = __shfl_sync(kAllLanes, a.words[half + part * 2], lane() / 4 * 4 + word);
        columns[half] = __shfl_sync(kAllLanes, b.words[part], (lane() % 4 * 2 + half) * 4 + word);
      }
#pragma unroll
      for (int i = 0; i < Accumulator::kCount; ++i) {
        sum.at[i] += word_product<T>(rows[i / 2], columns[i % 2]);
      }
    }
  }
}

#if __CUDA_ARCH__ >= 800
constexpr bool kMultipliesTf32 = true;
#else
constexpr bool kMultipliesTf32 = false;
#endif

#define ADACONV_MMA(shape, type)                                                             \
  asm("mma.sync.aligned." shape ".row.col.f32." type "." type                                \
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                 \
      : "+f"(sum.at[0]), "+f"(sum.at[1]), "+f"(sum.at[2]), "+f"(sum.at[3])                   \
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]), \
        "r"(b.words[1]))

template <class T>
__device__ __forceinline__ void multiply_add(Accumulator& sum, const RowFragment<T>& a,
                                             const ColumnFragment<T>& b) {
#if __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, Half>) {
    ADACONV_MMA("m16n8k16", "f16");
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    ADACONV_MMA("m16n8k16", "bf16");
  } else {
    ADACONV_MMA("m16n8k8", "tf32");
  }
#else
  if constexpr (std::is_same_v<T, Half>) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
          "{%0, %1, %2, %3};"
          : "+f"(sum.at[0]), "+f"(sum.at[1]), "+f"(sum.at[2]), "+f"(sum.at[3])
          : "r"(a.words[2 * i]), "r"(a.words[2 * i + 1]), "r"(b.words[i]));
    }
  } else {
    multiply_add_by_shuffles(sum, a, b);
  }
#endif
}

#undef ADACONV_MMA

// Launches.

using Stream = cudaStream_t;

// What went wrong since the last call, of which no other call is told; null if nothing did.
inline const char* last_error() {
  const cudaError_t status = cudaGetLastError();
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

// Starts a kernel; null, or why it could not start.
template <class... Parameters, class... Arguments>
const char* launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   Stream stream, Arguments... arguments) {
  constexpr size_t kWithoutAsking = 48 << 10;
  cudaError_t status = cudaSuccess;
  if (shared_bytes > kWithoutAsking) {
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_bytes));
  }
  if (status == cudaSuccess) {
    kernel<<<grid, block, shared_bytes, stream>>>(Parameters(arguments)...);
  }
  return last_error();
}

// Null where the current device has code for the kernel, or why it cannot start there.
template <class... Parameters>
const char* usable(void (*kernel)(Parameters...)) {
  cudaFuncAttributes attributes;
  cudaFuncGetAttributes(&attributes, kernel);
  return last_error();
}

}  // namespace adaconv::cuda
