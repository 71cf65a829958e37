// Backward pass of adaptive convolution by panels of bf16 pairs; the formulas are those of
// adaptive_conv_backward.h.
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

// What the passes over one band share.
template <class S, int kTerms>
struct Band {
  static constexpr int64_t kPanel = 2 * kTerms;
  static constexpr int kMasked = 4;  // weights whose gradients are masked before they are used

  const AdaptiveConvBackward<S>& call;
  const Plan& plan;

  int64_t outputs;      // of a group
  int64_t features;     // rounded up to whole blocks of 32
  int64_t out_blocks;   // blocks of 32 outputs of a group
  float *gy, *d, *gd;   // [tile][output or feature][pixel]
  Words* gy_pairs;      // [tile][group][block of outputs][term][column]: pairs of outputs
  Words* gy_slope;      // the same times the slope, null where that is 0
  Words* d_pairs;       // [tile][block of features][term][half]: pairs of pixels
  float* gx;            // [tile][weight in the block of channels][pixel]

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
    gy_slope = s.negative_slope == 0
                   ? nullptr
                   : arena.take<Words>(tiles * s.groups * out_blocks * kPanel);
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
      gather<kPixels>(plan, tile, call.gy, 0, s.out_channels,
                      gy + tile * s.out_channels * kPixels);
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

  // Weights whose P is packed at once: as many as leave room in the second cache.
  int row_block(int count) const {
    constexpr int64_t kCacheBytes = 512 * 1024;
    const int64_t row_bytes = features / 32 * out_blocks * kPanel * sizeof(Words);
    return static_cast<int>(clamp<int64_t>(kCacheBytes / row_bytes, 1, count));
  }

