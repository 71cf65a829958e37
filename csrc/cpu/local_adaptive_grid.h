// The grid of local adaptive convolution: what belongs to a point, and how points are dealt out.
#pragma once

#include "local_adaptive.h"
#include "parallel.h"

namespace adaconv::ADACONV_VARIANT::local {

struct Range {
  int64_t first, last;
  int64_t size() const { return last - first; }
};

// The grid in one direction: `size` pixels, each of which has `side` points in succession as
// neighbours, those beyond the grid being the nearest one within.
struct Axis {
  int64_t size, pitch, side;

  int64_t points() const { return (size + pitch - 1) / pitch; }
  int64_t first_neighbour(int64_t pixel) const { return (pixel + shift()) / pitch - 1; }

  // The pixels that have a point as a neighbour.
  Range pixels(int64_t point) const {
    const int64_t first = (point - side + 2) * pitch - shift();
    return {first < 0 ? 0 : first, min((point + 2) * pitch - shift(), size)};
  }
  // Which of a pixel's neighbours are that point.
  Range neighbours(int64_t pixel, int64_t point) const {
    const int64_t here = point - first_neighbour(pixel);
    return {point == 0 ? 0 : here, point == points() - 1 ? side : here + 1};
  }
  int64_t most_pixels() const { return min(side * pitch, size); }

 private:
  int64_t shift() const { return side == 2 ? pitch - pitch / 2 : 0; }
};

inline Axis down(const LocalAdaptiveShape& s) { return {s.out_height, s.pitch, s.side}; }
inline Axis across(const LocalAdaptiveShape& s) { return {s.out_width, s.pitch, s.side}; }

inline int64_t most_pixels(const LocalAdaptiveShape& s) {
  return down(s).most_pixels() * across(s).most_pixels();
}

// Whether a call has enough work to wake other threads for.
inline bool worth_threads(const LocalAdaptiveShape& s) {
  const double points = static_cast<double>(s.batch) * s.grid_h() * s.grid_w();
  const double pixels = static_cast<double>(s.side * s.pitch) * s.side * s.pitch;
  return points * s.weights() * (s.features + pixels) > 1e6;
}

// The values of a patch that are worked on together: those that lie together in the picture, of a
// row of taps or of one tap; and all of a patch that has a single channel.
struct Runs {
  int64_t taps, length;  // of a run
  int64_t count, across, step_down, step_across;

  explicit Runs(const LocalAdaptiveShape& s)
      : taps(s.depthwise()                        ? s.taps()
             : s.groups == 1 && s.dilation_w == 1 ? s.kernel_w
                                                  : 1),
        length(taps * s.group_in()),
        count(s.taps() / taps),
        across(s.kernel_w),
        step_down(s.dilation_h * s.width * s.in_channels),
        step_across(s.dilation_w * s.in_channels) {}

  // Where the patch has the first value of a run, or of a tap.
  int64_t at(int64_t run) const { return at_tap(run * taps); }
  int64_t at_tap(int64_t tap) const {
    return tap / across * step_down + tap % across * step_across;
  }

  // Where P has the weight for a value of a run.
  int64_t place(const LocalAdaptiveShape& s, int64_t output, int64_t run, int64_t value) const {
    const int64_t tap = run * taps + value / s.group_in();
    return output * s.rows() + value % s.group_in() * s.taps() + tap;
  }
};

// Rows of the grid, those of all images laid end to end, that are worked on at a time: so many that
// their weights for one run take a few MiB, and enough to read P and its gradient for.
inline int64_t band_rows(const LocalAdaptiveShape& s) {
  constexpr int64_t kValues = 1 << 20, kLeastPoints = 64;
  const int64_t fitting = kValues / (s.out_channels * Runs(s).length);
  const int64_t points = fitting < kLeastPoints ? kLeastPoints : fitting;
  return clamp<int64_t>(points / s.grid_w(), 1, s.batch * s.grid_h());
}

// The pixels that have one point of the grid as a neighbour, row by row.
template <class T>
struct Pixels {
  Range rows, columns;
  int64_t count;
  int64_t *x, *y;  // where each is: the first value of its patch, of its output
  T* a;            // its filter's value for the point, or the sum of several

