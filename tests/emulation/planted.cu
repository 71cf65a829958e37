// Kernels with and without a bug, each of which the emulation must find, at the line that is marked
// with its name; and without it, nothing. `planted NAME clean|bug` runs one; it prints what a
// launch says and ends with 1, and so it does where a result is wrong.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "../../csrc/cuda/device.cuh"

namespace {

using namespace adaconv::cuda;

constexpr int kThreads = 64, kBlocks = 4;

// Each block reverses its part of a vector.
__global__ void missing_barrier(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads);
  const int first = blockIdx.x * kThreads;
  store(&values[threadIdx.x], load(&x[first + threadIdx.x]));
  if (!bug) __syncthreads();
  store(&y[first + threadIdx.x], load(&values[kThreads - 1 - threadIdx.x]));  // missing_barrier
}

// The second barrier is missing: the next round writes what others still read.
__global__ void missing_second_barrier(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads);
  float value = load(&x[blockIdx.x * kThreads + threadIdx.x]);
  for (int round = 0; round < 3; ++round) {
    store(&values[threadIdx.x], value);
    __syncthreads();
    value = load(&values[kThreads - 1 - threadIdx.x]);  // missing_second_barrier
    if (!bug) __syncthreads();
  }
  store(&y[blockIdx.x * kThreads + threadIdx.x], value);
}

__global__ void missing_syncwarp(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads);
  const int first = blockIdx.x * kThreads;
  store(&values[threadIdx.x], load(&x[first + threadIdx.x]));
  if (!bug) __syncwarp();
  store(&y[first + (threadIdx.x ^ 31)], load(&values[threadIdx.x ^ 31]));  // missing_syncwarp
}

// A shuffle orders no memory.
__global__ void shuffle_is_no_syncwarp(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads);
  const int first = blockIdx.x * kThreads;
  store(&values[threadIdx.x], load(&x[first + threadIdx.x]));
  if (!bug) __syncwarp();
  const int other = __shfl_xor_sync(kAllLanes, int(threadIdx.x), 31);
  store(&y[first + other], load(&values[other]));  // shuffle_is_no_syncwarp
}

__global__ void store_off_by_one(const float* x, float* y, bool bug) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  store(&y[i + bug], load(&x[i]));  // store_off_by_one
  if (bug && i == 0) store(&y[0], load(&x[0]));
}

__global__ void shared_off_by_one(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads);
  float* others = shared.take<float>(kThreads);
  const int i = blockIdx.x * kThreads + threadIdx.x;
  store(&others[threadIdx.x], 0.0f);
  store(&values[threadIdx.x + bug], load(&x[i]));  // shared_off_by_one
  store(&y[i], load(&values[threadIdx.x + bug]));
}

__global__ void divergent_barrier(const float* x, float* y, bool bug) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (!bug || threadIdx.x < 40) __syncthreads();  // divergent_barrier
  store(&y[i], load(&x[i]));
}

__global__ void two_barriers(const float* x, float* y, bool bug) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (!bug || threadIdx.x < 40) {
    __syncthreads();  // two_barriers
  } else {
    __syncthreads();  // two_barriers
  }
  store(&y[i], load(&x[i]));
}

__global__ void lane_leaves_early(const float* x, float* y, bool bug) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (bug && threadIdx.x == 33) return;
  const float other = __shfl_down_sync(kAllLanes, load(&x[i]), 1);  // lane_leaves_early
  store(&y[i], other == -1.0f ? other : load(&x[i]));
}

__global__ void lane_outside_of_the_mask(const float* x, float* y, bool bug) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  store(&y[i], load(&x[i]));
  const int half = threadIdx.x % 32 / 16;
  const unsigned mask = bug ? 0xffffu : 0xffffu << 16 * half;
  __shfl_xor_sync(mask, 1.0f, 1);  // lane_outside_of_the_mask
}

