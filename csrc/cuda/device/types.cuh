// Plain types of device.cuh, the same for nvcc and for g++.
#pragma once

#include <cstddef>
#include <cstdint>

namespace adaconv::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Numbers that are loaded and stored at once: 16 bytes at most.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  static_assert(sizeof(T) * kCount <= 16);
  T at[kCount];
};

// Bytes of dynamic shared memory that an array takes: what a launch adds up for SharedMemory.
template <class T>
__host__ __device__ constexpr size_t shared_bytes(size_t count) {
  return (count * sizeof(T) + 15) / 16 * 16;
}

// Parts of matrices that the lanes of a warp hold for a product on the tensor cores, as
// mma.sync.m16n8k16 (halves) and m16n8k8 (tf32) lay them out. Both have rows of 8 words of 32 bits:
// 16 halves, or 8 numbers of tf32.

// 16 rows of the left factor: word i of a lane is word (lane % 4 + i / 2 * 4) of row
// (lane / 4 + i % 2 * 8).
template <class T>
struct RowFragment {
  static constexpr int kRows = 16, kDepth = 32 / sizeof(T), kWords = 4;
  uint32_t words[kWords];

  __host__ __device__ static constexpr int row(int lane, int i) { return lane / 4 + i % 2 * 8; }
  __host__ __device__ static constexpr int word(int lane, int i) { return lane % 4 + i / 2 * 4; }
};

// 8 columns of the right factor: word i of a lane is word (lane % 4 + i * 4) of column (lane / 4).
template <class T>
struct ColumnFragment {
  static constexpr int kRows = 8, kDepth = 32 / sizeof(T), kWords = 2;
  uint32_t words[kWords];

  __host__ __device__ static constexpr int row(int lane, int) { return lane / 4; }
  __host__ __device__ static constexpr int word(int lane, int i) { return lane % 4 + i * 4; }
};

// Where number i of those that a lane has in fragments one after another stands along the depth, as
// load_transposed takes it: where the columns of sums stand as well.
__host__ __device__ constexpr int depth_of(int lane, int i) {
  return i / 2 * 8 + lane % 4 * 2 + i % 2;
}

// A 16 x 8 tile of sums in float32.
struct Accumulator {
  static constexpr int kRows = 16, kColumns = 8, kCount = 4;
  float at[kCount];

  __host__ __device__ static constexpr int row(int lane, int i) { return lane / 4 + i / 2 * 8; }
  __host__ __device__ static constexpr int column(int lane, int i) { return lane % 4 * 2 + i % 2; }
};

}  // namespace adaconv::cuda
