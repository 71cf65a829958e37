// Threads and their scratch memory. The OpenMP pool is the process's own, torch's where torch is
// loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace adaconv::ADACONV_VARIANT {

// The standard library's would be compiled for one instruction set and linked for all.
template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T clamp(T value, T low, T high) {
  return min(value < low ? low : value, high);
}

inline int max_threads() {
#if defined(_OPENMP)
  return omp_get_max_threads();
#else
  return 1;
#endif
}

inline int thread_number() {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}

constexpr size_t kAlignment = 64;

constexpr size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Asks for large pages: sign bits are written once, and faulting them in page by page costs as
// much.
inline void prefer_huge_pages(void* memory, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t kPage = 4096;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(memory) + kPage - 1) / kPage * kPage;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(memory) + bytes) / kPage * kPage;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)memory, (void)bytes;
#endif
}

// Hands out consecutive pieces of memory that somebody else owns.
struct Arena {
  char* next;

  template <class T>
  T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(next);
    next += aligned(count * sizeof(T));
    return piece;
  }
};

// One arena of `bytes` for each thread, allocated before the parallel region so that failure can be
// thrown.
class Arenas {
 public:
  explicit Arenas(size_t bytes, int threads = max_threads())
      : bytes_(aligned(bytes)),
        memory_(static_cast<char*>(std::aligned_alloc(kAlignment, bytes_ * threads))) {
    if (memory_ == nullptr) throw std::bad_alloc();
    if (std::getenv("ADACONV_POISON") != nullptr) {
      std::memset(memory_, 0xff, bytes_ * threads);  // NaN, so that a test sees what reads it
    }
  }
  ~Arenas() { std::free(memory_); }
  Arenas(const Arenas&) = delete;
  Arenas& operator=(const Arenas&) = delete;

  Arena mine() const { return {memory_ + bytes_ * thread_number()}; }
  Arena first() const { return {memory_}; }

 private:
  size_t bytes_;
  char* memory_;
};

}  // namespace adaconv::ADACONV_VARIANT