// All blocks count in one place: y[0] ends as the number of threads.
__global__ void race_of_blocks(const float*, float* y, bool bug) {
  if (threadIdx.x != 0) return;
  if (bug) {
    store(y, load(y) + kThreads);  // race_of_blocks
  } else {
    atomicAdd(y, float(kThreads));
  }
}

__global__ void early_read_of_a_copy(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads * 4);
  using Four = Vector<float, 4>;
  const int first = blockIdx.x * kThreads;
  if (threadIdx.x < kThreads / 4) {
    copy_async(reinterpret_cast<Four*>(values) + threadIdx.x,
               reinterpret_cast<const Four*>(x + first) + threadIdx.x);
    commit_copies();
    if (!bug) wait_copies<0>();
  }
  __syncthreads();
  store(&y[first + threadIdx.x], load(&values[threadIdx.x]));  // early_read_of_a_copy
}

// The second barrier is missing: the next round copies over what others still read.
__global__ void copy_over_what_is_read(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads);
  const int first = blockIdx.x * kThreads;
  float value = 0;
  for (int round = 0; round < 2; ++round) {
    copy_async(&values[threadIdx.x], &x[first + threadIdx.x]);  // copy_over_what_is_read
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    value = load(&values[kThreads - 1 - threadIdx.x]);  // copy_over_what_is_read
    if (!bug) __syncthreads();
  }
  store(&y[first + threadIdx.x], value);
}

// Two groups are on their way, and the wait is for the first alone.
__global__ void wait_for_too_few(const float* x, float* y, bool bug) {
  SharedMemory shared;
  using Two = Vector<float, 2>;
  Two* values = shared.take<Two>(2 * kThreads);
  const int i = blockIdx.x * kThreads + threadIdx.x;
  for (int group = 0; group < 2; ++group) {
    copy_async(&values[group * kThreads + threadIdx.x],
               reinterpret_cast<const Two*>(x + i / 2 * 2));
    commit_copies();
  }
  bug ? wait_copies<1>() : wait_copies<0>();
  const Two first = load(&values[threadIdx.x]);
  const Two second = load(&values[kThreads + threadIdx.x]);  // wait_for_too_few
  store(&y[i], i % 2 == 0 ? first.at[0] : second.at[1]);
}

// What is read is NaN.
__global__ void read_before_any_write(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads);
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (!bug || threadIdx.x != 7) store(&values[threadIdx.x], load(&x[i]));
  store(&y[i], load(&values[threadIdx.x]));
}

__global__ void misaligned_vector(const float* x, float* y, bool bug) {
  const int i = blockIdx.x * kThreads + threadIdx.x;
  if (i % 4 != 0 || i + 4 == kThreads * kBlocks) return store(&y[i], load(&x[i]));
  const auto four = reinterpret_cast<const Vector<float, 4>*>(x + i + bug);
  store(&y[i], load(four).at[0]);  // misaligned_vector
}

__global__ void more_shared_than_launched(const float* x, float* y, bool bug) {
  SharedMemory shared;
  float* values = shared.take<float>(bug ? 4096 : kThreads);  // more_shared_than_launched
  const int i = blockIdx.x * kThreads + threadIdx.x;
  store(&values[threadIdx.x], load(&x[i]));
  store(&y[i], load(&values[threadIdx.x]));
}

