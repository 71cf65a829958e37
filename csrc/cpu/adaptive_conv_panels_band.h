// What the two backward passes by panels of bf16 pairs share: one band, packed.
#pragma once

#include "adaptive_conv_backward.h"
#include "adaptive_conv_panels_forward.h"

#if ADACONV_PANELS

namespace adaconv::ADACONV_VARIANT::panels {

// The bits of one of the two outputs of a word of signs.
ADACONV_INLINE uint32_t bits_of(uint32_t pairs, int output) {
  return _pext_u32(pairs, output == 0 ? 0x55555555 : 0xaaaaaaaa);
}

ADACONV_INLINE uint32_t load_word(const uint8_t* from) {
  uint32_t word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

// What the passes over one band share.
template <class S, int kTerms>
struct Band {
  static constexpr int64_t kPanel = 2 * kTerms;

  const AdaptiveConvBackward<S>& call;
  const Plan& plan;

  int64_t outputs;     // of a group
  int64_t features;    // rounded up to whole blocks of 32
  int64_t out_blocks;  // blocks of 32 outputs of a group
  float *gy, *d, *gd;  // [tile][output or feature][pixel]
  Words* gy_pairs;     // [tile][group][block of outputs][term][column]: pairs of outputs
  Words* gy_slope;     // the same times the slope, null where that is 0
  Words* d_pairs;      // [tile][block of features][term][half]: pairs of pixels
  float* gx;           // [tile][weight in the block of channels][pixel]

  static int64_t block_rows(const AdaptiveConvShape& s) { return channel_block(s) * s.taps(); }

  static size_t bytes(const AdaptiveConvShape& s, int64_t tiles) {
    const int64_t features = round_up(s.features, 32);
    const int64_t gy_words = s.groups * blocks(s.group_out(), 32) * kPanel;
    const int64_t d_words = features / 32 * kPanel;
    return tiles * ((s.out_channels + 2 * features + block_rows(s)) * kPixels * sizeof(float) +
                    ((s.negative_slope != 0 ? 2 : 1) * gy_words + d_words) * sizeof(Words)) +
           8 * kAlignment;
  }

  using Bits = SignBits<const uint8_t>;

  Band(const AdaptiveConvBackward<S>& call_, const Plan& plan_, Arena arena)
      : call(call_), plan(plan_) {
    const AdaptiveConvShape& s = call.shape;
    const int64_t tiles = plan.tile_count, pixels = tiles * kPixels;
    outputs = s.group_out();
    features = round_up(s.features, 32);
    out_blocks = blocks(outputs, 32);
    gy = arena.take<float>(pixels * s.out_channels);
    d = arena.take<float>(pixels * features);
    gd = arena.take<float>(pixels * features);
    gy_pairs = arena.take<Words>(tiles * s.groups * out_blocks * kPanel);
    gy_slope =
        s.negative_slope == 0 ? nullptr : arena.take<Words>(tiles * s.groups * out_blocks * kPanel);
    d_pairs = arena.take<Words>(tiles * features / 32 * kPanel);
    gx = arena.take<float>(pixels * block_rows(s));
  }

  const float* gy_of(int64_t tile, int64_t group, int64_t o) const {
    return gy + (tile * call.shape.out_channels + group * outputs + o) * kPixels;
  }
  int64_t pairs_at(int64_t tile, int64_t group) const {
    return (tile * call.shape.groups + group) * out_blocks * kPanel;
  }

  void pack() const {
    const AdaptiveConvShape& s = call.shape;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      float* d_tile = d + tile * features * kPixels;
      gather<kPixels>(plan, tile, call.gy, 0, s.out_channels, gy + tile * s.out_channels * kPixels);
      gather<kPixels>(plan, tile, call.d, 0, s.features, d_tile);
      zero(d_tile + s.features * kPixels, (features - s.features) * kPixels);
      zero(gd + tile * features * kPixels, features * kPixels);
      for (int64_t group = 0; group < s.groups; ++group) {
        pack_gradient(tile, group, 1, gy_pairs + pairs_at(tile, group));
        if (gy_slope != nullptr) {
          pack_gradient(tile, group, static_cast<float>(s.negative_slope),
                        gy_slope + pairs_at(tile, group));
        }
      }
      Words* to = d_pairs + tile * features / 32 * kPanel;
      for (int64_t k = 0; k < features; k += 32, to += kPanel) {
        for (int i = 0; i < 32; ++i) {
          const float* from = d_tile + (k + i) * kPixels;
          split<kTerms>(load(from), load(from + 16), to + i / 16, i % 16);
        }
        for (int i = 0; i < kPanel; ++i) transpose(to[i]);
      }
    }
  }

  void pack_gradient(int64_t tile, int64_t group, float factor, Words* to) const {
    const auto of = [&](int64_t o, int column) {
      return o < outputs ? load(gy_of(tile, group, o) + column * 16) * broadcast(factor)
                         : V<float>{};
    };
    for (int64_t first = 0; first < outputs; first += 32, to += kPanel) {
      for (int i = 0; i < 16; ++i) {
        const int64_t o = first + 2 * i;
    ADACONV_UNROLL for (int j = 0; j < 2; ++j) split<kTerms>(of(o, j), of(o + 1, j), to + j, i);
      }
    }
  }

  void unpack() const {
    const AdaptiveConvShape& s = call.shape;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      scatter<kPixels>(plan, tile, call.gd, 0, s.features, gd + tile * features * kPixels);
    }
  }
};

}  // namespace adaconv::ADACONV_VARIANT::panels

#endif