  static size_t input_scratch_bytes(const AdaptiveConvShape& s) {
    constexpr int64_t kCacheBytes = 512 * 1024;
    const int64_t out_blocks = blocks(s.group_out(), 32), features = round_up(s.features, 32);
    const int64_t row_words = features / 32 * out_blocks * kPanel;
    return kSegmentTiles * block_rows(s) * kPixels * sizeof(float) +
           min<int64_t>(row_words * block_rows(s) * sizeof(Words),
                        kCacheBytes + row_words * sizeof(Words)) +
           (block_rows(s) + kMasked) * out_blocks * kPanel * sizeof(Words) +
           block_rows(s) * sizeof(int32_t) + 2 * sizeof(Result) + 8 * kAlignment;
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
  void differentiate_inputs(const Bits& signs, const Segment& segment, int64_t group,
                            int64_t channel, int64_t channels, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    int32_t* rows = arena.take<int32_t>(block_rows(s));
    const int count = list_rows(s, segment, channel, channels, rows);
    if (count == 0) return;
    const int64_t q_words = out_blocks * kPanel, P_words = features / 32 * q_words;
    const int block = row_block(count);
    float* x = arena.take<float>(segment.tiles * count * kPixels);
    Words* P = arena.take<Words>(block * P_words);
    Words* q = arena.take<Words>(block * q_words);
    Words* masked = arena.take<Words>(kMasked * q_words);
    Result* R = arena.take<Result>(2);
    std::memset(masked, 0, kMasked * q_words * sizeof(Words));
    for (int tile = 0; tile < segment.tiles; ++tile) {
      gather_patches<kPixels>(s, plan, segment.first_tile + tile, call.x,
                              group * s.group_in() + channel, channels, segment.taps,
                              segment.tap_count, x + tile * count * kPixels);
    }
    const TileScope scope;
    for (int begin = 0; begin < count; begin += block) {
      const int end = min(begin + block, count);
      for (int i = begin; i < end; ++i) {
        pack_weights(group, rows[i], P + (i - begin) * P_words);
        pack_bias(group, rows[i], q + (i - begin) * q_words);
      }
      for (int t = 0; t < segment.tiles; ++t) {
        const int64_t tile = segment.first_tile + t;
        for (int i = begin; i < end; i += kMasked) {
          const int some = min(end - i, kMasked);
          float* gx_rows = gx + (tile * block_rows(s) + i) * kPixels;
          for (int n = 0; n < some; ++n) {
            const Words* q_row = q + (i - begin + n) * q_words;
            Words* to = masked + n * q_words;
            float* gx_row = gx_rows + n * kPixels;
            if (gy_slope == nullptr) {
              mask<false>(signs, tile, group, rows[i + n], q_row, to, gx_row);
            } else {
              mask<true>(signs, tile, group, rows[i + n], q_row, to, gx_row);
            }
          }
          for (int64_t k = 0; k < features; k += 32) {
            const Words* P_block = P + (i - begin) * P_words + k / 32 * q_words;
            const int64_t at = (tile * features + k) * kPixels;
            const auto differentiate = [&](int64_t n) {
              multiply<kTerms>(P_block + n * P_words, kPanel, masked + n * q_words, kPanel,
                               out_blocks, nullptr, R[n % 2]);
            };
            const auto use = [&](int64_t n) {
              apply_gradients(R[n % 2], x + (t * count + i + n) * kPixels, d + at, gd + at,
                              gx_rows + n * kPixels);
            };
            one_ahead(some, differentiate, use);
          }
        }
      }
    }
  }

  void inputs(const Bits& signs, const Part& part, const Arenas& arenas) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t end = part.channel + part.channels;
    for (int64_t group = part.first_group; group < part.first_group + part.groups; ++group) {
      for (int64_t channel = part.channel; channel < end; channel += channel_block(s)) {
        const int64_t channels = min(channel_block(s), end - channel);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
        for (int i = 0; i < plan.segment_count; ++i) {
          differentiate_inputs(signs, plan.segments[i], group, channel, channels, arenas.mine());
        }
#pragma omp parallel for if (worth_threads(s))
        for (int64_t c = 0; c < channels; ++c) {
          for (int i = 0; i < plan.segment_count; ++i) {
            const Segment& segment = plan.segments[i];
            for (int t = segment.first_tile; t < segment.first_tile + segment.tiles; ++t) {
              scatter_add_patches<kPixels>(
                  s, plan, t, call.gx, group * s.group_in() + channel + c, segment.taps,
                  segment.tap_count, gx + (t * block_rows(s) + c * segment.tap_count) * kPixels);
            }
          }
        }
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

  static size_t weight_scratch_bytes(const AdaptiveConvShape& s) {
    return kSegmentTiles * (block_rows(s) * kPixels * sizeof(float) + kPanel * sizeof(Words)) +
           block_rows(s) * sizeof(int32_t) + 2 * sizeof(Result) + 4 * kAlignment;
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
  void differentiate_weights(const Bits& signs, const Segment& segment, int64_t group,
                             int64_t channel, int64_t channels, int64_t first_pair,
                             int64_t last_pair, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    int32_t* rows = arena.take<int32_t>(block_rows(s));
    const int count = list_rows(s, segment, channel, channels, rows);
    if (count == 0) return;
    float* x = arena.take<float>(segment.tiles * count * kPixels);
    Words* g = arena.take<Words>(segment.tiles * kPanel);
    Result* G = arena.take<Result>(2);
    for (int t = 0; t < segment.tiles; ++t) {
      gather_patches<kPixels>(s, plan, segment.first_tile + t, call.x,
                              group * s.group_in() + channel, channels, segment.taps,
                              segment.tap_count, x + t * count * kPixels);
    }
    const int64_t d_step = features / 32 * kPanel;
    const TileScope scope;
    for (int64_t pair = first_pair; pair < last_pair; ++pair) {
      for (int begin = 0; begin < count; begin += 16) {
        const int block = min(count - begin, 16);
        for (int r = 0; r < block; ++r) {
          const auto factors = gy_slope == nullptr ? &Band::weight_gradient_factors<false>
                                                   : &Band::weight_gradient_factors<true>;
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
    const int64_t row_bytes = 2 * block_rows(s) * s.features * sizeof(float);
    const int64_t pairs = clamp<int64_t>(kCacheBytes / row_bytes, 1, signs.pairs);
    const int64_t slices = blocks(signs.pairs, pairs), end = part.channel + part.channels;
    const int64_t channel_blocks = blocks(part.channels, channel_block(s));
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t task = 0; task < part.groups * channel_blocks * slices; ++task) {
      const int64_t slice = task % slices;
      const int64_t group = part.first_group + task / slices / channel_blocks;
      const int64_t channel = part.channel + task / slices % channel_blocks * channel_block(s);
      for (int i = 0; i < plan.segment_count; ++i) {
        differentiate_weights(signs, plan.segments[i], group, channel,
                              min(channel_block(s), end - channel), slice * pairs,
                              min((slice + 1) * pairs, signs.pairs), arenas.mine());
      }
    }
  }

  void differentiate(const Bits& signs, const Part& part, const Arenas& arenas) const {
    if (call.gx.data != nullptr) inputs(signs, part, arenas);
    if (call.gP != nullptr) weights(signs, part, arenas);
  }

  // The same without saved bits: a few weights at a time, in `bits`.
  void differentiate_by_rounds(uint8_t* bits, const Rounds& rounds, const Arenas& arenas) const {
    const AdaptiveConvForward<S> again{call.shape, call.x, call.d, {}, call.P, call.q, {}, nullptr};
    for (int64_t round = 0; round < rounds.count(); ++round) {
      const Part part = rounds.part(round);
      forward_band<S, kTerms>(again, plan, part, SignBits<uint8_t>(call.shape, part, bits), arenas);
      differentiate(Bits(call.shape, part, bits), part, arenas);
    }
  }
};

template <class S, int kTerms>
void backward(const AdaptiveConvBackward<S>& call) {
  using Pass = Band<S, kTerms>;
  const AdaptiveConvShape& s = call.shape;
  const Bands bands = cut_into_bands(s, kBandPixels, kPixels);
  const Part all = Part::whole(s);
  const Arenas shared(Pass::bytes(s, bands.tiles), 1);
  size_t scratch = Pass::input_scratch_bytes(s);
  for (size_t more : {Pass::weight_scratch_bytes(s),
                      ForwardTask<S, kTerms>::scratch_bytes(s, output_slice(s))}) {
    if (scratch < more) scratch = more;
  }
  const Arenas arenas(scratch);
  const int64_t channel_bytes = bands.tiles * blocks(s.group_out(), 2) * s.taps() * kSignBytes;
  const Rounds rounds(s, channel_bytes, channel_block(s));
  const Arenas bits(call.signs == nullptr ? rounds.bytes() : 1, 1);
  for (int64_t i = 0; i < bands.count; ++i) {
    const int64_t first = i * bands.band_rows;
    const Plan plan = make_plan(s, first, min(first + bands.band_rows, bands.rows), kPixels,
                                segment_tiles(bands));
    const Pass band(call, plan, shared.first());
    band.pack();
    if (call.signs == nullptr) {
      band.differentiate_by_rounds(bits.first().take<uint8_t>(rounds.bytes()), rounds, arenas);
    } else {
      const typename Pass::Bits saved(s, all, call.signs);
      band.differentiate({s, all, call.signs + i * bands.tiles * saved.tile_step()}, all, arenas);
    }
    if (call.gd.data != nullptr) band.unpack();
  }
}

}  // namespace adaconv::ADACONV_VARIANT::panels

#endif
