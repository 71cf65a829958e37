// One band of the backward pass, packed, and how its work is dealt to threads.
#pragma once

#include "adaptive_conv_signs.h"

namespace adaconv::ADACONV_VARIANT {

constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The gradients of P and q are sums over bands, in memory that nobody has touched yet.
template <class S>
void clear_weight_gradients(const AdaptiveConvBackward<S>& call) {
  if (call.adds) return;
  const AdaptiveConvShape& s = call.shape;
  const int64_t of_P = s.rows() * s.features;
  if (call.gP != nullptr) prefer_huge_pages(call.gP, s.out_channels * of_P * sizeof(*call.gP));
#pragma omp parallel for if (worth_threads(s))
  for (int64_t o = 0; o < s.out_channels; ++o) {
    if (call.gP != nullptr) zero(call.gP + o * of_P, of_P);
    if (call.gq != nullptr) zero(call.gq + o * s.rows(), s.rows());
  }
}

// Channels of one group that are worked on together.
struct Block {
  int64_t group, channel, channels;
};

// The blocks of a part, of `size` channels each.
struct Blocks {
  Part part;
  int64_t size;

  int64_t of_a_group() const { return (part.channels + size - 1) / size; }
  int64_t count() const { return part.groups * of_a_group(); }
  Block operator[](int64_t i) const {
    const int64_t channel = i % of_a_group() * size;
    return {part.first_group + i / of_a_group(), part.channel + channel,
            min(size, part.channels - channel)};
  }
};

// The gradients of the inputs are made in two directions at once: by segments, and by blocks of
// `channels` in `count` *slots*. A slot has P and the gradients of the patches of one block, and a
// gd of its own, the sum over every `count`-th block. Where there are few segments, blocks are
// small and slots as many as make enough tasks; together they take as much memory as one would of a
// large band, at most.
struct Slots {
  int64_t channels, count;

  // For bands of `tiles`, of kPixels each.
  Slots(const AdaptiveConvShape& s, int64_t tiles, int64_t pixels, int64_t features) {
    constexpr int64_t kManyTiles = 16, kValues = 5 << 18;
    channels = channel_block(s, min(tiles, kManyTiles) * kChannelBlockRows / kManyTiles);
    const int64_t values =
        tiles * pixels * (features + rows(s)) + rows(s) * features * s.group_out();
    const int64_t blocks = Blocks{Part::whole(s), channels}.count();
    const int64_t segments = (tiles + kSegmentTiles - 1) / kSegmentTiles;
    const int64_t wanted = min(blocks, (enough_tasks() + segments - 1) / segments);
    count = clamp<int64_t>(kValues / values, 1, wanted);
  }

  int64_t rows(const AdaptiveConvShape& s) const { return channels * s.taps(); }
};

// What the passes over one band share, in tiles of kPixels, with features rounded up to a multiple
// of kFeatures, whatever they are multiplied by.
template <class S, int kPixels, int kFeatures>
struct PackedBand {
  using T = Sum<S>;

  const AdaptiveConvBackward<S>& call;
  const Plan& plan;
  Slots slots;

  int64_t features;
  T *gy, *d;  // [tile][channel or feature][lane]
  T* gd;      // [slot][tile][feature][lane]
  T* gx;      // [slot][tile][weight in the block of channels][lane]

  static Slots slots_of(const AdaptiveConvShape& s, int64_t band_tiles) {
    return {s, band_tiles, kPixels, round_up(s.features, kFeatures)};
  }

  static size_t bytes(const AdaptiveConvShape& s, int64_t band_tiles) {
    const Slots slots = slots_of(s, band_tiles);
    const int64_t features = round_up(s.features, kFeatures);
    const int64_t a_pixel = s.out_channels + features + slots.count * (features + slots.rows(s));
    return band_tiles * a_pixel * kPixels * sizeof(T) + 4 * kAlignment;
  }

  PackedBand(const AdaptiveConvBackward<S>& call_, const Plan& plan_, const Slots& slots_,
             Arena& arena)
      : call(call_),
        plan(plan_),
        slots(slots_),
        features(round_up(call.shape.features, kFeatures)) {
    const AdaptiveConvShape& s = call.shape;
    const int64_t pixels = plan.tile_count * kPixels;
    gy = arena.take<T>(pixels * s.out_channels);
    d = arena.take<T>(pixels * features);
    gd = arena.take<T>(slots.count * pixels * features);
    gx = arena.take<T>(slots.count * pixels * block_rows());
  }

  int64_t block_rows() const { return slots.rows(call.shape); }

  T* gy_of(int64_t tile, int64_t o) const {
    return gy + (tile * call.shape.out_channels + o) * kPixels;
  }
  T* d_of(int64_t tile) const { return d + tile * features * kPixels; }
  T* gd_of(int64_t slot, int64_t tile) const {
    return gd + (slot * plan.tile_count + tile) * features * kPixels;
  }
  T* gx_of(int64_t slot, int64_t tile) const {
    return gx + (slot * plan.tile_count + tile) * block_rows() * kPixels;
  }

  void pack_tile(int tile) const {
    const AdaptiveConvShape& s = call.shape;
    gather<kPixels>(plan, tile, call.gy, 0, s.out_channels, gy_of(tile, 0));
    gather<kPixels>(plan, tile, call.d, 0, s.features, d_of(tile));
    zero(d_of(tile) + s.features * kPixels, (features - s.features) * kPixels);
    for (int64_t slot = 0; slot < slots.count; ++slot) zero(gd_of(slot, tile), features * kPixels);
  }

  void unpack() const {
    const AdaptiveConvShape& s = call.shape;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      T* total = gd_of(0, tile);
      for (int64_t slot = 1; slot < slots.count; ++slot) {
        add(total, 1, gd_of(slot, tile), s.features * kPixels);
      }
      scatter<kPixels>(plan, tile, call.gd, 0, s.features, total);
    }
  }

  // Has differentiate(segment, block, slot) make the slots' gd and gx from the blocks of a part,
  // and adds gx to the call's; first prepare(block, slot, row), for each row of the weights.
  template <class Prepare, class Differentiate>
  void inputs(const Part& part, Prepare prepare, Differentiate differentiate) const {
    const AdaptiveConvShape& s = call.shape;
    const Blocks blocks{part, slots.channels};
    const int64_t of_a_group = Blocks{Part::whole(s), slots.channels}.of_a_group();
    const int64_t rows = block_rows(), segments = plan.segment_count;
    // Slots do not depend on the part, so that neither does the order of summation.
    const auto slot_of = [&](const Block& block) {
      return (block.group * of_a_group + block.channel / blocks.size) % slots.count;
    };
    for (int64_t first = 0; first < blocks.count(); first += slots.count) {
      const int64_t some = min(slots.count, blocks.count() - first);
#pragma omp parallel for if (worth_threads(s))
      for (int64_t task = 0; task < some * rows; ++task) {
        const Block block = blocks[first + task / rows];
        if (task % rows < block.channels * s.taps()) prepare(block, slot_of(block), task % rows);
      }
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
      for (int64_t task = 0; task < some * segments; ++task) {
        const Block block = blocks[first + task / segments];
        differentiate(plan.segments[task % segments], block, slot_of(block));
      }
#pragma omp parallel for if (worth_threads(s))
      for (int64_t task = 0; task < some * blocks.size; ++task) {
        const Block block = blocks[first + task / blocks.size];
        const int64_t c = task % blocks.size;
        if (c < block.channels) {
          scatter_add_band<kPixels>(s, plan, call.gx,
                                    block.group * s.group_in() + block.channel + c, c,
                                    gx_of(slot_of(block), 0), rows);
        }
      }
    }
  }
};

}  // namespace adaconv::ADACONV_VARIANT
