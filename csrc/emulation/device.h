// CUDA C++ on the host, for the kernels of csrc/cuda: what ../cuda/device/native.cuh is to nvcc.
//
// The same kernel sources are compiled by g++ (-x c++), and run on the CPU, slowly and observed. A
// launch takes the blocks in random order and deals them to threads of the host; the CUDA threads
// of a block are fibers that take turns, drawn anew wherever one waits. ADACONV_EMULATION_SEED
// chooses the order, ADACONV_EMULATION_THREADS how many blocks run at once. A launch fails, with
// the file and line, where
//   - threads of a block wait for each other for ever, or at different barriers; likewise the lanes
//     of a warp operation's mask; a lane that has ended is never excused
//   - a shuffle reads from a lane that takes no part in it, or a lane is not in its own mask
//   - an access is not aligned to its size
//   - a block takes more shared memory than the launch gave, or its threads disagree on the arrays.
// Shared memory is NaN until it is written.
//
// With -fsanitize=thread each CUDA thread is a thread of its own: accesses are ordered by
// __syncthreads and __syncwarp, and by nothing else but atomics. Shuffles, ballots and products
// order no memory, as on the GPU. With -fsanitize=address every array in shared memory lies between
// red zones, as do all allocations of the host.
//
// The destination of copy_async is NaN, and forbidden to AddressSanitizer, until its thread waits;
// the copy is made then. To ThreadSanitizer it is written twice, when asked for and when waited
// for.
//
// What memory would have to do for the accesses can be counted (count.h).
//
// The runtime (fiber, block, launch, count.cpp) is compiled without sanitizers and linked with
// either.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define threadIdx (::adaconv::emulation::self().thread)
#define blockIdx (::adaconv::emulation::self().block)
#define blockDim (::adaconv::emulation::self().block_size)
#define gridDim (::adaconv::emulation::self().grid_size)

#include "../cuda/device/types.cuh"

namespace adaconv::cuda {

using emulation::Site;

// Number types.

struct Half {
  _Float16 value;
};
struct BFloat16 {
  uint16_t bits;
};

__forceinline__ float to_float(float value) { return value; }
__forceinline__ float to_float(Half value) { return static_cast<float>(value.value); }
__forceinline__ float to_float(BFloat16 value) {
  const uint32_t bits = uint32_t{value.bits} << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

template <class T>
T from_float(float value) {
  if constexpr (std::is_same_v<T, Half>) {
    return {static_cast<_Float16>(value)};
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    if (value != value) return {0x7fff};
    return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};  // to nearest, even
  } else {
    return value;
  }
}

// The number that a tensor core takes a float for: 10 bits of mantissa, ties away from zero.
inline uint32_t as_tf32(uint32_t word) {
  const bool finite = (word & 0x7f800000) != 0x7f800000;
  return finite ? (word + 0x1000) & ~uint32_t{0x1fff} : word;
}

// Memory.

// Before every access.
template <class T>
__forceinline__ void look_at(const T* p, const char* kind, const Site& at) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T) != 0) {
    emulation::fail(at, "access of " + std::to_string(sizeof(T)) +
                            " bytes at an address that is not a multiple of that");
  }
  if (emulation::counting) emulation::count_access(p, sizeof(T), kind, at);
}

template <class T>
__forceinline__ T load(const T* p, Site at = Site::here()) {
  look_at(p, "load", at);
  return *p;
}

template <class T>
__forceinline__ void store(T* p, const T& value, Site at = Site::here()) {
  look_at(p, "store", at);
  *p = value;
}

class SharedMemory {
 public:
  template <class T>
  T* take(int count, Site at = Site::here()) {
    const size_t bytes = shared_bytes<T>(count);
    void* array = emulation::shared_array(used_, sizeof(T) * count, at);
    used_ += bytes;
    return static_cast<T*>(array);
  }

 private:
  size_t used_ = 0;
};

// Word by word, and not by memcpy and memset: a sanitizer may have been told to pass over calls of
// those.
template <class Value>
__forceinline__ void write_words(char* to, size_t bytes, const Value& value) {
  auto* words = reinterpret_cast<uint32_t*>(to);
  for (size_t i = 0; i < bytes / sizeof(uint32_t); ++i) words[i] = value(i);
}

template <class T>
__forceinline__ void copy_async(T* to, const T* from, bool live = true, Site at = Site::here()) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16);
  look_at(to, "copy", at);
  if (live) look_at(from, "copy", at);
  auto* bytes = reinterpret_cast<char*>(to);
  write_words(bytes, sizeof(T), [](size_t) { return ~uint32_t{0}; });
  const auto* source = live ? reinterpret_cast<const char*>(from) : nullptr;
  emulation::queue_copy({bytes, source, sizeof(T)}, at);
}

inline void commit_copies() { emulation::commit_copies(); }

template <int kGroupsLeft>
__forceinline__ void wait_copies() {
  emulation::Copy copy;
  while (emulation::next_copy(kGroupsLeft, &copy)) {
    const auto* from = reinterpret_cast<const uint32_t*>(copy.from);
    write_words(copy.to, copy.bytes, [&](size_t i) { return from == nullptr ? 0 : from[i]; });
  }
}

// Warp operations.

// What each lane of the mask gave.
template <class T>
class Gathered {
 public:
  Gathered(unsigned mask, const char* name, const Site& at, const T& mine) {
    static_assert(sizeof(T) <= sizeof(emulation::Deposit));
    emulation::Deposit given{};
    std::memcpy(&given, &mine, sizeof(T));
    emulation::meet_warp(mask, {name, at, false}, given, lanes_);
  }
  T operator[](int lane) const {
    T value;
    std::memcpy(static_cast<void*>(&value), &lanes_[lane], sizeof(T));
    return value;
  }

