// The gradients of x and d by panels of bf16 pairs.
#pragma once

#include "adaptive_conv_panels_band.h"

#if ADACONV_PANELS

namespace adaconv::ADACONV_VARIANT::panels {

// For one weight and a block of 32 features k, given R[k][p]:
//   gd[k][p] += x[p] R[k][p],  gx[p] += sum_k R[k][p] d[k][p]
inline void apply_gradients(const Result& R, const float* x, const float* d, float* gd, float* gx) {
  const V<float> x0 = load(x), x1 = load(x + 16);
  V<float> total[2][2] = {};
  ADACONV_UNROLL for (int i = 0; i < 2; ++i) {
    _Pragma("GCC unroll 4") for (int r = 0; r < 16; ++r, d += kPixels, gd += kPixels) {
      const V<float> r0 = load(R.of[i][0][r]), r1 = load(R.of[i][1][r]);
      store(gd, load(gd) + x0 * r0);
      store(gd + 16, load(gd + 16) + x1 * r1);
      total[i][0] += r0 * load(d);
      total[i][1] += r1 * load(d + 16);
    }
  }
  store(gx, load(gx) + (total[0][0] + total[1][0]));
  store(gx + 16, load(gx + 16) + (total[0][1] + total[1][1]));
}

template <class S, int kTerms>
struct InputGradients : Band<S, kTerms> {
  using Base = Band<S, kTerms>;
  using typename Base::Bits;
  using Base::call, Base::plan, Base::features, Base::outputs, Base::out_blocks;
  using Base::block_rows, Base::d_of, Base::gd_of, Base::gx_of, Base::pairs_at;
  using Base::gy_pairs, Base::gy_slope, Base::kPanel, Base::P, Base::q, Base::P_words, Base::q_words;

  static constexpr int kMasked = 4;  // weights whose gradients are masked before they are used

  static size_t input_scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t rows = channel_block(s) * s.taps();
    return rows * (kSegmentTiles * kPixels * sizeof(float) + sizeof(int32_t)) +
           kMasked * Band<S, kTerms>::q_words(s) * sizeof(Words) + 2 * sizeof(Result) +
           4 * kAlignment;
  }

  int64_t at(int64_t slot, int64_t row) const { return slot * block_rows() + row; }

  void pack(const Block& block, int64_t slot, int64_t row) const {
    const int64_t of_group = block.channel * call.shape.taps() + row;
    pack_weights(block.group, of_group, P + at(slot, row) * P_words(call.shape));
    pack_bias(block.group, of_group, q + at(slot, row) * q_words(call.shape));
  }

  // P of one weight: [block of features][block of outputs][term][half of the features].
  void pack_weights(int64_t group, int64_t row, Words* to) const {
    const AdaptiveConvShape& s = call.shape;
    const S* P = call.P + (group * s.group_out() * s.rows() + row) * s.features;
    const int64_t step = s.rows() * s.features;
    const auto of = [&](int64_t o, int64_t k) {
      return o < s.group_out() ? load_some(P + o * step + k, s.features - k) : V<float>{};
    };
    for (int64_t k = 0; k < features; k += 32) {
      for (int64_t first = 0; first < s.group_out(); first += 32, to += kPanel) {
        for (int i = 0; i < 16; ++i) {
          const int64_t o = first + 2 * i;
          split<kTerms>(of(o, k), of(o + 1, k), to, i);
          split<kTerms>(of(o, k + 16), of(o + 1, k + 16), to + 1, i);
        }
        for (int i = 0; i < kPanel; ++i) transpose(to[i]);
      }
    }
  }

  // q of one weight: [block of outputs][term] pairs of outputs.
  void pack_bias(int64_t group, int64_t row, Words* to) const {
    const AdaptiveConvShape& s = call.shape;
    const auto of = [&](int64_t o) {
      const bool there = call.q != nullptr && o < s.group_out();
      return broadcast(there ? call.q[(group * s.group_out() + o) * s.rows() + row] : 0.f);
    };
    for (int64_t pair = 0; pair < out_blocks * 16; ++pair) {
      split<kTerms>(of(2 * pair), of(2 * pair + 1), to + pair / 16 * kPanel, pair % 16);
    }
  }

