#include "count.h"

#include <algorithm>
#include <mutex>
#include <set>

namespace adaconv::emulation {

namespace {

struct Sum {
  size_t requests = 0, moved = 0, ideal = 0;
};

using Key = std::tuple<std::string, int, std::string, std::string>;  // file, line, kind, memory

std::mutex mutex;
std::map<Key, Sum> sums;

bool takes_part(unsigned lanes, int lane) { return lanes >> lane & 1; }

}  // namespace

bool counting = false;

void Counter::access(int warp, int lane, const void* memory, size_t bytes, bool shared,
                     const char* kind, const Site& at) {
  Place& place = places_[{{at.file, at.line, kind, shared}, warp}];
  const size_t time = place.times[lane]++;
  if (place.requests.size() <= time) place.requests.resize(time + 1);
  Request& request = place.requests[time];
  request.lanes |= 1u << lane;
  request.bytes = bytes;
  request.at[lane] = reinterpret_cast<uintptr_t>(memory);
}

size_t Counter::sectors(const Request& request, size_t* ideal) {
  constexpr uintptr_t kSector = 32;
  std::set<uintptr_t> moved, wanted;
  for (int lane = 0; lane < kWarp; ++lane) {
    if (!takes_part(request.lanes, lane)) continue;
    wanted.insert(request.at[lane]);
    const uintptr_t last = (request.at[lane] + request.bytes - 1) / kSector;
    for (uintptr_t sector = request.at[lane] / kSector; sector <= last; ++sector) {
      moved.insert(sector);
    }
  }
  *ideal = (wanted.size() * request.bytes + kSector - 1) / kSector;
  return moved.size();
}

size_t Counter::passes(const Request& request, size_t* ideal) {
  constexpr size_t kBanks = 32, kWord = 4;
  const int lanes_at_once = static_cast<int>(kWarp * kWord / std::max(request.bytes, kWord));
  size_t total = 0;
  *ideal = 0;
  for (int first = 0; first < kWarp; first += lanes_at_once) {
    std::array<std::set<uintptr_t>, kBanks> words;
    for (int lane = first; lane < first + lanes_at_once; ++lane) {
      if (!takes_part(request.lanes, lane)) continue;
      const uintptr_t last = (request.at[lane] + request.bytes - 1) / kWord;
      for (uintptr_t word = request.at[lane] / kWord; word <= last; ++word) {
        words[word % kBanks].insert(word);
      }
    }
    size_t most = 0;
    for (const auto& bank : words) most = std::max(most, bank.size());
    total += most;
    *ideal += most > 0;
  }
  return total;
}

void Counter::finish() {
  const std::lock_guard<std::mutex> lock(mutex);
  for (const auto& [where, place] : places_) {
    const auto& [file, line, kind, shared] = where.first;
    Sum& sum = sums[{file, line, kind, shared ? "shared" : "global"}];
    for (const Request& request : place.requests) {
      size_t ideal;
      sum.moved += shared ? passes(request, &ideal) : sectors(request, &ideal);
      sum.ideal += ideal;
      ++sum.requests;
    }
  }
  places_.clear();
}

}  // namespace adaconv::emulation

using namespace adaconv::emulation;

// Forgets all counts, and counts from now on or no more. Not for builds with sanitizers: counting
// allocates memory, which would seem to order the CUDA threads.
extern "C" __attribute__((visibility("default"))) void adaconv_emulation_count(int whether) {
  const std::lock_guard<std::mutex> lock(mutex);
  sums.clear();
  counting = whether != 0;
}

// The counts as CSV, of every place of the kernels: sectors of global memory, or passes of shared.
extern "C" __attribute__((visibility("default"))) const char* adaconv_emulation_counts() {
  static std::string table;
  const std::lock_guard<std::mutex> lock(mutex);
  table = "file,line,access,memory,requests,moved,ideal\n";
  for (const auto& [where, sum] : sums) {
    const auto& [file, line, kind, memory] = where;
    table += file + "," + std::to_string(line) + "," + kind + "," + memory + "," +
             std::to_string(sum.requests) + "," + std::to_string(sum.moved) + "," +
             std::to_string(sum.ideal) + "\n";
  }
  return table.c_str();
}
