// Copies between strided tensors and the lanes of tiles.
//
// A packed array holds, for each row (a channel, a feature, a tap), the kPixels pixels of one tile
// side by side, in the precision of the sums.
#pragma once

#include "shared/plan.h"
#include "vec.h"

namespace adaconv::ADACONV_VARIANT {

// Vectors of pixels in a tile: with kRowBlock (see adaptive_conv_micro.h) they fill the registers.
constexpr int kTileVectors = 3;
template <class T>
constexpr int kTile = kTileVectors * kLanes<T>;

// Several rows of numbers: to[row * to_row + i * to_step] = from[row * from_row + i * from_step].
template <class To, class From>
ADACONV_INLINE void copy_rows(To* to, int64_t to_row, int64_t to_step, const From* from,
                              int64_t from_row, int64_t from_step, int64_t rows, int64_t count) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<To, float>) {
    if (to_step == 1 && from_step == 1) {  // rows are short: masks beat a loop and its rest
      for (int64_t i = 0; i < count; i += 16) {
        for (int64_t row = 0; row < rows; ++row) {
          store_some(to + row * to_row + i, load_some(from + row * from_row + i, count - i),
                     count - i);
        }
      }
      return;
    }
  }
#endif
  for (int64_t row = 0; row < rows; ++row, to += to_row, from += from_row) {
    if (to_step == 1 && from_step == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] = convert<To>(from[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) to[i * to_step] = convert<To>(from[i * from_step]);
    }
  }
}

// One row of numbers.
template <class To, class From>
ADACONV_INLINE void copy(To* to, int64_t to_step, const From* from, int64_t from_step,
                         int64_t count) {
  copy_rows(to, 0, to_step, from, 0, from_step, 1, count);
}

// Likewise to[row * to_row + i * to_step] += from[row * from_row + i].
template <class T>
ADACONV_INLINE void add_rows(T* to, int64_t to_row, int64_t to_step, const T* from,
                             int64_t from_row, int64_t rows, int64_t count) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>) {
    if (to_step == 1) {
      for (int64_t i = 0; i < count; i += 16) {
        for (int64_t row = 0; row < rows; ++row) {
          T* sum = to + row * to_row + i;
          store_some(sum,
                     load_some(sum, count - i) + load_some(from + row * from_row + i, count - i),
                     count - i);
        }
      }
      return;
    }
  }
#endif
  for (int64_t row = 0; row < rows; ++row, to += to_row, from += from_row) {
    if (to_step == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] += from[i];
    } else {
      for (int64_t i = 0; i < count; ++i) to[i * to_step] += from[i];
    }
  }
}

template <class T>
ADACONV_INLINE void add(T* to, int64_t to_step, const T* from, int64_t count) {
  add_rows(to, 0, to_step, from, 0, 1, count);
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
    copy_rows(packed + run.lane, kPixels, 1, from, tensor.c, tensor.w, rows, run.length);
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
    copy_rows(to, tensor.c, tensor.w, packed + run.lane, kPixels, 1, rows, run.length);
  }
}

// The pixels of a run that one tap reads: input positions column + lane * stride for lanes [begin,
// end), the others fall on padding.
struct Window {
  int64_t row, column, begin, end;
};