  // The gradient that reaches one weight of every output, before the weight's activation; and
  // gx[p] = sum_o of it times q[o].
  template <bool kLeaky>
  void mask(const Bits& signs, int64_t tile, int64_t group, int64_t row, const Words* q, Words* to,
            float* gx_row) const {
    const uint8_t* bits = signs.at(tile, group, 0, row);
    const int64_t step = signs.pair_step();
    const Words* from = gy_pairs + pairs_at(tile, group);
    const Words* slope = kLeaky ? gy_slope + pairs_at(tile, group) : nullptr;
    __m512 total[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t left = blocks(outputs, 2); left > 0; left -= 16) {
      const int pairs = static_cast<int>(min<int64_t>(left, 16));
      for (int i = 0; i < pairs; ++i, bits += step) {
        ADACONV_UNROLL for (int j = 0; j < 2; ++j) {
          const uint32_t word = load_word(bits + 4 * j);
          __m512i v[kTerms];
          ADACONV_UNROLL for (int term = 0; term < kTerms; ++term) {
            v[term] = _mm512_maskz_loadu_epi16(word, from[2 * term + j].row[i]);
            if (kLeaky) {
              v[term] = _mm512_mask_loadu_epi16(v[term], ~word, slope[2 * term + j].row[i]);
            }
            _mm512_store_si512(to[2 * term + j].row[i], v[term]);
          }
          ADACONV_UNROLL for (int n = 0; n < Path<kTerms>::kSteps; ++n) {
            const __m512i q_row = _mm512_load_si512(q[2 * Path<kTerms>::right[n]].row[i]);
            total[j] =
                _mm512_dpbf16_ps(total[j], (__m512bh)v[Path<kTerms>::left[n]], (__m512bh)q_row);
          }
        }
      }
      from += kPanel, to += kPanel, q += kPanel;
      if (kLeaky) slope += kPanel;
    }
    _mm512_storeu_ps(gx_row, total[0]);
    _mm512_storeu_ps(gx_row + 16, total[1]);
  }

  // Adds the part of gd, and the gradients of the patches, that come from one block of channels.
  void differentiate_inputs(const Bits& signs, const Segment& segment, const Block& channels,
                            int64_t slot, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t group = channels.group, first_row = channels.channel * s.taps();
    int32_t* rows = arena.take<int32_t>(block_rows());
    const int count = list_rows(s, segment, channels.channel, channels.channels, rows);
    if (count == 0) return;
    const int64_t q_words = Base::q_words(s), P_words = Base::P_words(s);
    float* x = arena.take<float>(segment.tiles * count * kPixels);
    Words* masked = arena.take<Words>(kMasked * q_words);
    Result* R = arena.take<Result>(2);
    std::memset(masked, 0, kMasked * q_words * sizeof(Words));
    gather_segment<kPixels>(s, plan, segment, call.x, group * s.group_in() + channels.channel,
                            channels.channels, x);
    const auto mask_weight =
        gy_slope == nullptr ? &InputGradients::mask<false> : &InputGradients::mask<true>;
    const TileScope scope;
    // A tile's d and gd stay in the first cache for as many weights as the second holds P of.
    constexpr int64_t kCacheBytes = 512 * 1024;
    const int64_t row_bytes = P_words * sizeof(Words);
    const int block = static_cast<int>(clamp<int64_t>(kCacheBytes / row_bytes, 1, count));
    for (int step = 0, steps = blocks(count, block) * segment.tiles; step < steps; ++step) {
      const int t = step % segment.tiles, begin = step / segment.tiles * block;
      const int end = min(begin + block, count);
      const int64_t tile = segment.first_tile + t;
      const float *d_tile = d_of(tile), *x_rows = x + t * count * kPixels;
      float *gd_tile = gd_of(slot, tile), *gx_rows = gx_of(slot, tile);
      for (int i = begin; i < end; i += kMasked) {
        const int some = min(end - i, kMasked);
        const Words* P_rows[kMasked];
        for (int n = 0; n < some; ++n) {
          const int64_t row = at(slot, rows[i + n] - first_row);
          P_rows[n] = P + row * P_words;
          (this->*mask_weight)(signs, tile, group, rows[i + n], q + row * q_words,
                               masked + n * q_words, gx_rows + (i + n) * kPixels);
        }
        for (int64_t k = 0; k < features; k += 32) {
          const auto differentiate = [&](int64_t n) {
            multiply<kTerms>(P_rows[n] + k / 32 * q_words, kPanel, masked + n * q_words, kPanel,
                             out_blocks, nullptr, R[n % 2]);
          };
          const auto use = [&](int64_t n) {
            apply_gradients(R[n % 2], x_rows + (i + n) * kPixels, d_tile + k * kPixels,
                            gd_tile + k * kPixels, gx_rows + (i + n) * kPixels);
          };
          one_ahead(some, differentiate, use);
        }
      }
    }
  }
};

}  // namespace adaconv::ADACONV_VARIANT::panels

#endif
