// Pictures as the taps of a filter see them.
//
// A picture is laid out once for every column v of the filter, without what no output reads, its
// rows sorted by their phase under the vertical stride:
//
//   patches[c][v][phase][q][ow] = x[c, q stride_h + phase - padding_h,
//                                      ow stride_w + v dilation_w - padding_w]
//
// So what tap (u, v) reads for consecutive output rows oh is one run of memory, in the phase
// (u dilation_h) % stride_h from q = oh + (u dilation_h) / stride_h on. So are its weights.
#pragma once

#include "dynamic_conv.h"
#include "pack.h"
#include "parallel.h"

namespace adaconv::ADACONV_VARIANT::dynamic {

// The patches for q in [first, last).
struct Patches {
  const DynamicConvShape& s;
  int64_t first, last;

  // How far, in q, a tap's row is below that of the first.
  static int64_t below(const DynamicConvShape& s, int64_t u) {
    return u * s.dilation_h / s.stride_h;
  }
  static int64_t reach(const DynamicConvShape& s) { return below(s, s.kernel_h - 1); }

  int64_t run() const { return (last - first) * s.out_width; }
  int64_t values() const { return s.kernel_w * s.stride_h * run(); }  // of a channel

  // Where tap (u, v) of a channel reads for the first pixel of output row oh.
  int64_t at(int64_t c, int64_t u, int64_t v, int64_t oh) const {
    const int64_t phase = u * s.dilation_h % s.stride_h;
    return c * values() + (v * s.stride_h + phase) * run() +
           (oh + below(s, u) - first) * s.out_width;
  }

  template <class T, class S>
  void pack(const Strided<const S>& x, int64_t n, int64_t channel, int64_t channels,
            T* packed) const {
    for_each_row(
        channel, channels, [&](int64_t c, int64_t row, int64_t column, int64_t begin, int64_t end) {
          zero(packed, begin);
          if (begin < end) {
            copy(packed + begin, 1, x.at(n, c, row, column), s.stride_w * x.w, end - begin);
          }
          zero(packed + end, s.out_width - end);
          packed += s.out_width;
        });
  }

  // Adds to x what pack would have read there.
  template <class T>
  void unpack_add(const Strided<T>& x, int64_t n, int64_t channel, int64_t channels,
                  const T* packed) const {
    for_each_row(channel, channels,
                 [&](int64_t c, int64_t row, int64_t column, int64_t begin, int64_t end) {
                   if (begin < end) {
                     add(x.at(n, c, row, column), s.stride_w * x.w, packed + begin, end - begin);
                   }
                   packed += s.out_width;
                 });
  }

 private:
  // Calls visit(c, row, column, begin, end) for each row of the patches of some channels, in order:
  // its pixels [begin, end) lie on the picture, the first of them in (row, column).
  template <class Visit>
  ADACONV_INLINE void for_each_row(int64_t channel, int64_t channels, const Visit& visit) const {
    for (int64_t c = channel; c < channel + channels; ++c) {
      for (int64_t v = 0; v < s.kernel_w; ++v) {
        const int64_t left = v * s.dilation_w - s.padding_w;
        const int64_t begin = min(outputs_before(-left), s.out_width);
        const int64_t end = clamp(outputs_before(s.width - left), begin, s.out_width);
        for (int64_t phase = 0; phase < s.stride_h; ++phase) {
          for (int64_t q = first; q < last; ++q) {
            const int64_t row = q * s.stride_h + phase - s.padding_h;
            const bool inside = row >= 0 && row < s.height;
            visit(c, row, left + begin * s.stride_w, begin, inside ? end : begin);
          }
        }
      }
    }
  }

  int64_t outputs_before(int64_t column) const {
    return column <= 0 ? 0 : (column + s.stride_w - 1) / s.stride_w;
  }
};

// packed[c][pixel] = tensor(channel + c, pixel), for output rows [first, last).
template <class T, class S>
void pack_rows(const Strided<const S>& tensor, int64_t n, int64_t channel, int64_t channels,
               int64_t first, int64_t last, int64_t width, T* packed) {
  for (int64_t c = channel; c < channel + channels; ++c) {
    for (int64_t row = first; row < last; ++row, packed += width) {
      copy(packed, 1, tensor.at(n, c, row, 0), tensor.w, width);
    }
  }
}

template <class T, class S>
void unpack_rows(const Strided<S>& tensor, int64_t n, int64_t channel, int64_t channels,
                 int64_t first, int64_t last, int64_t width, const T* packed) {
  for (int64_t c = channel; c < channel + channels; ++c) {
    for (int64_t row = first; row < last; ++row, packed += width) {
      copy(tensor.at(n, c, row, 0), tensor.w, packed, 1, width);
    }
  }
}

// One tap's weights for some output rows, as a run of memory: their own, or a copy.
template <class T>
const T* run_of(const T* from, const StridedFilters<const T>& w, int64_t rows, int64_t width,
                T* scratch) {
  if (w.w == 1 && (w.h == width || rows == 1)) return from;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; ++i) scratch[row * width + i] = from[row * w.h + i * w.w];
  }
  return scratch;
}

}  // namespace adaconv::ADACONV_VARIANT::dynamic
