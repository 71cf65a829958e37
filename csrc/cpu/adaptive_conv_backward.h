// Backward pass of adaptive convolution. With m the sign bits (1, or the slope where the bit is
// clear):
//
//   R[c,t,k,p]  = sum_o m[o,c,t,p] gy[o,p] P[o,c,t,k]
//   gd[k,p]     = sum_{c,t} x[c,p+t] R[c,t,k,p]
//   gx[c,p+t]  += sum_k R[c,t,k,p] d[k,p] + sum_o m[o,c,t,p] gy[o,p] q[o,c,t]
//   gP[o,c,t,k] = sum_p m[o,c,t,p] gy[o,p] x[c,p+t] d[k,p],   gq likewise without d
//
// One product gives both input gradients, a second one the weights'. Every value has one owner and
// a fixed order of summation: no atomics, and no buffer grows with the number of threads times a
// tensor. The bits of the result depend on the shape and the number of threads alone.
#pragma once

#include "adaptive_conv_band.h"

namespace adaconv::ADACONV_VARIANT {

// One band and the passes over it.
template <class T>
struct Band : PackedBand<T, kTile<T>, kFeatureBlock> {
  using Base = PackedBand<T, kTile<T>, kFeatureBlock>;
  using Base::block_rows, Base::gy_of, Base::d_of, Base::gd_of, Base::gx_of;
  using Base::call, Base::plan, Base::features, Base::slots;

  int64_t columns;  // features, rounded up to whole vectors
  T* transposed_d;  // [panel of features][pixel][feature], see panel_of
  T* P;             // [slot][weight in the block of channels][feature block][output][feature]

  static size_t bytes(const AdaptiveConvShape& s, int64_t band_tiles) {
    const int64_t columns = round_up(s.features, kLanes<T>);
    const Slots slots = Base::slots_of(s, band_tiles);
    const int64_t P_values =
        slots.count * slots.rows(s) * round_up(s.features, kFeatureBlock) * s.group_out();
    return Base::bytes(s, band_tiles) + (band_tiles * kTile<T> * columns + P_values) * sizeof(T) +
           2 * kAlignment;
  }

  Band(const AdaptiveConvBackward<T>& call_, const Plan& plan_, const Slots& slots_, Arena arena)
      : Base(call_, plan_, slots_, arena), columns(round_up(call.shape.features, kLanes<T>)) {
    transposed_d = arena.take<T>(plan.tile_count * kTile<T> * columns);
    P = arena.take<T>(slots.count * block_rows() * features * call.shape.group_out());
  }

  void pack() const {
    const AdaptiveConvShape& s = call.shape;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      this->pack_tile(tile);
      const T* d = d_of(tile);
      for (int64_t k = 0; k < columns; k += panel_width(k)) {
        T* to = panel_of(tile, k);
        for (int lane = 0; lane < kTile<T>; ++lane, to += panel_width(k)) {
          for (int64_t i = 0; i < panel_width(k); ++i) {
            to[i] = k + i < s.features ? d[(k + i) * kTile<T> + lane] : T(0);
          }
        }
      }
    }
  }

  // Features from k on that weight_gradients takes at a time, and where those of a tile lie: rows
  // follow each other without gaps, which would leave sets of the first cache unused.
  int64_t panel_width(int64_t k) const {
    return gradient_vectors((columns - k) / kLanes<T>) * kLanes<T>;
  }
  T* panel_of(int64_t tile, int64_t k) const {
    return transposed_d + (k * plan.tile_count + tile * panel_width(k)) * kTile<T>;
  }

  T* P_of(int64_t slot, int64_t row) const {
    return P + (slot * block_rows() + row) * features * call.shape.group_out();
  }

