// Launches: blocks in random order, dealt to threads of the host.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "block.h"

namespace adaconv::emulation {

namespace {

constexpr const char* kSeed = "ADACONV_EMULATION_SEED";
constexpr const char* kThreads = "ADACONV_EMULATION_THREADS";

unsigned long from_environment(const char* name, unsigned long otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoul(value, nullptr, 10);
}

unsigned long seed() { return from_environment(kSeed, 0); }

void print_seed() { std::fprintf(stderr, "%s=%lu\n", kSeed, seed()); }

// What the driver would refuse on every device.
const char* refusal(dim3 grid, dim3 block, size_t shared_bytes) {
  constexpr unsigned kMostThreads = 1024, kMostBlocks = 65535, kMostShared = 227 << 10;
  const size_t threads = size_t{block.x} * block.y * block.z;
  const size_t blocks = size_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > kMostThreads || block.z > 64 || blocks == 0 ||
      grid.x > 0x7fffffff || grid.y > kMostBlocks || grid.z > kMostBlocks) {
    return "invalid configuration argument";
  }
  return shared_bytes > kMostShared ? "invalid argument" : nullptr;
}

uint3 index_of(size_t number, dim3 grid) {
  return {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
          static_cast<unsigned>(number / grid.x / grid.y)};
}

}  // namespace

const char* run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread) {
  if (const char* reason = refusal(grid, block, shared_bytes)) return reason;
  when_a_report_ends_us(print_seed);
  std::vector<size_t> order(size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), size_t{0});
  std::shuffle(order.begin(), order.end(), std::mt19937(seed()));

  alignas(8) int ended = 0;  // what ThreadSanitizer knows the end of this launch by
  order_before(&ended, true);
  std::atomic<size_t> next{0};
  std::mutex mutex;
  static std::string error;
  error.clear();
  const auto work = [&](Block* worker) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < order.size();) {
      if (worker->run(index_of(order[i], grid), seed() + order[i])) continue;
      next = order.size();
      const std::lock_guard<std::mutex> lock(mutex);
      error = worker->error() + "; " + kSeed + "=" + std::to_string(seed());
    }
  };
  const size_t most = from_environment(kThreads, std::thread::hardware_concurrency());
  std::vector<std::unique_ptr<Block>> blocks(std::clamp<size_t>(most, 1, order.size()));
  std::vector<std::thread> workers;
  for (auto& worker : blocks) {
    worker = std::make_unique<Block>(grid, block, shared_bytes, thread, &ended);
    workers.emplace_back(work, worker.get());
  }
  for (std::thread& worker : workers) worker.join();
  order_after(&ended);  // the blocks' memory goes after the CUDA threads that used it
  return error.empty() ? nullptr : error.c_str();
}

}  // namespace adaconv::emulation
