#include "plan.h"

#include <algorithm>

namespace adaconv {

namespace {

// The taps, first to last, that read inside [0, size) from output position `at`, as a half-open
// range.
struct TapRange {
  int64_t first, last;
  bool operator==(const TapRange& other) const {
    return first == other.first && last == other.last;
  }
};

TapRange taps_inside(int64_t at, int64_t stride, int64_t padding, int64_t dilation, int64_t taps,
                     int64_t size) {
  const int64_t origin = at * stride - padding;
  int64_t first = 0, last = taps;
  while (first < last && origin + first * dilation < 0) ++first;
  while (last > first && origin + (last - 1) * dilation >= size) --last;
  return first == last ? TapRange{0, 0} : TapRange{first, last};
}

struct Span {
  int64_t begin, end;
  TapRange taps;
};

// Maximal ranges of positions that share their taps.
std::vector<Span> spans(int64_t positions, int64_t stride, int64_t padding, int64_t dilation,
                        int64_t taps, int64_t size) {
  std::vector<Span> result;
  for (int64_t at = 0; at < positions; ++at) {
    const TapRange here = taps_inside(at, stride, padding, dilation, taps, size);
    if (!result.empty() && result.back().taps == here) {
      result.back().end = at + 1;
    } else {
      result.push_back({at, at + 1, here});
    }
  }
  return result;
}

struct Storage {
  std::vector<Run> runs;
  std::vector<int32_t> run_begin, taps;
  std::vector<Segment> segments;
};

}  // namespace

Bands cut_into_bands(const ConvShape& shape, int64_t band_pixels, int64_t tile_pixels) {
  Bands bands;
  bands.rows = shape.batch * shape.out_height;
  bands.band_rows = std::max<int64_t>(1, band_pixels / shape.out_width);
  bands.band_rows = std::max<int64_t>(1, std::min(bands.band_rows, bands.rows));
  bands.count = (bands.rows + bands.band_rows - 1) / bands.band_rows;
  const auto tiles = [&](int64_t rows) {
    return (rows * shape.out_width + tile_pixels - 1) / tile_pixels;
  };
  bands.tiles = tiles(bands.band_rows);
  bands.total_tiles =
      bands.rows / bands.band_rows * bands.tiles + tiles(bands.rows % bands.band_rows);
  return bands;
}

Plan make_plan(const ConvShape& s, int64_t first_row, int64_t last_row, int tile_pixels,
               int segment_tiles) {
  const auto down =
      spans(s.out_height, s.stride_h, s.padding_h, s.dilation_h, s.kernel_h, s.height);
  const auto across =
      spans(s.out_width, s.stride_w, s.padding_w, s.dilation_w, s.kernel_w, s.width);

  auto storage = std::make_shared<Storage>();
  std::vector<std::vector<bool>> used;  // per tile: which taps
  int filled = tile_pixels;             // lanes of the last tile in use
  auto append = [&](int64_t n, int64_t oh, int64_t begin, int64_t end, const TapRange& rows,
                    const TapRange& columns) {
    while (begin < end) {
      if (filled == tile_pixels) {
        storage->run_begin.push_back(static_cast<int32_t>(storage->runs.size()));
        used.emplace_back(s.taps(), false);
        filled = 0;
      }
      const int32_t length =
          static_cast<int32_t>(std::min<int64_t>(end - begin, tile_pixels - filled));
      storage->runs.push_back({filled, length, n, oh, begin});
      for (int64_t u = rows.first; u < rows.last; ++u) {
        for (int64_t v = columns.first; v < columns.last; ++v) {
          used.back()[u * s.kernel_w + v] = true;
        }
      }
      begin += length;
      filled += length;
    }
  };

  for (const Span& vertical : down) {
    for (const Span& horizontal : across) {
      for (int64_t n = first_row / s.out_height; n * s.out_height < last_row; ++n) {
        const int64_t top = std::max(vertical.begin, first_row - n * s.out_height);
        const int64_t bottom = std::min(vertical.end, last_row - n * s.out_height);
        for (int64_t oh = top; oh < bottom; ++oh) {
          append(n, oh, horizontal.begin, horizontal.end, vertical.taps, horizontal.taps);
        }
      }
    }
  }
  const int tile_count = static_cast<int>(used.size());
  storage->run_begin.push_back(static_cast<int32_t>(storage->runs.size()));

  std::vector<size_t> tap_begin;
  for (int tile = 0; tile < tile_count; ++tile) {
    if (tile > 0 && used[tile] == used[tile - 1] &&
        storage->segments.back().tiles < segment_tiles) {
      ++storage->segments.back().tiles;
      continue;
    }
    tap_begin.push_back(storage->taps.size());
    for (int64_t tap = 0; tap < s.taps(); ++tap) {
      if (used[tile][tap]) storage->taps.push_back(static_cast<int32_t>(tap));
    }
    const int count = static_cast<int>(storage->taps.size() - tap_begin.back());
    storage->segments.push_back({tile, 1, nullptr, count});
  }
  for (size_t i = 0; i < tap_begin.size(); ++i) {
    storage->segments[i].taps = storage->taps.data() + tap_begin[i];
  }

  return Plan{tile_count,
              static_cast<int>(storage->segments.size()),
              storage->runs.data(),
              storage->run_begin.data(),
              storage->segments.data(),
              storage};
}

}  // namespace adaconv
