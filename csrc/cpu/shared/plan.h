// The order in which output pixels are worked on.
//
// A *band* is a range of whole output rows (the rows of all images laid end to end). Inside a band,
// pixels are sorted by the set of taps that fall on the picture and not on its zero padding, then
// cut into *tiles* of as many pixels as the kernels hold in registers, and runs of tiles with the
// same taps into *segments*. Taps that fall on padding for every pixel of a segment are never
// computed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "conv_shape.h"

namespace adaconv {

// Neighbouring pixels of one output row, in consecutive lanes of a tile.
struct Run {
  int32_t lane, length;
  int64_t n, oh, ow;
};

struct Segment {
  int first_tile, tiles;
  const int32_t* taps;  // those in use, ascending
  int tap_count;
};

// Plain arrays, since the variants' sources may instantiate no code that they share with each
// other.
struct Plan {
  int tile_count, segment_count;
  const Run* runs;
  const int32_t* run_begin;  // tile_count + 1
  const Segment* segments;
  std::shared_ptr<const void> storage;
};

struct Bands {
  int64_t rows;       // output rows of all images
  int64_t band_rows;  // rows of a band; the last may have fewer
  int64_t count;
  int64_t tiles;  // tiles of a full band
  int64_t total_tiles;
};

Bands cut_into_bands(const ConvShape& shape, int64_t band_pixels, int64_t tile_pixels);

Plan make_plan(const ConvShape& shape, int64_t first_row, int64_t last_row, int tile_pixels,
               int segment_tiles);

}  // namespace adaconv
