// Loops must not become calls of memcpy: those are looked at, and seem to be the CUDA threads' own.
#pragma GCC optimize("no-tree-loop-distribute-patterns")

#include "block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace adaconv::emulation {

namespace {

// The CUDA thread whose turn it is; fibers stay with the worker that started them.
thread_local Thread* current = nullptr;

size_t whole_pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

std::string text(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
         std::to_string(index.z) + ")";
}

std::string text(const Site& at) { return std::string(at.file) + ":" + std::to_string(at.line); }

uint3 index_of(int number, dim3 size) {
  const unsigned n = number;
  return {n % size.x, n / size.x % size.y, n / size.x / size.y};
}

unsigned bit(int lane) { return 1u << lane; }

}  // namespace

Block::Block(dim3 grid, dim3 size, size_t shared_bytes, const std::function<void()>& body,
             void* launch)
    : body_(body),
      launch_(launch),
      shared_bytes_(shared_bytes),
      shared_size_(whole_pages(shared_bytes + (kArrays + 1) * kRedZone)),
      shared_(static_cast<char*>(
          mmap(nullptr, shared_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
      threads_(size.x * size.y * size.z),
      warps_((threads_.size() + kWarp - 1) / kWarp),
      stacks_(static_cast<int>(threads_.size())) {
  if (shared_ == MAP_FAILED) throw std::bad_alloc();
  arrays_.reserve(kArrays);  // CUDA threads must not allocate: it would seem to order them
  ready_.reserve(threads_.size());
  for (size_t i = 0; i < threads_.size(); ++i) {
    Thread& thread = threads_[i];
    thread.self.thread = index_of(static_cast<int>(i), size);
    thread.self.block_size = size;
    thread.self.grid_size = grid;
    thread.self.number = static_cast<int>(i);
    thread.block = this;
    thread.copies.reserve(Thread::kMostCopies);
    thread.copy_groups.reserve(Thread::kMostCopies);
    warps_[i / kWarp].lanes |= bit(i % kWarp);
  }
}

Block::~Block() {
  permit(shared_, shared_size_);
  munmap(shared_, shared_size_);
}

void Block::renew(uint3 index) {
  permit(shared_, shared_size_);
  forget_memory(shared_, shared_size_);
  std::memset(shared_, 0xff, shared_size_);  // NaN in every type, so that a test sees what reads it
  forbid(shared_, shared_size_);
  stacks_.renew();
  arrays_.clear();
  ready_.clear();
  barriers_ = {};
  ended_ = 0;
  for (Warp& warp : warps_) {
    for (Meeting& meeting : warp.meetings) meeting.left = meeting.expected = meeting.arrived = 0;
  }
  for (Thread& thread : threads_) {
    thread.self.block = index;
    thread.ended = false;
    thread.waits_for = nullptr;
    thread.copies.clear();
    thread.copy_groups.clear();
    thread.made = 0;
    thread.groups = 0;
    thread.fiber.start(stacks_.at(thread.self.number), thread_entry);
    ready_.push_back(&thread);
  }
}

bool Block::run(uint3 index, uint64_t seed) {
  renew(index);
  std::minstd_rand random(static_cast<std::minstd_rand::result_type>(seed));
  while (!ready_.empty() && error_.empty()) {
    std::swap(ready_[random() % ready_.size()], ready_.back());
    current = ready_.back();
    ready_.pop_back();
    current->fiber.enter();
  }
  if (error_.empty() && ended_ < static_cast<int>(threads_.size())) error_ = who_waits();
  for (Thread& thread : threads_) {
    if (thread.ended) continue;
    current = &thread;
    thread.fiber.enter();  // to give up
  }
  if (!error_.empty()) order_after(launch_);  // a CUDA thread may have written the message
  current = nullptr;
  if (counting) counter_.finish();
  return error_.empty();
}

void Block::thread_entry() {
  current->fiber.arrive();
  if (current->block->error_.empty()) current->block->body_();
  current->block->end();
}

// All that the thread did comes before the end of the launch.
void Block::end() {
  order_before(launch_, false);
  current->ended = true;
  ++ended_;
  for (;;) current->fiber.leave();
}

void Block::wait() {
  current->fiber.leave();
  if (!error_.empty()) end();
}

void Block::fail(const Site& at, const std::string& message) {
  error_ = text(at) + ": " + message + " (block " + text(current->self.block) + ", thread " +
           text(current->self.thread) + ")";
  end();
}

// Told when nobody can go on: where each thread waits, the place with the fewest first, since what
// is missing there is the most likely to be wrong.
std::string Block::who_waits() const {
  struct Place {
    const Meeting* meeting;
    int count;
    uint3 example;
  };
  std::vector<Place> places;
  for (const Thread& thread : threads_) {
    if (thread.waits_for == nullptr) continue;
    const auto same = std::find_if(places.begin(), places.end(), [&](const Place& place) {
      return place.meeting == thread.waits_for;
    });
    if (same != places.end()) {
      ++same->count;
    } else {
      places.push_back({thread.waits_for, 1, thread.self.thread});
    }
  }
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.count < b.count; });
  std::string message;
  for (const Place& place : places) {
    if (!message.empty()) message += "; ";
    message += text(place.meeting->at) + ": " + place.meeting->name +
               " waits for ever: " + std::to_string(place.count) + " of " +
               std::to_string(place.meeting->expected) + " threads came, one of them " +
               text(place.example);
  }
  const auto ended = std::find_if(threads_.begin(), threads_.end(),
                                  [](const Thread& thread) { return thread.ended; });
  if (ended != threads_.end()) {
    message += "; " + std::to_string(ended_) + " threads have ended, one of them " +
               text(ended->self.thread);
  }
  return message + " (block " + text(threads_[0].self.block) + ")";
}

void Block::arrive(Meeting& meeting, bool orders_memory) {
  if (orders_memory) order_before(&meeting.order, meeting.arrived == 0);
  if (++meeting.arrived < meeting.expected) {
    current->waits_for = &meeting;
    return wait();
  }
  const int candidates = meeting.mask == 0 ? meeting.expected : kWarp;
  for (Thread* thread = meeting.first; thread < meeting.first + candidates; ++thread) {
    if (thread == threads_.data() + threads_.size()) break;
    if (thread->waits_for != &meeting) continue;
    thread->waits_for = nullptr;
    ready_.push_back(thread);
  }
}

void Block::leave(Meeting& meeting, bool orders_memory) {
  if (orders_memory) order_after(&meeting.order);
  ++meeting.left;
}

void Block::meet_block(const Site& at) {
  const auto open = std::find_if(barriers_.begin(), barriers_.end(),
                                 [](const Meeting& barrier) { return barrier.open(); });
  if (open != barriers_.end()) {
    if (!(open->at == at)) {
      fail(at, "__syncthreads is divergent: other threads of the block are at " + text(open->at));
    }
    arrive(*open, true);
    return leave(*open, true);
  }
  Meeting& next = barriers_[0].free() ? barriers_[0] : barriers_[1];
  next.expected = static_cast<int>(threads_.size());
  next.arrived = next.left = 0;
  next.first = threads_.data();
  next.name = "__syncthreads";
  next.at = at;
  arrive(next, true);
  leave(next, true);
}

Meeting& Block::meeting_of(Warp& warp, unsigned mask, const WarpOperation& operation) {
  for (Meeting& meeting : warp.meetings) {
    if (!meeting.open() || meeting.mask != mask) continue;
    if (!(meeting.at == operation.at)) {
      fail(operation.at, std::string(operation.name) +
                             " is divergent: other lanes of its mask are at " + text(meeting.at));
    }
    return meeting;
  }
  Meeting& next = *std::find_if(warp.meetings.begin(), warp.meetings.end(),
                                [](const Meeting& meeting) { return meeting.free(); });
  next.mask = mask;
  next.expected = __builtin_popcount(mask);
  next.arrived = next.left = 0;
  next.first = threads_.data() + (&warp - warps_.data()) * kWarp;
  next.name = operation.name;
  next.at = operation.at;
  for (Deposit& given : next.given) given = {{~0ull, ~0ull, ~0ull, ~0ull}};
  return next;
}

void Block::meet_warp(unsigned mask, const WarpOperation& operation, const Deposit& given,
                      Deposit* all) {
  Warp& warp = warps_[current->self.number / kWarp];
  const int lane = current->self.number % kWarp;
  if (!(mask & bit(lane))) {
    fail(operation.at, std::string(operation.name) + " by lane " + std::to_string(lane) +
                           ", which its mask leaves out");
  }
  Meeting& meeting = meeting_of(warp, mask & warp.lanes, operation);
  meeting.given[lane] = given;
  arrive(meeting, operation.orders_memory);
  for (int i = 0; i < kWarp; ++i) all[i] = meeting.given[i];
  leave(meeting, operation.orders_memory);
}

void* Block::shared_array(size_t offset, size_t bytes, const Site& at) {
  for (const Array& array : arrays_) {
    if (array.offset == offset && array.bytes == bytes) return array.at;
    if (array.offset < offset + bytes && offset < array.offset + array.bytes) {
      fail(at, "the threads of the block disagree on the arrays in shared memory");
    }
  }
  if (offset + bytes > shared_bytes_) {
    fail(at, "takes " + std::to_string(offset + bytes) + " bytes of shared memory, launched with " +
                 std::to_string(shared_bytes_));
  }
  if (arrays_.size() == kArrays) fail(at, "takes more than 64 arrays in shared memory");
  char* piece = shared_ + offset + (arrays_.size() + 1) * kRedZone;
  permit(piece, bytes);
  arrays_.push_back({offset, bytes, piece});
  return piece;
}

void Block::count_access(const void* memory, size_t bytes, const char* kind, const Site& at) {
  const bool shared = memory >= shared_ && memory < shared_ + shared_size_;
  const int number = current->self.number;
  counter_.access(number / kWarp, number % kWarp, memory, bytes, shared, kind, at);
}

const Self& self() { return current->self; }

void fail(const Site& at, const std::string& message) { current->block->fail(at, message); }

void meet_block(const Site& at) { current->block->meet_block(at); }

void meet_warp(unsigned mask, const WarpOperation& operation, const Deposit& given, Deposit* all) {
  current->block->meet_warp(mask, operation, given, all);
}

void* shared_array(size_t offset, size_t bytes, const Site& at) {
  return current->block->shared_array(offset, bytes, at);
}

void count_access(const void* memory, size_t bytes, const char* kind, const Site& at) {
  current->block->count_access(memory, bytes, kind, at);
}

void queue_copy(const Copy& copy, const Site& at) {
  Thread& thread = *current;
  if (thread.made == thread.copies.size()) {
    thread.copies.clear();
    thread.copy_groups.clear();
    thread.made = 0;
  }
  if (thread.copies.size() == Thread::kMostCopies)
    fail(at, "more than 256 copies are on their way");
  thread.copies.push_back(copy);
  thread.copy_groups.push_back(thread.groups);
  forbid(copy.to, copy.bytes);
}

void commit_copies() { ++current->groups; }

bool next_copy(int groups_left, Copy* copy) {
  Thread& thread = *current;
  if (thread.made == thread.copies.size()) return false;
  if (thread.copy_groups[thread.made] + groups_left >= thread.groups) return false;
  *copy = thread.copies[thread.made++];
  permit(copy->to, copy->bytes);
  return true;
}

}  // namespace adaconv::emulation
