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
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
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

// Asks for large pages, for what is written once: faulting it in page by page costs as much.
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

// To AddressSanitizer an arena is one allocation, so it is told which bytes are in use: the pieces.
// Each is followed by as many bytes that nobody may touch, nor may anybody what is not taken.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kSpread = 2;
inline void forbid(const char* from, size_t bytes) { __asan_poison_memory_region(from, bytes); }
inline void permit(const char* from, size_t bytes) { __asan_unpoison_memory_region(from, bytes); }
// The arena was made for fewer pieces.
__attribute__((noinline)) inline void refuse(char* from, size_t bytes) {
  void* here = __builtin_frame_address(0);
  __asan_report_error(__builtin_return_address(0), here, here, from, 1, bytes);
}
#else
constexpr size_t kSpread = 1;
inline void forbid(const char*, size_t) {}
inline void permit(const char*, size_t) {}
inline void refuse(char*, size_t) {}
#endif

// Hands out consecutive pieces of memory that somebody else owns. A new arena of the same memory
// ends the use of the pieces before.
class Arena {
 public:
  Arena(char* memory, size_t bytes) : next_(memory), end_(memory + bytes) { forbid(memory, bytes); }

  template <class T>
  T* take(int64_t count) {
    const size_t bytes = count * sizeof(T);
    char* piece = next_;
    next_ += kSpread * aligned(bytes);
    if (next_ > end_) refuse(piece, bytes);
    permit(piece, bytes);
    return reinterpret_cast<T*>(piece);
  }

 private:
  char *next_, *end_;
};

// One arena of `bytes` for each thread, allocated before the parallel region so that failure can be
// thrown.
class Arenas {
 public:
  explicit Arenas(size_t bytes, int threads = max_threads())
      : bytes_(kSpread * aligned(bytes)),
        memory_(static_cast<char*>(std::aligned_alloc(kAlignment, bytes_ * threads))) {
    if (memory_ == nullptr) throw std::bad_alloc();
    if (std::getenv("ADACONV_POISON") != nullptr) {
      std::memset(memory_, 0xff, bytes_ * threads);  // NaN, so that a test sees what reads it
    }
  }
  ~Arenas() { std::free(memory_); }
  Arenas(const Arenas&) = delete;
  Arenas& operator=(const Arenas&) = delete;

  Arena mine() const { return {memory_ + bytes_ * thread_number(), bytes_}; }
  Arena first() const { return {memory_, bytes_}; }

 private:
  size_t bytes_;
  char* memory_;
};

}  // namespace adaconv::ADACONV_VARIANT
