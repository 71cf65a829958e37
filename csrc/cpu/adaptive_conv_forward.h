// Forward pass of adaptive convolution.
#pragma once

#include "adaptive_conv_micro.h"
#include "parallel.h"

namespace adaconv::ADACONV_VARIANT {

constexpr int64_t kBandPixels = 8192;
constexpr int64_t kChannelBlockRows = 72;  // weights of a pixel whose patches are gathered at once

// Whether a call has enough work to wake other threads for: some ten microseconds of
// multiplications.
inline bool worth_threads(const AdaptiveConvShape& s) {
  const double pixels = static_cast<double>(s.batch) * s.out_height * s.out_width;
  return pixels * s.out_channels * s.rows() * s.features > 1e6;
}

// Input channels whose patches are gathered together: those of `rows` weights, about.
inline int64_t channel_block(const AdaptiveConvShape& s, int64_t rows = kChannelBlockRows) {
  return clamp<int64_t>(rows / s.taps(), 1, s.group_in());
}

// Tasks that keep all threads busy, though they take turns with other processes.
inline int64_t enough_tasks() { return 4 * max_threads(); }

// Tiles of a segment, `most` at most: enough to reuse what is streamed past them, few enough that
// `tiles` of work make enough tasks.
inline int segment_tiles(int64_t tiles, int most) {
  return static_cast<int>(clamp<int64_t>(tiles / enough_tasks(), 1, most));
}

// Slices of a group's outputs that have tasks of their own. Each gathers the patches anew, so there
// are none that would not repay it, and no more than make enough tasks of `others`.
inline int64_t most_output_slices(const AdaptiveConvShape& s) {
  return s.group_out() / clamp<int64_t>(512 / s.features, 1, s.group_out());
}
inline int64_t output_slices(const AdaptiveConvShape& s, int64_t others) {
  return clamp<int64_t>((enough_tasks() + others - 1) / others, 1, most_output_slices(s));
}

struct Outputs {
  int64_t first, last;
};
inline Outputs slice_of_outputs(const AdaptiveConvShape& s, int64_t group, int64_t slice,
                                int64_t slices) {
  const int64_t first = group * s.group_out();
  return {first + s.group_out() * slice / slices, first + s.group_out() * (slice + 1) / slices};
}

// rows[i] = number of the i-th weight in use of channels [channel, channel + channels)
inline int list_rows(const AdaptiveConvShape& s, const Segment& segment, int64_t channel,
                     int64_t channels, int32_t* rows) {
  int count = 0;
  for (int64_t c = channel; c < channel + channels; ++c) {
    for (int i = 0; i < segment.tap_count; ++i) {
      rows[count++] = static_cast<int32_t>(c * s.taps() + segment.taps[i]);
    }
  }
  return count;
}

// Clears the sign bits of weights that are skipped, so that equal calls give equal bytes.
template <class T>
void clear_skipped_signs(const AdaptiveConvShape& s, const Segment& segment, uint8_t* signs) {
  if (segment.tap_count < s.taps()) {
    std::memset(signs, 0, s.rows() * kSignBytes<T>);
  }
}

template <class T>
struct ForwardTask {
  const AdaptiveConvForward<T>& call;
  const Plan& plan;
  const Segment& segment;
  uint8_t* signs;  // of the segment's first tile
  int64_t group;
  Outputs slice;

  struct Scratch {
    T *d, *x, *y;
    int32_t* rows;
  };

  static size_t scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t rows = channel_block(s) * s.taps();
    return (s.features + rows + s.group_out()) * kSegmentTiles * kTile<T> * sizeof(T) +
           rows * sizeof(int32_t) + 4 * kAlignment;
  }

