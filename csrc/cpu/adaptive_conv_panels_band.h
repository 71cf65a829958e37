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
struct Band : PackedBand<S, kPixels, 32> {
  using Base = PackedBand<S, kPixels, 32>;
  using Base::block_rows;
  using Base::call, Base::plan, Base::features, Base::slots;
  using Bits = SignBits<const uint8_t>;

  static constexpr int64_t kPanel = 2 * kTerms;

  int64_t outputs;     // of a group
  int64_t out_blocks;  // blocks of 32 outputs of a group
  Words* gy_pairs;     // [tile][group][block of outputs][term][column]: pairs of outputs
  Words* gy_slope;     // the same times the slope, null where that is 0
  Words* d_pairs;      // [tile][block of features][term][half]: pairs of pixels
  Words* P;            // [slot][weight in the block of channels], see pack_weights
  Words* q;            // [slot][weight in the block of channels][block of outputs][term]

  // Of one weight of all outputs.
  static int64_t q_words(const AdaptiveConvShape& s) { return blocks(s.group_out(), 32) * kPanel; }
  static int64_t P_words(const AdaptiveConvShape& s) { return blocks(s.features, 32) * q_words(s); }

  static size_t bytes(const AdaptiveConvShape& s, int64_t band_tiles) {
    const int64_t gy_words = (s.negative_slope != 0 ? 2 : 1) * s.groups * q_words(s);
    const int64_t d_words = blocks(s.features, 32) * kPanel;
    const Slots slots = Base::slots_of(s, band_tiles);
    const int64_t rows = slots.count * slots.rows(s);
    const int64_t words = band_tiles * (gy_words + d_words) + rows * (P_words(s) + q_words(s));
    return Base::bytes(s, band_tiles) + words * sizeof(Words) + 5 * kAlignment;
  }

  Band(const AdaptiveConvBackward<S>& call_, const Plan& plan_, const Slots& slots_, Arena arena)
      : Base(call_, plan_, slots_, arena),
        outputs(call.shape.group_out()),
        out_blocks(blocks(outputs, 32)) {
    const int64_t tiles = plan.tile_count, gy_words = pairs_at(tiles, 0);
    gy_pairs = arena.take<Words>(gy_words);
    gy_slope = call.shape.negative_slope == 0 ? nullptr : arena.take<Words>(gy_words);
    d_pairs = arena.take<Words>(tiles * features / 32 * kPanel);
    P = arena.take<Words>(slots.count * block_rows() * P_words(call.shape));
    q = arena.take<Words>(slots.count * block_rows() * q_words(call.shape));
  }

  float* gy_of(int64_t tile, int64_t group, int64_t o) const {
    return Base::gy_of(tile, group * outputs + o);
  }
  int64_t pairs_at(int64_t tile, int64_t group) const {
    return (tile * call.shape.groups + group) * out_blocks * kPanel;
  }

  void pack() const {
    const AdaptiveConvShape& s = call.shape;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      this->pack_tile(tile);
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
          const float* from = this->d_of(tile) + (k + i) * kPixels;
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
};

}  // namespace adaconv::ADACONV_VARIANT::panels

#endif
