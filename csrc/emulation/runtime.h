// What the emulated CUDA of device.h calls: who a thread is, where threads wait for each other, and
// what is held back until then. Nothing here is called by kernels themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace adaconv::emulation {

// A place in a kernel. As a default argument, the caller's.
struct Site {
  const char* file = "";
  int line = 0;

  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  bool operator==(const Site& other) const { return file == other.file && line == other.line; }
};

constexpr int kWarp = 32;

// Who the running CUDA thread is.
struct Self {
  uint3 thread, block;
  dim3 block_size, grid_size;
  int number = 0;  // in its block
};
const Self& self();

// Ends the launch, which returns the message.
[[noreturn]] void fail(const Site& at, const std::string& message);

// __syncthreads.
void meet_block(const Site& at);

// A warp operation: waits for all lanes of the mask. Where it orders memory, what they did before
// is seen after it. `all` receives what each of them gave; that of other lanes is garbage.
struct WarpOperation {
  const char* name;
  Site at;
  bool orders_memory;
};
struct Deposit {
  uint64_t word[4];
};
void meet_warp(unsigned mask, const WarpOperation& operation, const Deposit& given, Deposit* all);

// The array at that offset of the block's dynamic shared memory, the first to ask for it or not.
void* shared_array(size_t offset, size_t bytes, const Site& at);

// Counts an access, see count.h, if accesses are counted.
extern bool counting;
void count_access(const void* memory, size_t bytes, const char* kind, const Site& at);

// cp.async: a copy is queued, and made by its thread when it waits for it.
struct Copy {
  char* to;
  const char* from;  // zeros where it is null
  size_t bytes;
};
void queue_copy(const Copy& copy, const Site& at);
void commit_copies();
bool next_copy(int groups_left, Copy* copy);  // one that has not been made yet, if there is any

// Runs all threads of a launch; null, or what went wrong, which lives until the next launch.
const char* run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);

}  // namespace adaconv::emulation
