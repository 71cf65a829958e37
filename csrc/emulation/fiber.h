// A stack of its own for each emulated CUDA thread, and the switch from one to another.
//
// The sanitizers are told of every switch. They are looked up when the program is linked: these
// sources are compiled without them, so that the runtime's own bookkeeping, which no CUDA thread
// knows of, neither orders memory accesses nor is looked at. `order_after` and `order_before` are
// all that ThreadSanitizer ever hears of barriers.
#pragma once

#include <cstddef>

namespace adaconv::emulation {

// Memory for the stacks of the threads of a block.
class Stacks {
 public:
  explicit Stacks(int count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  void renew();  // nothing that was on them has ever happened
  char* at(int i) const { return memory_ + i * kSpacing + kGuard; }

  static constexpr size_t kGuard = 4096, kSize = 124 << 10, kSpacing = kGuard + kSize;

 private:
  void guard();  // what runs out of a stack stops there

  int count_;
  char* memory_;
};

class Fiber {
 public:
  ~Fiber() { stop(); }

  void start(char* stack, void (*entry)());  // which arrives, and leaves at its end
  void stop();
  void enter();   // from the thread that owns the fiber, until it leaves
  void arrive();  // first thing in the fiber
  void leave();   // from the fiber

 private:
  char* stack_ = nullptr;
  void *own_stack_pointer_ = nullptr, *owners_stack_pointer_ = nullptr;
  // What AddressSanitizer and ThreadSanitizer know this fiber, and its owner, by.
  void *own_frames_ = nullptr, *owners_frames_ = nullptr;
  const void* owners_stack_ = nullptr;
  size_t owners_size_ = 0;
  void *own_race_ = nullptr, *owners_race_ = nullptr;
};

// Sanitizers; nothing happens where they are not there.
bool races_are_looked_for();
void forget_memory(void* memory, size_t bytes);  // zeros that nobody has touched; whole pages
void order_before(void* object, bool first);     // what this fiber did is done; the first to say so
void order_after(void* object);                  // what those did who said so is seen
void forbid(const void* memory, size_t bytes);
void permit(const void* memory, size_t bytes);
void when_a_report_ends_us(void (*callback)());

}  // namespace adaconv::emulation