  static size_t bytes(const LocalAdaptiveShape& s) {
    return most_pixels(s) * (2 * sizeof(int64_t) + sizeof(T)) + 3 * kAlignment;
  }

  Pixels(const LocalAdaptiveShape& s, int64_t n, int64_t row, int64_t column, const T* filters,
         Arena& arena)
      : rows(down(s).pixels(row)),
        columns(across(s).pixels(column)),
        count(rows.size() * columns.size()),
        x(arena.take<int64_t>(most_pixels(s))),
        y(arena.take<int64_t>(most_pixels(s))),
        a(arena.take<T>(most_pixels(s))) {
    for_each_filter(s, row, column, [&](int64_t i, int64_t h, int64_t w, Range v, Range u) {
      x[i] = ((n * s.height + h * s.stride_h) * s.width + w * s.stride_w) * s.in_channels;
      y[i] = (n * s.out_height + h) * s.out_width + w;
      a[i] = 0;
      for_each_neighbour(s, v, u, [&](int64_t j) { a[i] += filters[y[i] * s.side * s.side + j]; });
    });
  }

  // ga[pixel][j] += values[i] for those neighbours j that are the point.
  void spread(const LocalAdaptiveShape& s, int64_t row, int64_t column, const T* values,
              T* ga) const {
    for_each_filter(s, row, column, [&](int64_t i, int64_t, int64_t, Range v, Range u) {
      for_each_neighbour(s, v, u, [&](int64_t j) { ga[y[i] * s.side * s.side + j] += values[i]; });
    });
  }

 private:
  template <class Use>
  void for_each_filter(const LocalAdaptiveShape& s, int64_t row, int64_t column, Use use) const {
    int64_t i = 0;
    for (int64_t h = rows.first; h < rows.last; ++h) {
      const Range v = down(s).neighbours(h, row);
      for (int64_t w = columns.first; w < columns.last; ++w, ++i) {
        use(i, h, w, v, across(s).neighbours(w, column));
      }
    }
  }
  template <class Use>
  static void for_each_neighbour(const LocalAdaptiveShape& s, Range v, Range u, Use use) {
    for (int64_t i = v.first; i < v.last; ++i) {
      for (int64_t j = u.first; j < u.last; ++j) use(i * s.side + j);
    }
  }
};

// Calls task(image, row, column) for the points of some rows of the grid, on all threads.
//
// Neighbouring points have pixels in common. An image is cut into stripes of so many rows that
// every second stripe has nothing in common with the others, neither outputs nor what they read:
// those run at once, then the rest. So the order of all sums is fixed.
template <class Task>
void for_each_point(const LocalAdaptiveShape& s, Range rows, const Task& task) {
  const int64_t overlap = (s.kernel_h - 1) * s.dilation_h / s.stride_h;  // of what pixels read
  const int64_t height = s.side - 1 + (overlap + s.pitch - 1) / s.pitch;
  const int64_t stripes = (s.grid_h() + height - 1) / height, pairs = (stripes + 1) / 2;
  const int64_t image = rows.first / s.grid_h(), end = (rows.last - 1) / s.grid_h() + 1;
  for (int64_t parity = 0; parity < 2; ++parity) {
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t i = 0; i < (end - image) * pairs; ++i) {
      const int64_t n = image + i / pairs, stripe = 2 * (i % pairs) + parity;
      const int64_t first = clamp(rows.first - n * s.grid_h(), stripe * height, s.grid_h());
      const int64_t last = min(min((stripe + 1) * height, s.grid_h()), rows.last - n * s.grid_h());
      for (int64_t row = first; row < last; ++row) {
        for (int64_t column = 0; column < s.grid_w(); ++column) task(n, row, column);
      }
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT::local