// Accesses whose cost is known: what is counted at each is marked as moved / ideal, of all
// requests.
__global__ void known_accesses(const float* x, float* y, bool) {
  SharedMemory shared;
  float* values = shared.take<float>(kThreads * kWarp);
  const int i = threadIdx.x;
  for (int k = 0; k < kWarp; ++k) store(&values[k * kThreads + i], 0.0f);  // 64 / 64
  __syncthreads();
  float sum = load(&values[i * kWarp]);                                           // 64 / 2
  sum += load(&values[i * kWarp / 2]);                                            // 32 / 2
  sum += load(&values[5]);                                                        // 2 / 2
  sum += load(&values[i / 2 * 33]);                                               // 2 / 2
  sum += load(reinterpret_cast<const Vector<float, 4>*>(values) + i).at[0];       // 8 / 8
  sum += load(reinterpret_cast<const Vector<float, 2>*>(values) + 16 * i).at[0];  // 64 / 4
  sum += load(&x[i]);                                                             // 8 / 8
  sum += load(&x[2 * i]);                                                         // 16 / 8
  sum += load(&x[i + 1]);                                                         // 10 / 8
  sum += load(&x[7]);                                                             // 2 / 2
  if (i % kWarp < 3) sum += load(&x[i * 8 % 128]);                                // 6 / 2
  store(reinterpret_cast<Vector<float, 2>*>(y) + i, Vector<float, 2>{{sum, 0}});  // 16 / 16
}

using Kernel = void (*)(const float*, float*, bool);

struct Planted {
  Kernel kernel;
  float (*expected)(int i);
};

float same(int i) { return static_cast<float>(i); }
float reversed(int i) {
  return static_cast<float>(i / kThreads * kThreads + kThreads - 1 - i % kThreads);
}
float count(int i) { return i == 0 ? kThreads * kBlocks : 0; }

#define PLANTED(name, expected) \
  {                             \
    #name, { name, expected }   \
  }
const std::map<std::string, Planted> kPlanted = {
    PLANTED(missing_barrier, reversed),
    PLANTED(missing_second_barrier, reversed),
    PLANTED(missing_syncwarp, same),
    PLANTED(shuffle_is_no_syncwarp, same),
    PLANTED(store_off_by_one, same),
    PLANTED(shared_off_by_one, same),
    PLANTED(divergent_barrier, same),
    PLANTED(two_barriers, same),
    PLANTED(lane_leaves_early, same),
    PLANTED(lane_outside_of_the_mask, same),
    PLANTED(race_of_blocks, count),
    PLANTED(early_read_of_a_copy, same),
    PLANTED(copy_over_what_is_read, reversed),
    PLANTED(wait_for_too_few, same),
    PLANTED(read_before_any_write, same),
    PLANTED(misaligned_vector, same),
    PLANTED(more_shared_than_launched, same),
};

}  // namespace

extern "C" void adaconv_emulation_count(int whether);
extern "C" const char* adaconv_emulation_counts();

// Prints what is counted of `known_accesses`.
int count_accesses(const float* x, float* y) {
  adaconv_emulation_count(1);
  const char* message = launch(known_accesses, 1, kThreads, shared_bytes<float>(kThreads * kWarp),
                               nullptr, x, y, false);
  std::fputs(message == nullptr ? adaconv_emulation_counts() : message, stdout);
  return message != nullptr;
}

int main(int, char** arguments) {
  constexpr int kCount = kThreads * kBlocks;
  const auto buffer = [] {
    return std::unique_ptr<float, decltype(&std::free)>(
        static_cast<float*>(std::aligned_alloc(64, kCount * sizeof(float))), std::free);
  };
  const auto x = buffer(), y = buffer();
  for (int i = 0; i < kCount; ++i) x.get()[i] = same(i), y.get()[i] = 0;
  if (std::string(arguments[1]) == "count") return count_accesses(x.get(), y.get());
  const Planted& planted = kPlanted.at(arguments[1]);
  const bool bug = std::string(arguments[2]) == "bug";
  const char* message = launch(planted.kernel, kBlocks, kThreads, shared_bytes<float>(5 * kThreads),
                               nullptr, x.get(), y.get(), bug);
  if (message != nullptr) {
    std::fprintf(stderr, "%s\n", message);
    return 1;
  }
  for (int i = 0; i < kCount; ++i) {
    if (y.get()[i] == planted.expected(i)) continue;
    std::fprintf(stderr, "y[%d] is %g, not %g\n", i, y.get()[i], planted.expected(i));
    return 1;
  }
  return 0;
}
