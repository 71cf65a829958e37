// What the memory of a GPU would have to do for the accesses of a block, counted warp by warp.
//
// The accesses that the lanes of a warp make at one place of a kernel, each for the n-th time, are
// taken for one request. A request to global memory moves sectors of 32 bytes. One to shared memory
// takes as many passes as there are different words that it wants of one of the 32 banks; of 8
// bytes a half of the warp goes at once, of 16 bytes a quarter. Ideal are the sectors that the
// requested bytes would fill, and a pass for each 32 words.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "runtime.h"

namespace adaconv::emulation {

class Counter {
 public:
  void access(int warp, int lane, const void* memory, size_t bytes, bool shared, const char* kind,
              const Site& at);
  void finish();  // adds the requests of a block to those of all

 private:
  struct Request {
    unsigned lanes = 0;
    size_t bytes = 0;
    std::array<uintptr_t, kWarp> at{};
  };
  struct Place {  // of one warp
    std::array<size_t, kWarp> times{};
    std::vector<Request> requests;
  };
  using Key = std::tuple<const char*, int, const char*, bool>;  // file, line, kind, shared

  static size_t sectors(const Request& request, size_t* ideal);
  static size_t passes(const Request& request, size_t* ideal);

  std::map<std::pair<Key, int>, Place> places_;
};

}  // namespace adaconv::emulation