 private:
  emulation::Deposit lanes_[emulation::kWarp];
};

__forceinline__ int lane() { return emulation::self().number % emulation::kWarp; }
__forceinline__ int warp() { return emulation::self().number / emulation::kWarp; }

// The rows are loaded by the lanes that know of them.
template <bool kTransposed, int kCount>
__forceinline__ void load_matrices(uint32_t (&words)[kCount], const void* row,
                                   Site at = Site::here()) {
  static_assert(kCount == 2 || kCount == 4);
  using Row = Vector<uint16_t, 8>;
  Row mine{};
  if (lane() < 8 * kCount) mine = load(static_cast<const Row*>(row), at);
  const Gathered<Row> rows(kAllLanes, "load_matrices", at, mine);
  const int major = lane() / 4, minor = lane() % 4 * 2;
  for (int i = 0; i < kCount; ++i) {
    uint16_t halves[2];
    for (int half = 0; half < 2; ++half) {
      halves[half] =
          kTransposed ? rows[8 * i + minor + half].at[major] : rows[8 * i + major].at[minor + half];
    }
    std::memcpy(&words[i], halves, sizeof(halves));
  }
}

constexpr bool kMultipliesTf32 = true;

// A word of a fragment: two halves, or a number that the tensor core takes for tf32.
template <class T>
float word_product(uint32_t a, uint32_t b) {
  constexpr int kCount = 4 / sizeof(T);
  if (kCount == 1) a &= ~uint32_t{0x1fff}, b &= ~uint32_t{0x1fff};
  T left[kCount], right[kCount];
  std::memcpy(static_cast<void*>(left), &a, sizeof(a));
  std::memcpy(static_cast<void*>(right), &b, sizeof(b));
  float sum = 0;
  for (int i = 0; i < kCount; ++i) sum += to_float(left[i]) * to_float(right[i]);
  return sum;
}

template <class T>
void multiply_add(Accumulator& sum, const RowFragment<T>& a, const ColumnFragment<T>& b,
                  Site at = Site::here()) {
  struct Factors {
    RowFragment<T> a;
    ColumnFragment<T> b;
  };
  const Gathered<Factors> all(kAllLanes, "multiply_add", at, {a, b});
  for (int i = 0; i < Accumulator::kCount; ++i) {
    const int row = Accumulator::row(lane(), i), column = Accumulator::column(lane(), i);
    for (int word = 0; word < 8; ++word) {
      const Factors left = all[row % 8 * 4 + word % 4], right = all[column * 4 + word % 4];
      sum.at[i] += word_product<T>(left.a.words[row / 8 + word / 4 * 2], right.b.words[word / 4]);
    }
  }
}

// Launches.

using Stream = void*;  // of no meaning here: a launch has ended when it returns

template <class... Parameters, class... Arguments>
const char* launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   Stream, Arguments... arguments) {
  return emulation::run(grid, block, shared_bytes, [=] { kernel(Parameters(arguments)...); });
}

template <class... Parameters>
const char* usable(void (*)(Parameters...)) {
  return nullptr;
}

}  // namespace adaconv::cuda

// CUDA's own functions.

using std::max;
using std::min;

inline void __syncthreads(adaconv::emulation::Site at = adaconv::emulation::Site::here()) {
  adaconv::emulation::meet_block(at);
}

inline void __syncwarp(unsigned mask = adaconv::cuda::kAllLanes,
                       adaconv::emulation::Site at = adaconv::emulation::Site::here()) {
  adaconv::emulation::Deposit all[adaconv::emulation::kWarp];
  adaconv::emulation::meet_warp(mask, {"__syncwarp", at, true}, {}, all);
}

namespace adaconv::emulation {

// The value of lane `source` of each section of `width` lanes; its own where that is not in it.
template <class T>
T shuffle(unsigned mask, const char* name, const Site& at, T value, int source, int width) {
  const cuda::Gathered<T> all(mask, name, at, value);
  const int lane = cuda::lane(), first = lane / width * width;
  if (source < first || source >= first + width) return value;
  if (!(mask >> source & 1)) fail(at, std::string(name) + " reads from a lane outside of its mask");
  return all[source];
}

}  // namespace adaconv::emulation

#define ADACONV_SHUFFLE(name, source)                                           \
  template <class T>                                                            \
  T name(unsigned mask, T value, int of, int width = adaconv::emulation::kWarp, \
         adaconv::emulation::Site at = adaconv::emulation::Site::here()) {      \
    const int lane = adaconv::cuda::lane();                                     \
    return adaconv::emulation::shuffle(mask, #name, at, value, source, width);  \
  }
ADACONV_SHUFFLE(__shfl_sync, lane / width * width + of % width)
ADACONV_SHUFFLE(__shfl_xor_sync, lane ^ of)
ADACONV_SHUFFLE(__shfl_up_sync, lane - of)
ADACONV_SHUFFLE(__shfl_down_sync, lane + of)
#undef ADACONV_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, bool vote,
                              adaconv::emulation::Site at = adaconv::emulation::Site::here()) {
  const adaconv::cuda::Gathered<bool> all(mask, "__ballot_sync", at, vote);
  unsigned votes = 0;
  for (int lane = 0; lane < adaconv::emulation::kWarp; ++lane) {
    if (mask >> lane & 1 && all[lane]) votes |= 1u << lane;
  }
  return votes;
}

template <class T>
T atomicAdd(T* to, T value) {
  T before, after;
  __atomic_load(to, &before, __ATOMIC_RELAXED);
  do {
    after = before + value;
  } while (
      !__atomic_compare_exchange(to, &before, &after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
  return before;
}

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
