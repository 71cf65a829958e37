// How a call of dynamic convolution is cut into tasks.
#pragma once

#include "dynamic_conv_patches.h"

namespace adaconv::ADACONV_VARIANT::dynamic {

// What one task works on: of an image and a group (or all groups that share a filter), the filters
// or channels [begin, end) and the rows [first, last).
struct Part {
  int64_t n, group, begin, end, first, last;
};

// Parts of `groups` groups, of the `items` filters or channels that each has, and of `rows` rows.
class Parts {
 public:
  Parts(const DynamicConvShape& shape, int64_t groups, int64_t items, int64_t rows)
      : s_(shape), groups_(groups), all_items_(items), all_rows_(rows) {
    // Enough pixels for long passes over a tap's weights, few enough for the sums to stay in the
    // first cache; where a filter is shared, its weights should stay in the second.
    constexpr int64_t kPixels = 4096, kWeights = 1 << 17;
    const int64_t fitting = s_.sharing() == 1 ? kPixels : kWeights / (s_.group_in() * s_.taps());
    const int64_t wanted = 4 * max_threads(), wholes = s_.batch * groups;
    const int64_t least_blocks = min(rows, (wanted - 1) / (wholes * items) + 1);
    rows_ = clamp(min(fitting, kPixels) / s_.out_width, int64_t{1}, rows / least_blocks);
    blocks_ = (rows + rows_ - 1) / rows_;
    slices_ = clamp(wanted / (wholes * blocks_), int64_t{1}, items);
  }

  // The most that a part has.
  int64_t items() const { return (all_items_ + slices_ - 1) / slices_; }
  int64_t pixels(int64_t more_rows = 0) const { return (rows_ + more_rows) * s_.out_width; }
  int64_t patch_values() const { return Patches{s_, 0, rows_ + Patches::reach(s_)}.values(); }
  // Channels of a group whose patches are in scratch memory at a time, to fit the second cache.
  int64_t channels() const { return clamp((1 << 16) / patch_values(), int64_t{1}, s_.group_in()); }

  // Calls task(part, arena) for all parts, on all threads.
  template <class Task>
  void for_each(size_t scratch_bytes, const Task& task) const {
    const Arenas arenas(scratch_bytes);
    const int64_t tasks = s_.batch * blocks_ * groups_ * slices_;
    const double products = static_cast<double>(s_.batch) * s_.groups * s_.group_out() *
                            s_.group_in() * s_.taps() * s_.out_height * s_.out_width;
#pragma omp parallel for schedule(dynamic) if (products > 1 << 15)
    for (int64_t i = 0; i < tasks; ++i) {
      const int64_t slice = i % slices_, group = i / slices_ % groups_;
      const int64_t first = i / slices_ / groups_ % blocks_ * rows_;
      task(Part{i / slices_ / groups_ / blocks_, group, all_items_ * slice / slices_,
                all_items_ * (slice + 1) / slices_, first, min(first + rows_, all_rows_)},
           arenas.mine());
    }
  }

 private:
  const DynamicConvShape& s_;
  int64_t groups_, all_items_, all_rows_, rows_, blocks_, slices_;
};

// Calls visit(c, u, v) for all taps of the channels [begin, end).
template <class Visit>
ADACONV_INLINE void for_each_tap(const DynamicConvShape& s, int64_t begin, int64_t end,
                                 const Visit& visit) {
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t u = 0; u < s.kernel_h; ++u) {
      for (int64_t v = 0; v < s.kernel_w; ++v) visit(c, u, v);
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT::dynamic
