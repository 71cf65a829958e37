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
// tensor.
#pragma once

#include "adaptive_conv_signs.h"

namespace adaconv::ADACONV_VARIANT {

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// What the passes over one band share. Arrays of pixels are packed by tiles.
template <class T>
struct Band {
  const AdaptiveConvBackward<T>& call;
  const Plan& plan;

  int64_t features_up;  // features, rounded up to whole blocks
  int64_t columns;      // features, rounded up to whole vectors
  T *gy, *d, *gd;       // [tile][channel or feature][lane]
  T* transposed_d;      // [panel of features][pixel][feature], see panel_of
  T* P;                 // [weight in the block of channels][feature block][output][feature]
  T* gx;                // [tile][weight in the block of channels][lane]

  static int64_t block_rows(const AdaptiveConvShape& s) { return channel_block(s) * s.taps(); }

  static size_t bytes(const AdaptiveConvShape& s, int64_t tiles) {
    const int64_t features = round_up(s.features, kFeatureBlock);
    const int64_t columns = round_up(s.features, kLanes<T>);
    const int64_t a_pixel = s.out_channels + 2 * features + columns + block_rows(s);
    return (tiles * kTile<T> * a_pixel + block_rows(s) * features * s.group_out()) * sizeof(T) +
           8 * kAlignment;
  }

  Band(const AdaptiveConvBackward<T>& call_, const Plan& plan_, Arena arena)
      : call(call_), plan(plan_) {
    const AdaptiveConvShape& s = call.shape;
    const int64_t pixels = plan.tile_count * kTile<T>;
    features_up = round_up(s.features, kFeatureBlock);
    columns = round_up(s.features, kLanes<T>);
    gy = arena.take<T>(pixels * s.out_channels);
    d = arena.take<T>(pixels * features_up);
    gd = arena.take<T>(pixels * features_up);
    transposed_d = arena.take<T>(pixels * columns);
    P = arena.take<T>(block_rows(s) * features_up * s.group_out());
    gx = arena.take<T>(pixels * block_rows(s));
  }

  const T* gy_of(int64_t tile, int64_t o) const {
    return gy + (tile * call.shape.out_channels + o) * kTile<T>;
  }

  void pack() const {
    const AdaptiveConvShape& s = call.shape;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      T* features = d + tile * features_up * kTile<T>;
      gather<kTile<T>>(plan, tile, call.gy, 0, s.out_channels,
                       gy + tile * s.out_channels * kTile<T>);
      gather<kTile<T>>(plan, tile, call.d, 0, s.features, features);
      zero(features + s.features * kTile<T>, (features_up - s.features) * kTile<T>);
      zero(gd + tile * features_up * kTile<T>, features_up * kTile<T>);
      for (int64_t k = 0; k < columns; k += panel_width(k)) {
        T* to = panel_of(tile, k);
        for (int lane = 0; lane < kTile<T>; ++lane, to += panel_width(k)) {
          for (int64_t i = 0; i < panel_width(k); ++i) {
            to[i] = k + i < s.features ? features[(k + i) * kTile<T> + lane] : T(0);
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

  // P of some input channels of one group, reordered so that a block of features of all outputs
  // lies together.
  void pack_weights(int64_t group, int64_t channel, int64_t channels) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t outputs = s.group_out();
#pragma omp parallel for if (worth_threads(s))
    for (int64_t row = 0; row < channels * s.taps(); ++row) {
      for (int64_t o = 0; o < outputs; ++o) {
        const int64_t from_row = (group * outputs + o) * s.rows() + channel * s.taps() + row;
        const T* from = call.P + from_row * s.features;
        T* to = P + row * features_up * outputs + o * kFeatureBlock;
        for (int64_t k = 0; k < features_up; k += kFeatureBlock, to += outputs * kFeatureBlock) {
          for (int64_t i = 0; i < kFeatureBlock; ++i)
            to[i] = k + i < s.features ? from[k + i] : T(0);
        }
      }
    }
  }

  static size_t input_scratch_bytes(const AdaptiveConvShape& s) {
    return (kSegmentTiles * block_rows(s) + s.group_out()) * kTile<T> * sizeof(T) +
           block_rows(s) * sizeof(int32_t) + 4 * kAlignment;
  }

  // Adds the part of gd, and the gradients of the patches, that come from one block of channels.
  void differentiate_inputs(const SignBits<T>& signs, const Segment& segment, int64_t group,
                            int64_t channel, int64_t channels, Arena arena) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t outputs = s.group_out(), first_out = group * outputs;
    int32_t* rows = arena.take<int32_t>(block_rows(s));
    const int count = list_rows(s, segment, channel, channels, rows);
    if (count == 0) return;
    T* x = arena.take<T>(segment.tiles * count * kTile<T>);
    T* masked = arena.take<T>(outputs * kTile<T>);
    gather_segment<kTile<T>>(s, plan, segment, call.x, group * s.group_in() + channel, channels, x);
    // A tile's d and gd stay in the first cache for as many weights as the second holds P of.
    constexpr int64_t kCacheBytes = 512 * 1024;
    const int64_t row_bytes = features_up * outputs * sizeof(T);
    const int block = static_cast<int>(clamp<int64_t>(kCacheBytes / row_bytes, 1, count));
    for (int step = 0, steps = (count + block - 1) / block * segment.tiles; step < steps; ++step) {
      const int t = step % segment.tiles, begin = step / segment.tiles * block;
      const int64_t tile = segment.first_tile + t;
      for (int i = begin; i < min(begin + block, count); ++i) {
        const T* p = P + (rows[i] - channel * s.taps()) * features_up * outputs;
        T* gx_row = gx + (tile * block_rows(s) + i) * kTile<T>;
        const auto mask =
            s.negative_slope == 0 ? &mask_gradient<T, false> : &mask_gradient<T, true>;
        mask(gy_of(tile, first_out), signs.at(tile, first_out, rows[i]), signs.output_step(),
             call.q == nullptr ? nullptr : call.q + first_out * s.rows() + rows[i], s.rows(),
             outputs, static_cast<T>(s.negative_slope), masked, gx_row);
        for (int64_t k = 0; k < features_up; k += kFeatureBlock) {
          const int64_t at = (tile * features_up + k) * kTile<T>;
          input_gradients<T>(p + k * outputs, masked, outputs, x + (t * count + i) * kTile<T>,
                             d + at, gd + at, gx_row);
        }
      }
    }
  }

  void inputs(const SignBits<T>& signs, const Part& part, const Arenas& arenas) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t end = part.channel + part.channels;
    for (int64_t group = part.first_group; group < part.first_group + part.groups; ++group) {
      for (int64_t channel = part.channel; channel < end; channel += channel_block(s)) {
        const int64_t channels = min(channel_block(s), end - channel);
        pack_weights(group, channel, channels);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
        for (int i = 0; i < plan.segment_count; ++i) {
          differentiate_inputs(signs, plan.segments[i], group, channel, channels, arenas.mine());
        }
#pragma omp parallel for if (worth_threads(s))
        for (int64_t c = 0; c < channels; ++c) {
          scatter_add_band<kTile<T>>(s, plan, call.gx, group * s.group_in() + channel + c, c, gx,
                                     block_rows(s));
        }
      }
    }
  }

  void unpack() const {
    const AdaptiveConvShape& s = call.shape;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      scatter<kTile<T>>(plan, tile, call.gd, 0, s.features, gd + tile * features_up * kTile<T>);
    }
  }

  static size_t weight_scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t values = 2 * kSegmentPixels<T> + s.group_out() * kLanes<T>;
    return block_rows(s) * (values * sizeof(T) + sizeof(int32_t)) + 6 * kAlignment;
  }

  // Outputs of a group, and channels of it, whose gP and gq one task makes.
  struct Weights {
    int64_t group, channel, channels, first_out, last_out;
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
    int32_t* rows = arena.take<int32_t>(block_rows(s));
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
    for (int64_t k = 0; k < columns; k += panel_width(k)) {
      const int vectors = static_cast<int>(panel_width(k) / kLanes<T>);
      const int blocks = (count + gradient_block(vectors) - 1) / gradient_block(vectors);
      for (int block = 0; block < blocks; ++block) {
        const int begin = count * block / blocks, end = count * (block + 1) / blocks;
        weight_gradients_of<T>(end - begin, vectors)(
            g + begin * kSegmentPixels<T>, panel_of(first_tile, k), tiles * kTile<T>,
            rows + begin, s.features, s.features - k, call.gP + o * s.rows() * s.features + k);
      }
    }
  }

  void weights(const SignBits<T>& signs, const Part& part, const Arenas& arenas) const {
    const AdaptiveConvShape& s = call.shape;
    // Patches are gathered anew for every slice of the outputs: as few as keep all threads busy, and
    // none that would not repay it.
    const int64_t blocks = (part.channels + channel_block(s) - 1) / channel_block(s);
    const int64_t least = clamp<int64_t>(512 / s.features, 1, s.group_out());
    const int64_t wanted = 4 * max_threads() / (part.groups * blocks) + 1;
    const int64_t slices = min(wanted, s.group_out() / least), end = part.channel + part.channels;
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int64_t task = 0; task < part.groups * blocks * slices; ++task) {
      const int64_t slice = task % slices, group = part.first_group + task / slices / blocks;
      const int64_t channel = part.channel + task / slices % blocks * channel_block(s);
      const int64_t first_out = group * s.group_out();
      differentiate_weights(signs,
                            {group, channel, min(channel_block(s), end - channel),
                             first_out + s.group_out() * slice / slices,
                             first_out + s.group_out() * (slice + 1) / slices},
                            arenas.mine());
    }
  }

  void differentiate(const SignBits<T>& signs, const Part& part, const Arenas& arenas) const {
    if (call.gx.data != nullptr) inputs(signs, part, arenas);
    if (call.gP != nullptr) weights(signs, part, arenas);
  }

  // The same without saved bits: a few weights at a time, in `bits`.
  void differentiate_by_rounds(uint8_t* bits, const Rounds& rounds, const Arenas& arenas) const {
    const AdaptiveConvShape& s = call.shape;
    const int64_t outputs = output_slice(s);
    const int64_t slices = (s.group_out() + outputs - 1) / outputs;
    for (int64_t round = 0; round < rounds.count(); ++round) {
      const Part part = rounds.part(round);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
      for (int64_t task = 0; task < plan.segment_count * part.groups * slices; ++task) {
        const Segment& segment = plan.segments[task / slices / part.groups];
        const int64_t group = part.first_group + task / slices % part.groups;
        const int64_t first_out = group * s.group_out() + task % slices * outputs;
        recompute_signs(call, segment, part, first_out,
                        min(first_out + outputs, (group + 1) * s.group_out()),
                        d + segment.first_tile * features_up * kTile<T>, features_up * kTile<T>,
                        bits, arenas.mine());
      }
      differentiate(SignBits<T>(s, part, bits), part, arenas);
    }
  }
};

template <class T>
void backward(const AdaptiveConvBackward<T>& call) {
  const AdaptiveConvShape& s = call.shape;
  const Bands bands = cut_into_bands(s, kBandPixels, kTile<T>);
  const Arenas shared(Band<T>::bytes(s, bands.tiles), 1);
  const size_t input_bytes = Band<T>::input_scratch_bytes(s);
  const size_t weight_bytes = Band<T>::weight_scratch_bytes(s);
  const Arenas arenas(input_bytes < weight_bytes ? weight_bytes : input_bytes);
  const Rounds rounds(s, bands.tiles * s.group_out() * s.taps() * kSignBytes<T>, channel_block(s));
  const Arenas bits(call.signs == nullptr ? rounds.bytes() : 1, 1);
  for (int64_t i = 0; i < bands.count; ++i) {
    const int64_t first = i * bands.band_rows;
    const Plan plan = make_plan(s, first, min(first + bands.band_rows, bands.rows), kTile<T>,
                                segment_tiles(bands));
    const int64_t first_sign = i * bands.tiles * s.out_channels * s.rows() * kSignBytes<T>;
    const Band<T> band(call, plan, shared.first());
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
