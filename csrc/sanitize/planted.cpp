#include "planted.h"

#include <cstring>
#include <map>
#include <stdexcept>

#include "cpu/parallel.h"

namespace adaconv {

namespace {

using namespace ADACONV_VARIANT;

volatile int64_t kPiece = 10;  // volatile, so that the compiler foresees nothing

double read_past_allocation() {
  std::vector<double> memory(kPiece);
  return memory.data()[kPiece];
}

double write_past_piece() {
  const Arenas arenas(2 * aligned(kPiece * sizeof(float)), 1);
  Arena arena = arenas.first();
  float* first = arena.take<float>(kPiece);
  float* second = arena.take<float>(kPiece);
  first[kPiece] = second[0] = 1;
  return second[0];
}

double use_piece_of_another_task() {
  const Arenas arenas(aligned(kPiece * sizeof(float)), 1);
  float* before = arenas.first().take<float>(kPiece);
  float* now = arenas.first().take<float>(1);
  now[0] = before[1] = 1;
  return now[0];
}

double take_more_than_there_is() {
  const Arenas arenas(aligned(kPiece * sizeof(float)), 1);
  Arena arena = arenas.first();
  arena.take<float>(kPiece);
  return arena.take<float>(1) != nullptr;
}

double overflow_an_integer() { return static_cast<double>(INT64_MAX - 5 + kPiece); }

double shift_too_far() { return static_cast<double>(int32_t{1} << (kPiece + 30)); }

// Two tasks add to one gradient.
double add_to_one_gradient() {
  double gradient = 0;
#pragma omp parallel for schedule(dynamic)
  for (int64_t task = 0; task < 8; ++task) {
    double* volatile shared = &gradient;
    *shared += task;
  }
  return gradient;
}

// A loop that does not wait for the one before it.
double read_before_it_is_written() {
  double value[8] = {}, total[8] = {};
#pragma omp parallel
  {
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < 8; ++i) value[i] = i;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < 8; ++i) total[i] = value[7 - i];
  }
  return total[0];
}

// What the kernels do: values change owners from one loop to the next; scratch belongs to a thread.
double hand_over() {
  double value[8] = {}, total[8] = {}, sum = 0;
  const Arenas arenas(aligned(sizeof(double)));
#pragma omp parallel for schedule(dynamic)
  for (int64_t i = 0; i < 8; ++i) {
    double* mine = arenas.mine().take<double>(1);
    *mine = i;
    value[i] = *mine;
  }
#pragma omp parallel
  {
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < 8; ++i) total[i] = value[7 - i];
#pragma omp for
    for (int64_t i = 0; i < 8; ++i) value[i] = total[7 - i];
  }
  for (int64_t i = 0; i < 8; ++i) sum += value[i];
  return sum;
}

struct Bug {
  const char* sanitizer;  // that finds it
  double (*commit)();
};

const std::map<std::string, Bug>& bugs() {
  static const std::map<std::string, Bug> table = {
      {"read_past_allocation", {"address", read_past_allocation}},
      {"write_past_piece", {"address", write_past_piece}},
      {"use_piece_of_another_task", {"address", use_piece_of_another_task}},
      {"take_more_than_there_is", {"address", take_more_than_there_is}},
      {"overflow_an_integer", {"undefined", overflow_an_integer}},
      {"shift_too_far", {"undefined", shift_too_far}},
      {"add_to_one_gradient", {"thread", add_to_one_gradient}},
      {"read_before_it_is_written", {"thread", read_before_it_is_written}},
  };
  return table;
}

}  // namespace

std::vector<std::string> planted_bugs() {
  std::vector<std::string> names;
  for (const auto& [name, bug] : bugs()) {
    if (std::strstr(ADACONV_SANITIZE, bug.sanitizer) != nullptr) names.push_back(name);
  }
  return names;
}

double plant(const std::string& name) {
  if (name == "none") return hand_over();
  const auto bug = bugs().find(name);
  if (bug == bugs().end()) throw std::invalid_argument("no planted bug is called " + name);
  return bug->second.commit();
}

}  // namespace adaconv
