// The part of GCC's OpenMP runtime that the kernels need, for builds with ThreadSanitizer.
//
// ThreadSanitizer must see how threads wait for each other. It does not see into libgomp, and so
// reports races in correct code. Here a region starts its threads and joins them, which it sees.
// Two deviations make what it finds independent of timing: the chunks of dynamic loops are dealt
// in turn, and a region takes all threads even where its `if` clause says that one will do.
#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace {

struct Team {
  const int size;
  std::mutex mutex;
  std::condition_variable all_here;
  int here = 0, meetings = 0;

  explicit Team(int size_) : size(size_) {}

  void meet() {
    std::unique_lock<std::mutex> lock(mutex);
    const int meeting = meetings;
    if (++here == size) {
      here = 0;
      ++meetings;
      all_here.notify_all();
    } else {
      all_here.wait(lock, [&] { return meetings != meeting; });
    }
  }
};

// The iterations of a loop that one thread has yet to do: chunks from `next` on, `stride` apart.
struct Loop {
  long next, end, chunk, stride;

  Loop(long start, long end_, long step, long chunk_, int thread, int threads)
      : next(start + thread * chunk_ * step),
        end(end_),
        chunk(chunk_ * step),
        stride(threads * chunk_ * step) {}

  bool take(long* from, long* to) {
    const bool up = stride > 0;
    if (up ? next >= end : next <= end) return false;
    *from = next;
    *to = up ? std::min(next + chunk, end) : std::max(next + chunk, end);
    next += stride;
    return true;
  }
};

struct Member {
  Team* team = nullptr;
  int number = 0;
  Loop loop{0, 0, 1, 1, 0, 1};
};

thread_local Member me;

int team_size() { return me.team == nullptr ? 1 : me.team->size; }

int threads_of_a_region() {
  const char* wanted = std::getenv("ADACONV_RACE_THREADS");
  return wanted == nullptr ? 3 : std::max(1, std::atoi(wanted));
}

// Regions inside of regions have one thread, as they do by default in libgomp.
template <class Work>
void run(const Work& work) {
  Team team(me.team == nullptr ? threads_of_a_region() : 1);
  const Member before = me;
  std::vector<std::thread> others;
  for (int number = 1; number < team.size; ++number) {
    others.emplace_back([&team, &work, number] {
      me.team = &team;
      me.number = number;
      work();
    });
  }
  me.team = &team;
  me.number = 0;
  work();
  me = before;
  for (std::thread& other : others) other.join();
}

}  // namespace

// Hidden, so that the module finds these and not the libgomp that torch brought.
#define ADACONV_RUNTIME extern "C" __attribute__((visibility("hidden")))

ADACONV_RUNTIME int omp_get_max_threads() { return me.team == nullptr ? threads_of_a_region() : 1; }
ADACONV_RUNTIME int omp_get_num_threads() { return team_size(); }
ADACONV_RUNTIME int omp_get_thread_num() { return me.number; }

ADACONV_RUNTIME void GOMP_barrier() {
  if (me.team != nullptr) me.team->meet();
}

ADACONV_RUNTIME void GOMP_parallel(void (*body)(void*), void* data, unsigned, unsigned) {
  run([=] { body(data); });
}

ADACONV_RUNTIME bool GOMP_loop_nonmonotonic_dynamic_next(long* from, long* to) {
  return me.loop.take(from, to);
}

ADACONV_RUNTIME bool GOMP_loop_nonmonotonic_dynamic_start(long start, long end, long step,
                                                          long chunk, long* from, long* to) {
  me.loop = Loop(start, end, step, chunk, me.number, team_size());
  return me.loop.take(from, to);
}

ADACONV_RUNTIME void GOMP_loop_end() { GOMP_barrier(); }
ADACONV_RUNTIME void GOMP_loop_end_nowait() {}

ADACONV_RUNTIME void GOMP_parallel_loop_nonmonotonic_dynamic(void (*body)(void*), void* data,
                                                             unsigned, long start, long end,
                                                             long step, long chunk, unsigned) {
  run([=] {
    me.loop = Loop(start, end, step, chunk, me.number, team_size());
    body(data);
  });
}
