// How a call of dynamic convolution is cut into tasks.
#pragma once

#include "dynamic_conv_patches.h"

namespace adaconv::ADACONV_VARIANT::dynamic {

// What one task works on: of one image and one unit, the filters or the channels [begin, end), and
// the rows [first, last).
struct Part {
  int64_t n, unit, begin, end, first, last;

  int64_t items() const { return end - begin; }
};

// Parts of `items` filters or channels a unit, and of `rows` rows.
class Parts {
 public:
  Parts(const DynamicConvShape& shape, int64_t items, int64_t rows)
      : s_(shape), all_items_(items), all_rows_(rows) {
    // Enough pixels for long passes, few enough for the sums of all groups to stay in the caches.
    constexpr int64_t kSums = 1 << 15, kLeast = 512, kMost = 4096;
    const int64_t pixels = clamp(kSums / s_.unit_groups(), kLeast, kMost);
    rows_ = clamp<int64_t>(pixels / s_.out_width, 1, rows);
    blocks_ = (rows + rows_ - 1) / rows_;
    const int64_t tasks = s_.batch * s_.units() * blocks_;
    slices_ = clamp<int64_t>(4 * max_threads() / tasks, 1, items);
  }

  // The most that a part has.
  int64_t items() const { return (all_items_ + slices_ - 1) / slices_; }
  int64_t pixels(int64_t more_rows = 0) const { return (rows_ + more_rows) * s_.out_width; }
  int64_t patch_values() const {
    return Patches{s_, 0, rows_ + Patches::reach(s_)}.values() * s_.unit_groups();
  }
  // Channels of a group whose patches are in scratch memory at a time, to fit the second cache.
  int64_t channels() const { return clamp<int64_t>((1 << 16) / patch_values(), 1, s_.group_in()); }

  // Calls task(part, arena) for all parts, on all threads.
  template <class Task>
  void for_each(size_t scratch_bytes, const Task& task) const {
    const Arenas arenas(scratch_bytes);
    const int64_t tasks = s_.batch * s_.units() * slices_ * blocks_;
#pragma omp parallel for schedule(dynamic) if (s_.weights() > 1 << 15)
    for (int64_t i = 0; i < tasks; ++i) {
      const int64_t first = i % blocks_ * rows_, slice = i / blocks_ % slices_;
      const int64_t unit = i / blocks_ / slices_;
      task(Part{unit / s_.units(), unit % s_.units(), all_items_ * slice / slices_,
                all_items_ * (slice + 1) / slices_, first, min(first + rows_, all_rows_)},
           arenas.mine());
    }
  }

 private:
  const DynamicConvShape& s_;
  int64_t all_items_, all_rows_, rows_, blocks_, slices_;
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

// Calls visit(begin, end) for the channels [first, last) of a group, as many at a time as there is
// scratch memory for.
template <class Visit>
ADACONV_INLINE void for_each_slice(int64_t first, int64_t last, int64_t channels,
                                   const Visit& visit) {
  for (int64_t begin = first; begin < last; begin += channels) {
    visit(begin, min(begin + channels, last));
  }
}

// Calls visit(channel, values) for the channels [begin, end) of each group of a unit: where they
// are in the picture, and where in the patches, one group after the other.
template <class Visit>
ADACONV_INLINE void for_each_channel(const Patches& patches, int64_t unit, int64_t begin,
                                     int64_t end, const Visit& visit) {
  const DynamicConvShape& s = patches.s;
  int64_t at = 0;
  for (int64_t group = unit * s.unit_groups(); group < (unit + 1) * s.unit_groups(); ++group) {
    for (int64_t c = begin; c < end; ++c, at += patches.values()) {
      visit(group * s.group_in() + c, at);
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT::dynamic
