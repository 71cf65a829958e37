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

// Input channels whose patches are gathered together.
inline int64_t channel_block(const AdaptiveConvShape& s) {
  return clamp<int64_t>(kChannelBlockRows / s.taps(), 1, s.group_in());
}

// Output channels of a task: as many as repay gathering the patches anew.
inline int64_t output_slice(const AdaptiveConvShape& s) {
  return clamp<int64_t>(4096 / s.features, 1, s.group_out());
}

// Tiles of a segment: enough to reuse what is streamed past them, few enough to keep all threads
// busy.
inline int segment_tiles(const Bands& bands) {
  return static_cast<int>(clamp<int64_t>(bands.tiles / (4 * max_threads()), 1, kSegmentTiles));
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
  int64_t group, first_out, last_out;

  struct Scratch {
    T *d, *x, *y;
    int32_t* rows;
  };

  static size_t scratch_bytes(const AdaptiveConvShape& s, int64_t outputs) {
    const int64_t rows = channel_block(s) * s.taps();
    return (s.features + rows + outputs) * kSegmentTiles * kTile<T> * sizeof(T) +
           rows * sizeof(int32_t) + 4 * kAlignment;
  }

  void run(Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
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
  const int64_t outputs = output_slice(s);
  const int64_t parts = (s.group_out() + outputs - 1) / outputs;
  const Arenas arenas(ForwardTask<T>::scratch_bytes(s, outputs));
  const int64_t tile_bytes = s.out_channels * s.rows() * kSignBytes<T>;
  if (call.signs != nullptr) prefer_huge_pages(call.signs, bands.total_tiles * tile_bytes);

  for (int64_t band = 0; band < bands.count; ++band) {
    const int64_t first = band * bands.band_rows;
    const Plan plan = make_plan(s, first, min(first + bands.band_rows, bands.rows), kTile<T>,
                                segment_tiles(bands));
    const int64_t tasks = plan.segment_count * s.groups * parts;
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t task = 0; task < tasks; ++task) {
      const int64_t part = task % parts, group = task / parts % s.groups;
      const Segment& segment = plan.segments[task / parts / s.groups];
      const int64_t tile = band * bands.tiles + segment.first_tile;
      const int64_t first_out = group * s.group_out() + part * outputs;
      const int64_t last_out = min(first_out + outputs, (group + 1) * s.group_out());
      uint8_t* signs = call.signs == nullptr ? nullptr : call.signs + tile * tile_bytes;
      ForwardTask<T>{call, plan, segment, signs, group, first_out, last_out}.run(arenas.mine());
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT
