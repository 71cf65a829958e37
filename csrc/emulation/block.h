// One block at a time: its threads as fibers, its barriers, its warps and its shared memory.
//
// Threads take turns. Whose turn it is, is drawn anew whenever one waits or ends. Where threads
// wait for each other, a `Meeting` counts who has come; one that has been left by all is used
// again, and two that follow each other are never the same, so that whoever leaves the first late
// learns nothing from those who have already come to the second.
#pragma once

#include <array>
#include <random>
#include <string>
#include <vector>

#include "count.h"
#include "fiber.h"
#include "runtime.h"

namespace adaconv::emulation {

class Block;

struct Thread;

struct Meeting {
  unsigned mask = 0;  // of the lanes that must come; a block's barrier has none
  int expected = 0, arrived = 0, left = 0;
  Thread* first = nullptr;  // of those that may come
  const char* name = "";
  Site at;
  alignas(8) int order = 0;  // what ThreadSanitizer knows the meeting by
  Deposit given[kWarp] = {};

  bool free() const { return left == expected; }
  bool open() const { return arrived < expected; }
};

struct Thread {
  Self self;
  Fiber fiber;
  Block* block = nullptr;
  bool ended = false;
  Meeting* waits_for = nullptr;
  // Copies that have been queued: `made` of them are done, `group[i]` is the one that i belongs to.
  static constexpr int kMostCopies = 256;
  std::vector<Copy> copies;
  std::vector<int> copy_groups;
  size_t made = 0;
  int groups = 0;
};

class Block {
 public:
  // Of a launch, for one worker; it is used for one block after another.
  Block(dim3 grid, dim3 size, size_t shared_bytes, const std::function<void()>& body, void* launch);
  ~Block();

  bool run(uint3 index, uint64_t seed);  // false if something went wrong
  const std::string& error() const { return error_; }

  [[noreturn]] void fail(const Site& at, const std::string& message);
  void meet_block(const Site& at);
  void meet_warp(unsigned mask, const WarpOperation& operation, const Deposit& given, Deposit* all);
  void* shared_array(size_t offset, size_t bytes, const Site& at);
  void count_access(const void* memory, size_t bytes, const char* kind, const Site& at);

 private:
  struct Warp {
    unsigned lanes = 0;
    std::array<Meeting, 2 * kWarp> meetings;
  };

  static void thread_entry();
  [[noreturn]] void end();
  void wait();
  Meeting& meeting_of(Warp& warp, unsigned mask, const WarpOperation& operation);
  void arrive(Meeting& meeting, bool orders_memory);
  void leave(Meeting& meeting, bool orders_memory);
  void renew(uint3 index);
  std::string who_waits() const;

  static constexpr size_t kRedZone = 128;  // of all 32 banks, whose numbers it does not change
  static constexpr size_t kArrays = 64;
  const std::function<void()>& body_;
  void* launch_;
  size_t shared_bytes_, shared_size_;
  char* shared_;
  struct Array {
    size_t offset, bytes;
    char* at;
  };
  std::vector<Array> arrays_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::array<Meeting, 2> barriers_;
  std::vector<Thread*> ready_;
  Stacks stacks_;
  Counter counter_;
  int ended_ = 0;
  std::string error_;
};

}  // namespace adaconv::emulation