inline Window window(const ConvShape& s, const Run& run, int64_t tap) {
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

// to[i] = the enlarged picture's pixel in column + i * stride of a row; `row` is x's row, from the
// pixel that `column` lies on.
template <class T, class S>
ADACONV_INLINE void copy_enlarged(T* __restrict to, const S* __restrict row, int64_t row_step,
                                  int64_t upsample, int64_t column, int64_t stride, int64_t count) {
  int64_t phase = column % upsample;
  if (upsample == 2 && stride == 1 && row_step == 1) {  // the usual case, in vectors
    if (phase == 1 && count > 0) {
      *to++ = convert<T>(*row++);
      --count;
    }
    const int64_t pairs = count / 2;
    for (int64_t i = 0; i < pairs; ++i) {
      to[2 * i] = convert<T>(row[i]);
      to[2 * i + 1] = to[2 * i];
    }
    if (count % 2 == 1) to[count - 1] = convert<T>(row[pairs]);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    to[i] = convert<T>(*row);
    for (phase += stride; phase >= upsample; phase -= upsample) row += row_step;
  }
}

// Adds where copy_enlarged reads, in the order of the lanes.
template <class T>
ADACONV_INLINE void add_enlarged(T* __restrict row, int64_t row_step, int64_t upsample,
                                 int64_t column, int64_t stride, const T* __restrict from,
                                 int64_t count) {
  int64_t phase = column % upsample;
  if (upsample == 2 && stride == 1 && row_step == 1) {
    if (phase == 1 && count > 0) {
      *row++ += *from++;
      --count;
    }
    const int64_t pairs = count / 2;
    for (int64_t i = 0; i < pairs; ++i) row[i] = row[i] + from[2 * i] + from[2 * i + 1];
    if (count % 2 == 1) row[pairs] += from[count - 1];
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    *row += from[i];
    for (phase += stride; phase >= upsample; phase -= upsample) row += row_step;
  }
}

// The pixel of x that the first lane of a window reads.
template <class T>
ADACONV_INLINE T* first_read(const ConvShape& s, const Run& run, const Window& at, int64_t column,
                             const Strided<T>& x, int64_t channel) {
  return x.at(run.n, channel, at.row / s.upsample, column / s.upsample);
}

// packed[c * tap_count + i][lane] = x(channel + c, pixel + taps[i])
template <int kPixels, class T, class S>
void gather_patches(const ConvShape& s, const Plan& plan, int tile, const Strided<const S>& x,
                    int64_t channel, int64_t channels, const int32_t* taps, int tap_count,
                    T* packed) {
  for (int r = plan.run_begin[tile]; r < plan.run_begin[tile + 1]; ++r) {
    const Run& run = plan.runs[r];
    for (int i = 0; i < tap_count; ++i) {
      const Window at = window(s, run, taps[i]);
      const int64_t inside = at.end - at.begin;
      const int64_t column = at.column + at.begin * s.stride_w;
      const int64_t step = tap_count * kPixels;
      T* to = packed + i * kPixels + run.lane;
      for (int64_t c = 0; c < channels && inside != run.length; ++c)
        zero(to + c * step, run.length);
      if (inside == 0) continue;
      to += at.begin;
      const S* from = first_read(s, run, at, column, x, channel);
      if (s.upsample == 1) {
        copy_rows(to, step, 1, from, x.c, s.stride_w * x.w, channels, inside);
        continue;
      }
      for (int64_t c = 0; c < channels; ++c) {
        copy_enlarged(to + c * step, from + c * x.c, x.w, s.upsample, column, s.stride_w, inside);
      }
    }
  }
  clear_unused_lanes<kPixels>(plan, tile, channels * tap_count, packed);
}

// gx(channel + c, pixel + taps[i]) += packed[c * tap_count + i][lane]
template <int kPixels, class T>
void scatter_add_patches(const ConvShape& s, const Plan& plan, int tile, const Strided<T>& gx,
                         int64_t channel, int64_t channels, const int32_t* taps, int tap_count,
                         const T* packed) {
  for (int r = plan.run_begin[tile]; r < plan.run_begin[tile + 1]; ++r) {
    const Run& run = plan.runs[r];
    for (int i = 0; i < tap_count; ++i) {
      const Window at = window(s, run, taps[i]);
      const int64_t inside = at.end - at.begin;
      if (inside == 0) continue;
      const int64_t column = at.column + at.begin * s.stride_w, step = tap_count * kPixels;
      T* to = first_read(s, run, at, column, gx, channel);
      const T* from = packed + i * kPixels + run.lane + at.begin;
      if (s.upsample == 1) {
        add_rows(to, gx.c, s.stride_w * gx.w, from, step, channels, inside);
        continue;
      }
      for (int64_t c = 0; c < channels; ++c) {
        add_enlarged(to + c * gx.c, gx.w, s.upsample, column, s.stride_w, from + c * step, inside);
      }
    }
  }
}

// The patches of a segment's tiles, one tile after the other.
template <int kPixels, class T, class S>
void gather_segment(const ConvShape& s, const Plan& plan, const Segment& segment,
                    const Strided<const S>& x, int64_t channel, int64_t channels, T* packed) {
  const int64_t step = channels * segment.tap_count * kPixels;
  for (int t = 0; t < segment.tiles; ++t) {
    gather_patches<kPixels>(s, plan, segment.first_tile + t, x, channel, channels, segment.taps,
                            segment.tap_count, packed + t * step);
  }
}

// Adds the gradients of some channels' patches of a whole band: packed[tile * tile_step + c *
// tap_count + i][lane], from the c-th on of the channels that are packed together.
template <int kPixels, class T>
void scatter_add_band(const ConvShape& s, const Plan& plan, const Strided<T>& gx, int64_t channel,
                      int64_t c, const T* packed, int64_t tile_step, int64_t channels = 1) {
  for (int i = 0; i < plan.segment_count; ++i) {
    const Segment& segment = plan.segments[i];
    for (int t = segment.first_tile; t < segment.first_tile + segment.tiles; ++t) {
      scatter_add_patches<kPixels>(s, plan, t, gx, channel, channels, segment.taps,
                                   segment.tap_count,
                                   packed + (t * tile_step + c * segment.tap_count) * kPixels);
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT
