// Forward pass of adaptive convolution by panels of bf16 pairs (panels.h).
//
// Weights are regressed for 16 (channel, tap) rows of two outputs and the 32 pixels of a tile at a
// time, and used while they are in the first cache.
#pragma once

#include "adaptive_conv_signs.h"
#include "panels.h"

#if ADACONV_PANELS

namespace adaconv::ADACONV_VARIANT::panels {

constexpr int kPixels = 32;          // of a tile: two columns of 16
constexpr int kSegmentTiles = 16;    // tiles that share what is packed for them, at most
constexpr int64_t kBlockRows = 144;  // weights of a pixel whose patches are gathered at once
constexpr int64_t kSignBytes = 8;    // of one weight of two outputs for the pixels of a tile

constexpr int64_t blocks(int64_t count, int64_t size) { return (count + size - 1) / size; }

inline int64_t channel_block(const AdaptiveConvShape& s) {
  return adaconv::ADACONV_VARIANT::channel_block(s, kBlockRows);
}

// Bits of the weights of a part for the tiles of a band: [tile][group][pair of outputs][weight]
// [column], a word for each column in which the bits of the two outputs alternate.
template <class Byte>
struct SignBits {
  Byte* first;
  int64_t first_group, groups, pairs, first_row, rows;

  SignBits(const AdaptiveConvShape& s, const Part& part, Byte* first_)
      : first(first_),
        first_group(part.first_group),
        groups(part.groups),
        pairs(blocks(s.group_out(), 2)),
        first_row(part.channel * s.taps()),
        rows(part.rows(s)) {}

  int64_t pair_step() const { return rows * kSignBytes; }
  int64_t tile_step() const { return groups * pairs * rows * kSignBytes; }
  Byte* at(int64_t tile, int64_t group, int64_t pair, int64_t row) const {
    const int64_t outputs = (tile * groups + group - first_group) * pairs + pair;
    return first + (outputs * rows + row - first_row) * kSignBytes;
  }
};

// The bits of both outputs, alternating.
ADACONV_INLINE uint32_t positive_pairs(V<float> a, V<float> b) {
  const __m512i tops =
      _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(__builtin_bit_cast(__m512i, a), 16),
                              __builtin_bit_cast(__m512i, b));
  return _mm512_cmpgt_epi16_mask(tops, _mm512_setzero_si512());
}

ADACONV_INLINE V<float> activate(V<float> w, V<float> slope, bool leaky) {
  return leaky ? (w > V<float>{} ? w : w * slope) : relu<float>(w);
}

// y[i][p] += sum_r act(w[i][r][p]) x[r][p], and the sign bits.
template <bool kSave>
void apply(const Result& w, int rows, const int32_t* row, const float* x, float slope, float* y,
           uint8_t* signs, int64_t first_row) {
  const V<float> slopes = broadcast<float>(slope);
  const bool leaky = slope != 0;
  V<float> total[2][2];
  ADACONV_UNROLL for (int i = 0; i < 4; ++i) total[i / 2][i % 2] = load(y + i * 16);
  _Pragma("GCC unroll 4") for (int r = 0; r < rows; ++r, x += kPixels) {
    ADACONV_UNROLL for (int j = 0; j < 2; ++j) {
      const V<float> a = load(w.of[0][j][r]), b = load(w.of[1][j][r]), xj = load(x + j * 16);
      if (kSave) {
        const uint32_t bits = positive_pairs(a, b);
        std::memcpy(signs + (row[r] - first_row) * kSignBytes + j * 4, &bits, sizeof(bits));
      }
      total[0][j] += activate(a, slopes, leaky) * xj;
      total[1][j] += activate(b, slopes, leaky) * xj;
    }
  }
  ADACONV_UNROLL for (int i = 0; i < 4; ++i) store(y + i * 16, total[i / 2][i % 2]);
}

// Without y it only writes sign bits.
template <class S, int kTerms>
struct ForwardTask {
  const AdaptiveConvForward<S>& call;
  const Plan& plan;
  const Segment& segment;
  SignBits<uint8_t> signs;
  Part part;
  int64_t group, first_out, last_out;  // outputs are counted within the group

  struct Scratch {
    Words *d, *P;
    float *features, *x, *y;
    int32_t* rows;
    Start* start;
    Result* w;  // two
  };

  static constexpr int64_t kPanel = 2 * kTerms;  // Words of 32 features of two columns

  static size_t scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t rows = channel_block(s) * s.taps(), panels = blocks(s.features, 32) * kPanel;
    return (kSegmentTiles + 1) * panels * sizeof(Words) +
           (kSegmentTiles * (rows + s.group_out() + 1) + 32) * kPixels * sizeof(float) +
           rows * sizeof(int32_t) + sizeof(Start) + 2 * sizeof(Result) + 8 * kAlignment;
  }

  int64_t panels() const { return blocks(call.shape.features, 32); }
  int64_t pairs() const { return blocks(last_out - first_out, 2); }

  void run(Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t d_tile = panels() * kPanel, y_tile = pairs() * 2 * kPixels;
    const int64_t first = group * s.group_out() + first_out, outputs = last_out - first_out;
    const Scratch scratch{arena.take<Words>(segment.tiles * d_tile),
                          arena.take<Words>(d_tile),
                          arena.take<float>(32 * kPixels),
                          arena.take<float>(segment.tiles * channel_block(s) * s.taps() * kPixels),
                          arena.take<float>(segment.tiles * y_tile),
                          arena.take<int32_t>(channel_block(s) * s.taps()),
                          arena.take<Start>(1),
                          arena.take<Result>(2)};
    for (int tile = 0; tile < segment.tiles; ++tile) {
      float* y = scratch.y + tile * y_tile;
      pack_features(tile, scratch.features, scratch.d + tile * d_tile);
      zero(y, y_tile);
      if (call.b.data != nullptr) {
        gather<kPixels>(plan, segment.first_tile + tile, call.b, first, outputs, y);
      }
      if (signs.first != nullptr && segment.tap_count < s.taps()) {
        std::memset(signs_of(tile, 0), 0, pairs() * signs.pair_step());
      }
    }
    const TileScope scope;
    const int64_t end = part.channel + part.channels;
    for (int64_t c = part.channel; c < end; c += channel_block(s)) {
      channels(scratch, c, min(channel_block(s), end - c));
    }
    for (int tile = 0; tile < segment.tiles && call.y.data != nullptr; ++tile) {
      scatter<kPixels>(plan, segment.first_tile + tile, call.y, first, outputs,
                       scratch.y + tile * y_tile);
    }
  }

  uint8_t* signs_of(int tile, int64_t pair) const {
    return signs.at(segment.first_tile + tile, group, first_out / 2 + pair, signs.first_row);
  }

  // Pairs of features (k, k + 16) of each block of 32, for each column.
  void pack_features(int tile, float* rows, Words* to) const {
    for (int64_t k = 0; k < call.shape.features; k += 32, to += kPanel) {
      const int64_t count = min<int64_t>(call.shape.features - k, 32);
      gather<kPixels>(plan, segment.first_tile + tile, call.d, k, count, rows);
      zero(rows + count * kPixels, (32 - count) * kPixels);
      for (int i = 0; i < 16; ++i) {
        ADACONV_UNROLL for (int j = 0; j < 2; ++j) {
          split<kTerms>(load(rows + i * kPixels + j * 16), load(rows + (16 + i) * kPixels + j * 16),
                        to + j, i);
        }
      }
    }
  }

  // P and q of some rows of two outputs.
  void pack_weights(int64_t out, const int32_t* rows, int count, const Scratch& scratch) const {
    const AdaptiveConvShape& s = call.shape;
    for (int i = 0; i < 2; ++i) {
      const bool there = out + i < last_out;
      const int64_t first_row = (group * s.group_out() + (there ? out + i : out)) * s.rows();
      for (int r = 0; r < count; ++r) {
        const S* from = call.P + (first_row + rows[r]) * s.features;
        Words* to = scratch.P + i;
        for (int64_t k = 0; k < s.features; k += 32, to += kPanel) {
          split<kTerms>(load_some(from + k, s.features - k),
                        load_some(from + k + 16, s.features - k - 16), to, r);
        }
        store(scratch.start->of[i][r],
              broadcast<float>(call.q == nullptr ? 0.f : call.q[first_row + rows[r]]));
      }
    }
  }

  void channels(const Scratch& scratch, int64_t channel, int64_t count) const {
    const AdaptiveConvShape& s = call.shape;
    const int rows = list_rows(s, segment, channel, count, scratch.rows);
    const float slope = static_cast<float>(s.negative_slope);
    gather_segment<kPixels>(s, plan, segment, call.x, group * s.group_in() + channel, count,
                            scratch.x);
    for (int64_t pair = 0; pair < pairs(); ++pair) {
      for (int begin = 0; begin < rows; begin += 16) {
        const int32_t* row = scratch.rows + begin;
        const int block = min(rows - begin, 16);
        pack_weights(first_out + 2 * pair, row, block, scratch);
        const auto regress = [&](int64_t tile) {
          multiply<kTerms>(scratch.P, kPanel, scratch.d + tile * panels() * kPanel, kPanel,
                           panels(), scratch.start, scratch.w[tile % 2]);
        };
        const auto use = [&](int64_t tile) {
          const Result& w = scratch.w[tile % 2];
          const float* x = scratch.x + (tile * rows + begin) * kPixels;
          float* y = scratch.y + (tile * pairs() + pair) * 2 * kPixels;
          if (signs.first == nullptr) {
            apply<false>(w, block, row, x, slope, y, nullptr, 0);
          } else {
            apply<true>(w, block, row, x, slope, y, signs_of(static_cast<int>(tile), pair),
                        signs.first_row);
          }
        };
        one_ahead(segment.tiles, regress, use);
      }
    }
  }
};

// Runs the forward pass of a part over a band.
template <class S, int kTerms>
void forward_band(const AdaptiveConvForward<S>& call, const Plan& plan, const Part& part,
                  const SignBits<uint8_t>& signs, const Arenas& arenas) {
  const AdaptiveConvShape& s = call.shape;
  const int64_t slices = min(output_slices(s, plan.segment_count * part.groups), signs.pairs);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
  for (int64_t task = 0; task < plan.segment_count * part.groups * slices; ++task) {
    const int64_t slice = task % slices, group = part.first_group + task / slices % part.groups;
    const Segment& segment = plan.segments[task / slices / part.groups];
    const int64_t first_pair = signs.pairs * slice / slices;
    const int64_t last_pair = signs.pairs * (slice + 1) / slices;
    ForwardTask<S, kTerms>{call, plan, segment, signs, part, group, 2 * first_pair,
                           min(2 * last_pair, s.group_out())}
        .run(arenas.mine());
  }
}

template <class S, int kTerms>
void forward(const AdaptiveConvForward<S>& call) {
  const AdaptiveConvShape& s = call.shape;
  const Bands bands = cut_into_bands(s, kBandPixels, kPixels);
  const Arenas arenas(ForwardTask<S, kTerms>::scratch_bytes(s));
  const Part all = Part::whole(s);
  SignBits<uint8_t> signs(s, all, call.signs);
  if (call.signs != nullptr) prefer_huge_pages(call.signs, bands.total_tiles * signs.tile_step());
  const int tiles = segment_tiles(bands.tiles * s.groups * most_output_slices(s), kSegmentTiles);
  for (int64_t band = 0; band < bands.count; ++band) {
    const int64_t first = band * bands.band_rows;
    const Plan plan = make_plan(s, first, min(first + bands.band_rows, bands.rows), kPixels, tiles);
    forward_band<S, kTerms>(call, plan, all, signs, arenas);
    if (call.signs != nullptr) signs.first += bands.tiles * signs.tile_step();
  }
}

}  // namespace adaconv::ADACONV_VARIANT::panels

#endif