  void run(Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    const auto [first_out, last_out] = slice;
    const int64_t outputs = last_out - first_out, first_tile = segment.first_tile;
    const int64_t d_tile = s.features * kTile<T>, y_tile = outputs * kTile<T>;
    const Scratch scratch{arena.take<T>(segment.tiles * d_tile),
                          arena.take<T>(segment.tiles * channel_block(s) * s.taps() * kTile<T>),
                          arena.take<T>(segment.tiles * y_tile),
                          arena.take<int32_t>(channel_block(s) * s.taps())};
    for (int tile = 0; tile < segment.tiles; ++tile) {
      gather<kTile<T>>(plan, first_tile + tile, call.d, 0, s.features, scratch.d + tile * d_tile);
      if (call.b.data != nullptr) {
        gather<kTile<T>>(plan, first_tile + tile, call.b, first_out, outputs,
                         scratch.y + tile * y_tile);
      } else {
        zero(scratch.y + tile * y_tile, y_tile);
      }
      for (int64_t o = first_out; o < last_out && signs != nullptr; ++o) {
        clear_skipped_signs<T>(s, segment, signs_of(tile, o));
      }
    }
    for (int64_t c = 0; c < s.group_in(); c += channel_block(s)) {
      channels(scratch, c, min(channel_block(s), s.group_in() - c));
    }
    for (int tile = 0; tile < segment.tiles; ++tile) {
      scatter<kTile<T>>(plan, first_tile + tile, call.y, first_out, outputs,
                        scratch.y + tile * y_tile);
    }
  }

  uint8_t* signs_of(int tile, int64_t o) const {
    return signs + (tile * call.shape.out_channels + o) * call.shape.rows() * kSignBytes<T>;
  }

  void channels(const Scratch& scratch, int64_t channel, int64_t count) const {
    const AdaptiveConvShape& s = call.shape;
    const int rows = list_rows(s, segment, channel, count, scratch.rows);
    if (rows == 0) return;
    const int blocks = (rows + kRowBlock - 1) / kRowBlock;
    gather_segment<kTile<T>>(s, plan, segment, call.x, group * s.group_in() + channel, count,
                             scratch.x);
    const auto [first_out, last_out] = slice;
    for (int64_t o = first_out; o < last_out; ++o) {
      const T* P = call.P + o * s.rows() * s.features;
      const T* q = call.q == nullptr ? nullptr : call.q + o * s.rows();
      for (int tile = 0; tile < segment.tiles; ++tile) {
        const T* d = scratch.d + tile * s.features * kTile<T>;
        T* y = scratch.y + (tile * (last_out - first_out) + o - first_out) * kTile<T>;
        uint8_t* bits = signs == nullptr ? nullptr : signs_of(tile, o);
        for (int block = 0; block < blocks; ++block) {
          const int begin = rows * block / blocks, end = rows * (block + 1) / blocks;
          regress_and_apply_of<T>(end - begin)(P, q, scratch.rows + begin, s.features, d,
                                               scratch.x + (tile * rows + begin) * kTile<T>,
                                               static_cast<T>(s.negative_slope), y, bits);
        }
      }
    }
  }
};

template <class T>
void forward(const AdaptiveConvForward<T>& call) {
  const AdaptiveConvShape& s = call.shape;
  const Bands bands = cut_into_bands(s, kBandPixels, kTile<T>);
  const Arenas arenas(ForwardTask<T>::scratch_bytes(s));
  const int64_t tile_bytes = s.out_channels * s.rows() * kSignBytes<T>;
  if (call.signs != nullptr) prefer_huge_pages(call.signs, bands.total_tiles * tile_bytes);
  const int tiles = segment_tiles(bands.tiles * s.groups * most_output_slices(s), kSegmentTiles);

  for (int64_t band = 0; band < bands.count; ++band) {
    const int64_t first = band * bands.band_rows;
    const Plan plan =
        make_plan(s, first, min(first + bands.band_rows, bands.rows), kTile<T>, tiles);
    const int64_t slices = output_slices(s, plan.segment_count * s.groups);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t task = 0; task < plan.segment_count * s.groups * slices; ++task) {
      const int64_t group = task / slices % s.groups;
      const Segment& segment = plan.segments[task / slices / s.groups];
      const int64_t tile = band * bands.tiles + segment.first_tile;
      const Outputs outputs = slice_of_outputs(s, group, task % slices, slices);
      uint8_t* signs = call.signs == nullptr ? nullptr : call.signs + tile * tile_bytes;
      ForwardTask<T>{call, plan, segment, signs, group, outputs}.run(arenas.mine());
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT
