#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#define ADACONV_WEAK extern "C" __attribute__((weak))
ADACONV_WEAK void* __tsan_get_current_fiber();
ADACONV_WEAK void* __tsan_create_fiber(unsigned flags);
ADACONV_WEAK void __tsan_destroy_fiber(void* fiber);
ADACONV_WEAK void __tsan_switch_to_fiber(void* fiber, unsigned flags);
ADACONV_WEAK void __tsan_acquire(void* object);
ADACONV_WEAK void __tsan_release(void* object);
ADACONV_WEAK void __tsan_atomic32_store(volatile int32_t* object, int32_t value, int order);
ADACONV_WEAK void __sanitizer_start_switch_fiber(void** frames, const void* stack, size_t size);
ADACONV_WEAK void __sanitizer_finish_switch_fiber(void* frames, const void** stack, size_t* size);
ADACONV_WEAK void __sanitizer_set_death_callback(void (*callback)());
ADACONV_WEAK void __asan_poison_memory_region(const volatile void* memory, size_t bytes);
ADACONV_WEAK void __asan_unpoison_memory_region(const volatile void* memory, size_t bytes);

// Keeps the registers that a function must keep on the stack, and goes on where another stack ends.
extern "C" void adaconv_switch_stack(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
.text
.hidden adaconv_switch_stack
.globl adaconv_switch_stack
.type adaconv_switch_stack, @function
adaconv_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size adaconv_switch_stack, .-adaconv_switch_stack
)");
#else
#error "the emulation switches stacks on x86-64 alone"
#endif

namespace adaconv::emulation {

namespace {

constexpr int kRelease = 3;            // memory_order_release, as ThreadSanitizer counts
constexpr unsigned kWithoutOrder = 1;  // a switch orders nothing

char* pages(size_t bytes, void* where = nullptr) {
  const int at = where == nullptr ? 0 : MAP_FIXED;
  void* memory = mmap(where, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | at, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(memory);
}

// The stack of a fiber that has not run yet: registers, where to go on, and nowhere to return to.
void* first_frame(char* stack, void (*entry)()) {
  constexpr int kRegisters = 6;
  auto** frame = reinterpret_cast<void**>(stack + Stacks::kSize) - (kRegisters + 4);
  for (int i = 0; i < kRegisters + 4; ++i) frame[i] = nullptr;
  frame[kRegisters] = reinterpret_cast<void*>(entry);
  return frame;
}

}  // namespace

Stacks::Stacks(int count) : count_(count), memory_(pages(count * kSpacing)) { guard(); }

Stacks::~Stacks() { munmap(memory_, count_ * kSpacing); }

void Stacks::guard() {
  for (int i = 0; i < count_; ++i) mprotect(memory_ + i * kSpacing, kGuard, PROT_NONE);
}

void Stacks::renew() {
  for (int i = 0; i < count_; ++i) permit(at(i), kSize);
  if (!races_are_looked_for()) return;
  pages(count_ * kSpacing, memory_);
  guard();
}

void Fiber::start(char* stack, void (*entry)()) {
  stop();
  stack_ = stack;
  own_stack_pointer_ = first_frame(stack, entry);
  own_frames_ = nullptr;
  if (races_are_looked_for()) own_race_ = __tsan_create_fiber(0);
}

void Fiber::stop() {
  if (own_race_ != nullptr) __tsan_destroy_fiber(own_race_);
  own_race_ = nullptr;
}

void Fiber::enter() {
  if (races_are_looked_for()) {
    owners_race_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(own_race_, kWithoutOrder);
  }
  if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber(&owners_frames_, stack_, Stacks::kSize);
  }
  adaconv_switch_stack(&owners_stack_pointer_, own_stack_pointer_);
  if (__sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber(owners_frames_, nullptr, nullptr);
  }
}

void Fiber::arrive() {
  if (__sanitizer_finish_switch_fiber) {
    __sanitizer_finish_switch_fiber(own_frames_, &owners_stack_, &owners_size_);
  }
}

void Fiber::leave() {
  if (races_are_looked_for()) __tsan_switch_to_fiber(owners_race_, kWithoutOrder);
  if (__sanitizer_start_switch_fiber) {
    __sanitizer_start_switch_fiber(&own_frames_, owners_stack_, owners_size_);
  }
  adaconv_switch_stack(&own_stack_pointer_, owners_stack_pointer_);
  arrive();
}

bool races_are_looked_for() { return __tsan_create_fiber != nullptr; }

void forget_memory(void* memory, size_t bytes) {
  if (races_are_looked_for()) pages(bytes, memory);
}

void order_before(void* object, bool first) {
  if (!races_are_looked_for()) return;
  if (first) {  // replaces what the object ordered in its former life
    __tsan_atomic32_store(static_cast<int32_t*>(object), 0, kRelease);
  } else {
    __tsan_release(object);
  }
}

void order_after(void* object) {
  if (races_are_looked_for()) __tsan_acquire(object);
}

void forbid(const void* memory, size_t bytes) {
  if (__asan_poison_memory_region) __asan_poison_memory_region(memory, bytes);
}

void permit(const void* memory, size_t bytes) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(memory, bytes);
}

void when_a_report_ends_us(void (*callback)()) {
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(callback);
}

}  // namespace adaconv::emulation