  // P of one weight of all outputs, so that a block of features of all outputs lies together.
  void pack_weights(const Block& block, int64_t slot, int64_t row) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t outputs = s.group_out(), step = s.rows() * s.features;
    const T* from =
        call.P + block.group * outputs * step + (block.channel * s.taps() + row) * s.features;
    T* to = P_of(slot, row);
    for (int64_t o = 0; o < outputs; ++o, from += step, to += kFeatureBlock) {
      int64_t k = 0;
      for (; k + kFeatureBlock <= s.features; k += kFeatureBlock) {
        __builtin_prefetch(from + s.features + k);  // the next row
        std::memcpy(to + k * outputs, from + k, kFeatureBlock * sizeof(T));
      }
      if (k < features) {
        zero(to + k * outputs, kFeatureBlock);
        std::memcpy(to + k * outputs, from + k, (s.features - k) * sizeof(T));
      }
    }
  }

  static size_t input_scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t rows = channel_block(s) * s.taps();
    return (kSegmentTiles * rows + s.group_out()) * kTile<T> * sizeof(T) + rows * sizeof(int32_t) +
           3 * kAlignment;
  }

  // Adds the part of gd, and the gradients of the patches, that come from one block of channels.
  void differentiate_inputs(const SignBits<T>& signs, const Segment& segment, const Block& some,
                            int64_t slot, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t outputs = s.group_out(), first_out = some.group * outputs;
    int32_t* rows = arena.take<int32_t>(block_rows());
    const int count = list_rows(s, segment, some.channel, some.channels, rows);
    if (count == 0) return;
    T* x = arena.take<T>(segment.tiles * count * kTile<T>);
    T* masked = arena.take<T>(outputs * kTile<T>);
    gather_segment<kTile<T>>(s, plan, segment, call.x, some.group * s.group_in() + some.channel,
                             some.channels, x);
    const T* q = call.q == nullptr ? nullptr : call.q + first_out * s.rows();
    const T slope = static_cast<T>(s.negative_slope);
    const auto mask = slope == 0 ? &mask_gradient<T, false> : &mask_gradient<T, true>;
    // A tile's d and gd stay in the first cache for as many weights as the second holds P of.
    constexpr int64_t kCacheBytes = 512 * 1024;
    const int64_t row_bytes = features * outputs * sizeof(T);
    const int block = static_cast<int>(clamp<int64_t>(kCacheBytes / row_bytes, 1, count));
    for (int step = 0, steps = (count + block - 1) / block * segment.tiles; step < steps; ++step) {
      const int t = step % segment.tiles, begin = step / segment.tiles * block;
      const int64_t tile = segment.first_tile + t;
      const T *gy_tile = gy_of(tile, first_out), *d_tile = d_of(tile);
      T *gd_tile = gd_of(slot, tile), *gx_tile = gx_of(slot, tile);
      for (int i = begin; i < min(begin + block, count); ++i) {
        const T* x_row = x + (t * count + i) * kTile<T>;
        const T* P_row = P_of(slot, rows[i] - some.channel * s.taps());
        T* gx_row = gx_tile + i * kTile<T>;
        mask(gy_tile, signs.at(tile, first_out, rows[i]), signs.output_step(),
             q == nullptr ? nullptr : q + rows[i], s.rows(), outputs, slope, masked, gx_row);
        for (int64_t k = 0; k < features; k += kFeatureBlock) {
          input_gradients<T>(P_row + k * outputs, masked, outputs, x_row, d_tile + k * kTile<T>,
                             gd_tile + k * kTile<T>, gx_row);
        }
      }
    }
  }

  static size_t weight_scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t values = 2 * kSegmentPixels<T> + s.group_out() * kLanes<T>;
    const int64_t rows = channel_block(s) * s.taps();
    return rows * (values * sizeof(T) + sizeof(int32_t)) + 6 * kAlignment;
  }

  // A block of channels and some outputs of its group, whose gP and gq one task makes.
  struct Weights : Block {
    int64_t first_out, last_out;
  };

  void differentiate_weights(const SignBits<T>& signs, const Weights& some, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t rows = some.channels * s.taps(), first_row = some.channel * s.taps();
    const int64_t outputs = some.last_out - some.first_out;
    T* totals = arena.take<T>(outputs * rows * kLanes<T>);  // gq, before lanes are summed
    zero(totals, outputs * rows * kLanes<T>);
    for (int i = 0; i < plan.segment_count; ++i) {
      differentiate_segment(signs, plan.segments[i], some, totals, arena);
    }
    for (int64_t i = 0; i < outputs * rows && call.gq != nullptr; ++i) {
      const int64_t at = (some.first_out + i / rows) * s.rows() + first_row + i % rows;
      call.gq[at] += sum<T>(load(totals + i * kLanes<T>));
    }
  }

  void differentiate_segment(const SignBits<T>& signs, const Segment& segment, const Weights& some,
                             T* totals, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    int32_t* rows = arena.take<int32_t>(some.channels * s.taps());
    const int count = list_rows(s, segment, some.channel, some.channels, rows);
    if (count == 0) return;
    T* x = arena.take<T>(segment.tiles * count * kTile<T>);
    T* g = arena.take<T>(count * kSegmentPixels<T>);
    gather_segment<kTile<T>>(s, plan, segment, call.x, some.group * s.group_in() + some.channel,
                             some.channels, x);
    const int64_t first_row = some.channel * s.taps();
    const auto factors = s.negative_slope == 0 ? &Band::weight_gradient_factors<false>
                                               : &Band::weight_gradient_factors<true>;
    // A panel of features and the factors it is multiplied by stay in the first cache.
    constexpr int64_t kPanelBytes = 24 * 1024, kFactorBytes = 16 * 1024;
    const int64_t tile_bytes = kTile<T> * sizeof(T);
    const int step = static_cast<int>(
        clamp<int64_t>(kPanelBytes / (panel_width(0) * tile_bytes), 1, segment.tiles));
    const int block = gradient_block(static_cast<int>(panel_width(0) / kLanes<T>));
    const int batch = static_cast<int>(
        clamp<int64_t>(kFactorBytes / (step * tile_bytes) / block, 1, count) * block);
    for (int64_t o = some.first_out; o < some.last_out; ++o) {
      for (int t = 0; t < segment.tiles; t += step) {
        const int tiles = min(segment.tiles - t, step);
        for (int i = 0; i < count; i += batch) {
          const int size = min(count - i, batch);
          (this->*factors)(signs, segment.first_tile + t, tiles, o, rows + i, size, first_row,
                           x + (t * count + i) * kTile<T>, count * kTile<T>, g, totals);
          add_weight_gradients(segment.first_tile + t, tiles, o, rows + i, size, g);
        }
      }
      totals += some.channels * s.taps() * kLanes<T>;
    }
  }

  // g[i][p] = m[p] gy[p] x[i][p] over the pixels of some tiles; adds to the totals of each lane.
  template <bool kLeaky>
  void weight_gradient_factors(const SignBits<T>& signs, int64_t first_tile, int tiles, int64_t o,
                               const int32_t* rows, int count, int64_t first_row, const T* x,
                               int64_t x_step, T* g, T* totals) const {
    const V<T> slopes = broadcast<T>(static_cast<T>(call.shape.negative_slope));
    for (int t = 0; t < tiles; ++t, x += x_step) {
      const T* gy_tile = gy_of(first_tile + t, o);
      const uint8_t* bits = signs.at(first_tile + t, o, signs.first_row);
      V<T> gy_vectors[kTileVectors];
    ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
        gy_vectors[j] = load(gy_tile + j * kLanes<T>);
      }
      for (int i = 0; i < count; ++i) {
        const uint8_t* words = bits + (rows[i] - signs.first_row) * kSignBytes<T>;
        T* to = g + i * kSegmentPixels<T> + t * kTile<T>;
        T* total_row = totals + (rows[i] - first_row) * kLanes<T>;
        V<T> total = load(total_row);
        ADACONV_UNROLL for (int j = 0; j < kTileVectors; ++j) {
          const V<T> product = gy_vectors[j] * load(x + i * kTile<T> + j * kLanes<T>);
          const V<T> m = select(load_bits<T>(words + j * sizeof(SignWord<T>)), product,
                                kLeaky ? product * slopes : V<T>{});
          store(to + j * kLanes<T>, m);
          total += m;
        }
        store(total_row, total);
      }
    }
  }

  // Adds the products of the factors of some tiles with their features to gP.
  void add_weight_gradients(int64_t first_tile, int tiles, int64_t o, const int32_t* rows,
                            int count, const T* g) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t pixels = min<int64_t>(tiles * kTile<T>, plan.pixels - first_tile * kTile<T>);
    for (int64_t k = 0; k < columns; k += panel_width(k)) {
      const int vectors = static_cast<int>(panel_width(k) / kLanes<T>);
      const int blocks = (count + gradient_block(vectors) - 1) / gradient_block(vectors);
      for (int block = 0; block < blocks; ++block) {
        const int begin = count * block / blocks, end = count * (block + 1) / blocks;
        weight_gradients_of<T>(end - begin, vectors)(
            g + begin * kSegmentPixels<T>, panel_of(first_tile, k), pixels, rows + begin,
            s.features, s.features - k, call.gP + o * s.rows() * s.features + k);
      }
    }
  }

  void weights(const SignBits<T>& signs, const Part& part, const Arenas& arenas) const {
    const AdaptiveConvShape& s = call.shape;
    const Blocks blocks{part, channel_block(s)};
    const int64_t slices = output_slices(s, blocks.count());
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t task = 0; task < blocks.count() * slices; ++task) {
      const Block block = blocks[task / slices];
      const Outputs outputs = slice_of_outputs(s, block.group, task % slices, slices);
      differentiate_weights(signs, {block, outputs.first, outputs.last}, arenas.mine());
    }
  }

  void differentiate(const SignBits<T>& signs, const Part& part, const Arenas& arenas) const {
    if (call.gx.data != nullptr) {
      const auto pack = [&](const Block& block, int64_t slot, int64_t row) {
        pack_weights(block, slot, row);
      };
      this->inputs(part, pack, [&](const Segment& segment, const Block& block, int64_t slot) {
        differentiate_inputs(signs, segment, block, slot, arenas.mine());
      });
    }
    if (call.gP != nullptr) weights(signs, part, arenas);
  }

  // The same without saved bits: a few weights at a time, in `bits`.
  void differentiate_by_rounds(uint8_t* bits, const Rounds& rounds, const Arenas& arenas) const {
    const AdaptiveConvShape& s = call.shape;
    for (int64_t round = 0; round < rounds.count(); ++round) {
      const Part part = rounds.part(round);
      const int64_t slices = output_slices(s, plan.segment_count * part.groups);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
      for (int64_t task = 0; task < plan.segment_count * part.groups * slices; ++task) {
        const Segment& segment = plan.segments[task / slices / part.groups];
        const int64_t group = part.first_group + task / slices % part.groups;
        recompute_signs(call, segment, part, slice_of_outputs(s, group, task % slices, slices),
                        d_of(segment.first_tile), features * kTile<T>, bits, arenas.mine());
      }
      differentiate(SignBits<T>(s, part, bits), part, arenas);
    }
  }
};

template <class T>
void backward(const AdaptiveConvBackward<T>& call) {
  const AdaptiveConvShape& s = call.shape;
  const Bands bands = cut_into_bands(s, kBandPixels, kTile<T>);
  const Slots slots = Band<T>::slots_of(s, bands.tiles);
  const Arenas shared(Band<T>::bytes(s, bands.tiles), 1);
  const size_t input_bytes = Band<T>::input_scratch_bytes(s);
  const size_t weight_bytes = Band<T>::weight_scratch_bytes(s);
  const Arenas arenas(input_bytes < weight_bytes ? weight_bytes : input_bytes);
  const Rounds rounds(s, bands.tiles * s.group_out() * s.taps() * kSignBytes<T>, slots.channels);
  const Arenas bits(call.signs == nullptr ? rounds.bytes() : 1, 1);
  clear_weight_gradients(call);
  for (int64_t i = 0; i < bands.count; ++i) {
    const int64_t first = i * bands.band_rows;
    const Plan plan = make_plan(s, first, min(first + bands.band_rows, bands.rows), kTile<T>,
                                segment_tiles(bands.tiles * slots.count, kSegmentTiles));
    const int64_t first_sign = i * bands.tiles * s.out_channels * s.rows() * kSignBytes<T>;
    const Band<T> band(call, plan, slots, shared.first());
    band.pack();
    if (call.signs == nullptr) {
      band.differentiate_by_rounds(bits.first().take<uint8_t>(rounds.bytes()), rounds, arenas);
    } else {
      const Part all = Part::whole(s);
      band.differentiate(SignBits<T>(s, all, call.signs + first_sign), all, arenas);
    }
    if (call.gd.data != nullptr) band.unpack();
  }
}

}  // namespace adaconv::ADACONV_VARIANT
