// The gradients of P and q by panels of bf16 pairs.
#pragma once

#include "adaptive_conv_panels_band.h"

#if ADACONV_PANELS

namespace adaconv::ADACONV_VARIANT::panels {

template <class S, int kTerms>
struct WeightGradients : Band<S, kTerms> {
  using Base = Band<S, kTerms>;
  using Base::call, Base::plan, Base::features, Base::outputs, Base::out_blocks;
  using Base::d_pairs, Base::gy_slope;
  using Base::gy_of, Base::pairs_at, Base::kPanel;
  using typename Base::Bits;

  static size_t weight_scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t rows = channel_block(s) * s.taps();
    return kSegmentTiles * (rows * kPixels * sizeof(float) + kPanel * sizeof(Words)) +
           rows * sizeof(int32_t) + 2 * sizeof(Result) + 4 * kAlignment;
  }

  // g[tile][term][output]: m gy x of one weight of two outputs, as row r of each panel; adds the
  // sums to gq.
  template <bool kLeaky>
  void weight_gradient_factors(const Bits& signs, const Segment& segment, int64_t group,
                               int64_t pair, int64_t row, const float* x, int64_t x_step, int r,
                               Words* g) const {
    const AdaptiveConvShape& s = call.shape;
    const V<float> slopes = broadcast(static_cast<float>(s.negative_slope));
    const bool both = 2 * pair + 1 < outputs;
    const int64_t bits_step = signs.tile_step(), gy_step = s.out_channels * kPixels;
    const uint8_t* bits = signs.at(segment.first_tile, group, pair, row);
    const float* gy_rows[2] = {gy_of(segment.first_tile, group, 2 * pair),
                               gy_of(segment.first_tile, group, 2 * pair + both)};
    V<float> total[2][2] = {};
    for (int t = 0; t < segment.tiles; ++t) {
      const uint32_t words[2] = {load_word(bits), load_word(bits + 4)};
    ADACONV_UNROLL for (int i = 0; i < 2; ++i) {
        V<float> v[2];
        ADACONV_UNROLL for (int j = 0; j < 2; ++j) {
          const V<float> product = load(gy_rows[i] + j * 16) * load(x + j * 16);
          v[j] = select(bits_of(words[j], i), product, kLeaky ? product * slopes : V<float>{});
          total[i][j] += v[j];
        }
        split<kTerms>(v[0], v[1], g + i, r);
        gy_rows[i] += gy_step;
      }
      x += x_step, g += kPanel, bits += bits_step;
    }
    if (call.gq == nullptr) return;
    const int64_t at = (group * outputs + 2 * pair) * s.rows() + row;
    call.gq[at] += sum<float>(total[0][0] + total[0][1]);
    if (both) call.gq[at + s.rows()] += sum<float>(total[1][0] + total[1][1]);
  }

  void add_weight_gradients(const Result& G, int64_t group, int64_t pair, const int32_t* rows,
                            int count, int64_t k) const {
    const AdaptiveConvShape& s = call.shape;
    for (int i = 0; i < 2 && 2 * pair + i < outputs; ++i) {
      float* gP = call.gP + (group * outputs + 2 * pair + i) * s.rows() * s.features;
      for (int r = 0; r < count; ++r) {
        for (int half = 0; half < 2; ++half) {
          const int64_t at = k + half * 16;
          float* to = gP + rows[r] * s.features + at;
          const V<float> more = load(G.of[i][half][r]);
          if (at + 16 <= s.features) {
            store(to, load(to) + more);
          } else {
            for (int64_t lane = 0; lane < s.features - at; ++lane) to[lane] += more[lane];
          }
        }
      }
    }
  }

  // Adds one segment's part of gP and gq, for some pairs of outputs and some channels of one group.
  void differentiate_weights(const Bits& signs, const Segment& segment, const Block& channels,
                             int64_t first_pair, int64_t last_pair, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t group = channels.group;
    int32_t* rows = arena.take<int32_t>(channels.channels * s.taps());
    const int count = list_rows(s, segment, channels.channel, channels.channels, rows);
    if (count == 0) return;
    float* x = arena.take<float>(segment.tiles * count * kPixels);
    Words* g = arena.take<Words>(segment.tiles * kPanel);
    Result* G = arena.take<Result>(2);
    gather_segment<kPixels>(s, plan, segment, call.x, group * s.group_in() + channels.channel,
                            channels.channels, x);
    const int64_t d_step = features / 32 * kPanel;
    const TileScope scope;
    for (int64_t pair = first_pair; pair < last_pair; ++pair) {
      for (int begin = 0; begin < count; begin += 16) {
        const int block = min(count - begin, 16);
        for (int r = 0; r < block; ++r) {
          const auto factors = gy_slope == nullptr ? &WeightGradients::weight_gradient_factors<false>
                                                   : &WeightGradients::weight_gradient_factors<true>;
          (this->*factors)(signs, segment, group, pair, rows[begin + r], x + (begin + r) * kPixels,
                           count * kPixels, r, g);
        }
        const auto differentiate = [&](int64_t k) {
          multiply<kTerms>(g, kPanel, d_pairs + segment.first_tile * d_step + k * kPanel, d_step,
                           segment.tiles, nullptr, G[k % 2]);
        };
        const auto use = [&](int64_t k) {
          add_weight_gradients(G[k % 2], group, pair, rows + begin, block, k * 32);
        };
        one_ahead(features / 32, differentiate, use);
      }
    }
  }

  void weights(const Bits& signs, const Part& part, const Arenas& arenas) const {
    const AdaptiveConvShape& s = call.shape;
    constexpr int64_t kCacheBytes = 640 * 1024;
    const int64_t row_bytes = 2 * channel_block(s) * s.taps() * s.features * sizeof(float);
    const int64_t pairs = clamp<int64_t>(kCacheBytes / row_bytes, 1, signs.pairs);
    const int64_t slices = blocks(signs.pairs, pairs);
    const Blocks channels{part, channel_block(s)};
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t task = 0; task < channels.count() * slices; ++task) {
      const Block block = channels[task / slices];
      const int64_t slice = task % slices;
      for (int i = 0; i < plan.segment_count; ++i) {
        differentiate_weights(signs, plan.segments[i], block, slice * pairs,
                              min((slice + 1) * pairs, signs.pairs), arenas.mine());
      }
    }
  }
};

}  // namespace adaconv::ADACONV_VARIANT::panels

#endif
