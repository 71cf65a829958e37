// Copies between strided tensors and the lanes of tiles.
//
// A packed array holds, for each row (a channel, a feature, a tap), the kPixels pixels of one tile
// side by side, in the precision of the sums.
#pragma once

#include "plan.h"
#include "vec.h"

namespace adaconv::ADACONV_VARIANT {

// Vectors of pixels in a tile: with kRowBlock (see adaptive_conv_micro.h) they fill the registers.
constexpr int kTileVectors = 3;
template <class T>
constexpr int kTile = kTileVectors * kLanes<T>;

template <class To, class From>
ADACONV_INLINE void copy(To* to, int64_t to_step, const From* from, int64_t from_step,
                         int64_t count) {
  if (to_step == 1 && from_step == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] = convert<To>(from[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * to_step] = convert<To>(from[i * from_step]);
  }
}

template <class T>
ADACONV_INLINE void add(T* to, int64_t step, const T* from, int64_t count) {
  if (step == 1) {
    for (int64_t i = 0; i < count; ++i) to[i] += from[i];
  } else {
    for (int64_t i = 0; i < count; ++i) to[i * step] += from[i];
  }
}

template <class T>
ADACONV_INLINE void zero(T* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = 0;
}

// Clears the lanes of a tile's rows that hold no pixel.
template <int kPixels, class T>
void clear_unused_lanes(const Plan& plan, int tile, int64_t rows, T* packed) {
  const Run& last = plan.runs[plan.run_begin[tile + 1] - 1];
  const int used = last.lane + last.length;
  for (int64_t row = 0; row < rows && used < kPixels; ++row) {
    zero(packed + row * kPixels + used, kPixels - used);
  }
}

// packed[row][lane] = tensor(channel + row, pixel)
template <int kPixels, class T, class S>
void gather(const Plan& plan, int tile, const Strided<const S>& tensor, int64_t channel,
            int64_t rows, T* packed) {
  for (int r = plan.run_begin[tile]; r < plan.run_begin[tile + 1]; ++r) {
    const Run& run = plan.runs[r];
    const S* from = tensor.at(run.n, channel, run.oh, run.ow);
    T* to = packed + run.lane;
    for (int64_t row = 0; row < rows; ++row, from += tensor.c, to += kPixels) {
      copy(to, 1, from, tensor.w, run.length);
    }
  }
  clear_unused_lanes<kPixels>(plan, tile, rows, packed);
}

// tensor(channel + row, pixel) = packed[row][lane]
template <int kPixels, class T, class S>
void scatter(const Plan& plan, int tile, const Strided<S>& tensor, int64_t channel, int64_t rows,
             const T* packed) {
  for (int r = plan.run_begin[tile]; r < plan.run_begin[tile + 1]; ++r) {
    const Run& run = plan.runs[r];
    S* to = tensor.at(run.n, channel, run.oh, run.ow);
    const T* from = packed + run.lane;
    for (int64_t row = 0; row < rows; ++row, to += tensor.c, from += kPixels) {
      copy(to, tensor.w, from, 1, run.length);
    }
  }
}

// The pixels of a run that one tap reads: input positions column + lane * stride for lanes [begin,
// end), the others fall on padding.
struct Window {
  int64_t row, column, begin, end;
};

inline Window window(const AdaptiveConvShape& s, const Run& run, int64_t tap) {
  const int64_t u = tap / s.kernel_w, v = tap - u * s.kernel_w;
  Window at{run.oh * s.stride_h - s.padding_h + u * s.dilation_h,
            run.ow * s.stride_w - s.padding_w + v * s.dilation_w, 0, run.length};
  if (at.row < 0 || at.row >= s.height || at.column >= s.width) {
    at.end = 0;
    return at;
  }
  if (at.column < 0) {
    at.begin = (-at.column + s.stride_w - 1) / s.stride_w;
    if (at.begin > run.length) at.begin = run.length;
  }
  if (at.column + (run.length - 1) * s.stride_w >= s.width) {
    at.end = (s.width - 1 - at.column) / s.stride_w + 1;
    if (at.end < at.begin) at.end = at.begin;
  }
  return at;
}

// packed[c * tap_count + i][lane] = x(channel + c, pixel + taps[i])
template <int kPixels, class T, class S>
void gather_patches(const AdaptiveConvShape& s, const Plan& plan, int tile,
                    const Strided<const S>& x, int64_t channel, int64_t channels,
                    const int32_t* taps, int tap_count, T* packed) {
  for (int r = plan.run_begin[tile]; r < plan.run_begin[tile + 1]; ++r) {
    const Run& run = plan.runs[r];
    for (int i = 0; i < tap_count; ++i) {
      const Window at = window(s, run, taps[i]);
      const int64_t inside = at.end - at.begin;
      T* to = packed + i * kPixels + run.lane;
      const S* from =
          inside ? x.at(run.n, channel, at.row, at.column + at.begin * s.stride_w) : x.data;
      for (int64_t c = 0; c < channels; ++c, from += x.c, to += tap_count * kPixels) {
        if (inside != run.length) zero(to, run.length);
        copy(to + at.begin, 1, from, s.stride_w * x.w, inside);
      }
    }
  }
  clear_unused_lanes<kPixels>(plan, tile, channels * tap_count, packed);
}

// gx(channel, pixel + taps[i]) += packed[i][lane]
template <int kPixels, class T>
void scatter_add_patches(const AdaptiveConvShape& s, const Plan& plan, int tile,
                         const Strided<T>& gx, int64_t channel, const int32_t* taps, int tap_count,
                         const T* packed) {
  for (int r = plan.run_begin[tile]; r < plan.run_begin[tile + 1]; ++r) {
    const Run& run = plan.runs[r];
    for (int i = 0; i < tap_count; ++i) {
      const Window at = window(s, run, taps[i]);
      if (at.begin == at.end) continue;
      add(gx.at(run.n, channel, at.row, at.column + at.begin * s.stride_w), s.stride_w * gx.w,
          packed + i * kPixels + run.lane + at.begin, at.end - at.begin);
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT
