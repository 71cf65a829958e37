// The first stage of separable adaptive convolution, with
//   w[c,t,p] = sum_k P[c,t,k] d[k,p] + q[c,t],  u[c,p] = sum_t act(w[c,t,p]) x[c,p+t],
// and its backward pass. With m the slope of the activation at w, and f = m gu x:
//
//   gx[c,p+t]  += act(w[c,t,p]) gu[c,p]
//   gd[k,p]    += sum_{c,t} P[c,t,k] f[c,t,p]
//   gP[c,t,k]   = sum_p f[c,t,p] d[k,p],   gq likewise without d
//
// A weight is used for one output only, so that the backward pass has to regress it anew for gx in
// any case, and finds its sign on the way: three products, and no bits are kept.
#pragma once

#include "adaptive_conv_forward.h"
#include "adaptive_separable_micro.h"
#include "feature_panels.h"

namespace adaconv::ADACONV_VARIANT::separable {

template <class T>
Strided<const T> readable(const Strided<T>& tensor) {
  return {tensor.data, tensor.n, tensor.c, tensor.h, tensor.w};
}

// Channels whose patches are gathered together.
inline int64_t channels_at_once(const AdaptiveConvShape& s) {
  return clamp<int64_t>(kChannelBlockRows / s.taps(), 1, s.in_channels);
}
inline int64_t rows_at_once(const AdaptiveConvShape& s) { return channels_at_once(s) * s.taps(); }

template <class T>
struct Depthwise {
  const AdaptiveConvShape& s;
  const Plan& plan;
  Strided<const T> x, d;
  const T *P, *q;

  // Calls use(c, begin, size) for each channel c of some, and each block of its weights in use.
  template <class Use>
  static ADACONV_INLINE void for_each_block(const Segment& segment, int64_t channels, Use use) {
    const int taps = segment.tap_count, blocks = (taps + kRowBlock - 1) / kRowBlock;
    for (int64_t c = 0; c < channels; ++c) {
      for (int block = 0; block < blocks; ++block) {
        const int begin = taps * block / blocks, end = taps * (block + 1) / blocks;
        use(c, c * taps + begin, end - begin);
      }
    }
  }

  static size_t forward_bytes(const AdaptiveConvShape& s) {
    const int64_t a_pixel = kSegmentTiles * s.features + rows_at_once(s) + channels_at_once(s);
    return a_pixel * kTile<T> * sizeof(T) + rows_at_once(s) * sizeof(int32_t) + 4 * kAlignment;
  }

  void forward(const Strided<T>& u, const Arenas& arenas) const {
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
    for (int i = 0; i < plan.segment_count; ++i) forward(plan.segments[i], u, arenas.mine());
  }

  void forward(const Segment& segment, const Strided<T>& u, Arena arena) const {
    T* features = arena.take<T>(segment.tiles * s.features * kTile<T>);
    T* patches = arena.take<T>(rows_at_once(s) * kTile<T>);
    T* sums = arena.take<T>(channels_at_once(s) * kTile<T>);
    int32_t* rows = arena.take<int32_t>(rows_at_once(s));
    for (int t = 0; t < segment.tiles; ++t) {
      gather<kTile<T>>(plan, segment.first_tile + t, d, 0, s.features,
                       features + t * s.features * kTile<T>);
    }
    for (int64_t channel = 0; channel < s.in_channels; channel += channels_at_once(s)) {
      const int64_t channels = min(channels_at_once(s), s.in_channels - channel);
      list_rows(s, segment, channel, channels, rows);
      for (int t = 0; t < segment.tiles; ++t) {
        const int tile = segment.first_tile + t;
        gather_patches<kTile<T>>(s, plan, tile, x, channel, channels, segment.taps,
                                 segment.tap_count, patches);
        zero(sums, channels * kTile<T>);
        for_each_block(segment, channels, [&](int64_t c, int64_t begin, int size) {
          regress_and_apply_of<T>(size)(
              P, q, rows + begin, s.features, features + t * s.features * kTile<T>,
              patches + begin * kTile<T>, static_cast<T>(s.negative_slope), sums + c * kTile<T>,
              nullptr);
        });
        scatter<kTile<T>>(plan, tile, u, channel, channels, sums);
      }
    }
  }
};

// The backward pass over the pixels of a plan. Arrays of pixels are packed by tiles.
template <class T>
struct DepthwiseBackward {
  const Depthwise<T>& stage;
  Strided<const T> gu;
  Strided<T> gx, gd;
  T *gP, *gq;

  T *d_tiles, *gd_tiles;    // [tile][feature][lane]
  FeaturePanels<T> panels;  // the features again, transposed
  T* gx_tiles;              // [tile][weight in the block of channels][lane]
  T* f;                     // see factors

  static int64_t values(const AdaptiveConvShape& s, int64_t tiles) {
    const int64_t groups = (tiles + kSegmentTiles - 1) / kSegmentTiles;
    return FeaturePanels<T>::size(s.features, tiles) +
           (tiles * (2 * s.features + rows_at_once(s)) + groups * kSegmentTiles * rows_at_once(s)) *
               kTile<T>;
  }
  static size_t bytes(const AdaptiveConvShape& s, int64_t tiles) {
    return values(s, tiles) * sizeof(T) + 5 * kAlignment;
  }

  static size_t scratch_bytes(const AdaptiveConvShape& s) {
    const int64_t inputs = (rows_at_once(s) + channels_at_once(s)) * kTile<T>;
    const int64_t weights = rows_at_once(s) * kLanes<T>;
    return (inputs + weights) * sizeof(T) + rows_at_once(s) * sizeof(int32_t) + 4 * kAlignment;
  }

  DepthwiseBackward(const Depthwise<T>& stage_, const Strided<const T>& gu_, const Strided<T>& gx_,
                    const Strided<T>& gd_, T* gP_, T* gq_, Arena arena)
      : stage(stage_), gu(gu_), gx(gx_), gd(gd_), gP(gP_), gq(gq_) {
    const AdaptiveConvShape& s = stage.s;
    const int64_t tiles = stage.plan.tile_count;
    const int64_t groups = (tiles + kSegmentTiles - 1) / kSegmentTiles;
    d_tiles = arena.take<T>(tiles * s.features * kTile<T>);
    gd_tiles = arena.take<T>(tiles * s.features * kTile<T>);
    panels = {arena.take<T>(FeaturePanels<T>::size(s.features, tiles)), s.features, tiles};
    gx_tiles = arena.take<T>(tiles * rows_at_once(s) * kTile<T>);
    f = arena.take<T>(groups * rows_at_once(s) * kSegmentPixels<T>);
  }

  // Of the weights of the block of channels, [group of tiles][weight][tile][lane].
  T* factors(int64_t tile) const {
    return f + tile / kSegmentTiles * rows_at_once(stage.s) * kSegmentPixels<T> +
           tile % kSegmentTiles * kTile<T>;
  }

  // Adds to all gradients; gd is read, added to and written.
  void run(const Arenas& arenas) const {
    const AdaptiveConvShape& s = stage.s;
    const Plan& plan = stage.plan;
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      const int64_t at = tile * s.features * kTile<T>;
      gather<kTile<T>>(plan, tile, stage.d, 0, s.features, d_tiles + at);
      gather<kTile<T>>(plan, tile, readable(gd), 0, s.features, gd_tiles + at);
      if (gP != nullptr) panels.pack(tile, d_tiles + at);
    }
    for (int64_t channel = 0; channel < s.in_channels; channel += channels_at_once(s)) {
      const int64_t channels = min(channels_at_once(s), s.in_channels - channel);
#pragma omp parallel for schedule(dynamic) if (worth_threads(s))
      for (int i = 0; i < plan.segment_count; ++i) {
        differentiate_inputs(plan.segments[i], channel, channels, arenas.mine());
      }
      const int64_t parts = min<int64_t>(channels, max_threads());
#pragma omp parallel for if (worth_threads(s))
      for (int64_t part = 0; part < parts; ++part) {
        collect(channel, channels * part / parts, channels * (part + 1) / parts, arenas.mine());
      }
    }
#pragma omp parallel for if (worth_threads(s))
    for (int tile = 0; tile < plan.tile_count; ++tile) {
      scatter<kTile<T>>(plan, tile, gd, 0, s.features, gd_tiles + tile * s.features * kTile<T>);
    }
  }

  // Adds the part of gd, and makes gx and f of the patches, that come from a block of channels.
  void differentiate_inputs(const Segment& segment, int64_t channel, int64_t channels,
                            Arena arena) const {
    const AdaptiveConvShape& s = stage.s;
    T* patches = arena.take<T>(rows_at_once(s) * kTile<T>);
    T* gu_tile = arena.take<T>(channels_at_once(s) * kTile<T>);
    int32_t* rows = arena.take<int32_t>(rows_at_once(s));
    const int count = list_rows(s, segment, channel, channels, rows);
    const int64_t blocks = (s.features + kFeatureBlock - 1) / kFeatureBlock;
    for (int t = 0; t < segment.tiles && count > 0; ++t) {
      const int tile = segment.first_tile + t;
      const int64_t at = tile * s.features * kTile<T>;
      gather_patches<kTile<T>>(s, stage.plan, tile, stage.x, channel, channels, segment.taps,
                               segment.tap_count, patches);
      gather<kTile<T>>(stage.plan, tile, gu, channel, channels, gu_tile);
      T* to = gx_tiles + tile * rows_at_once(s) * kTile<T>;
      stage.for_each_block(segment, channels, [&](int64_t c, int64_t begin, int size) {
        regress_and_differentiate_of<T>(size)(
            stage.P, stage.q, rows + begin, s.features, d_tiles + at, gu_tile + c * kTile<T>,
            patches + begin * kTile<T>, static_cast<T>(s.negative_slope), to + begin * kTile<T>,
            factors(tile) + begin * kSegmentPixels<T>);
      });
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t k = s.features * block / blocks, end = s.features * (block + 1) / blocks;
        feature_gradients_of<T>(static_cast<int>(end - k))(
            stage.P + k, s.features, rows, count, factors(tile), gd_tiles + at + k * kTile<T>);
      }
    }
  }

  // Adds up gx, gP and gq of the channels from first to last of a block.
  void collect(int64_t channel, int64_t first, int64_t last, Arena arena) const {
    const AdaptiveConvShape& s = stage.s;
    if (gx.data != nullptr) {
      scatter_add_band<kTile<T>>(s, stage.plan, gx, channel + first, first, gx_tiles,
                                 rows_at_once(s), last - first);
    }
    if (gP == nullptr) return;
    int32_t* rows = arena.take<int32_t>(rows_at_once(s));
    T* totals = arena.take<T>(rows_at_once(s) * kLanes<T>);  // gq, before lanes are summed
    zero(totals, rows_at_once(s) * kLanes<T>);
    const int64_t first_row = (channel + first) * s.taps();
    // A panel of features stays in the first cache.
    constexpr int64_t kPanelBytes = 24 * 1024;
    const int64_t tile_bytes = panels.width(0) * kTile<T> * sizeof(T);
    const int64_t step = clamp<int64_t>(kPanelBytes / tile_bytes, 1, kSegmentTiles);
    for (int i = 0; i < stage.plan.segment_count; ++i) {
      const Segment& segment = stage.plan.segments[i];
      const int count = list_rows(s, segment, channel + first, last - first, rows);
      const int64_t end = segment.first_tile + segment.tiles;
      int64_t tiles;
      for (int64_t tile = segment.first_tile; tile < end; tile += tiles) {
        tiles = min(min(step, end - tile), kSegmentTiles - tile % kSegmentTiles);
        const T* g = factors(tile) + first * segment.tap_count * kSegmentPixels<T>;
        add_weight_gradients(tile, tiles, rows, count, g);
        for (int row = 0; row < count; ++row) {
          T* total = totals + (rows[row] - first_row) * kLanes<T>;
          for (int64_t p = 0; p < tiles * kTile<T>; p += kLanes<T>) {
            store(total, load(total) + load(g + row * kSegmentPixels<T> + p));
          }
        }
      }
    }
    for (int64_t row = 0; row < (last - first) * s.taps() && gq != nullptr; ++row) {
      gq[first_row + row] += sum<T>(load(totals + row * kLanes<T>));
    }
  }

  // Adds the products of the factors of some tiles with their features to gP.
  void add_weight_gradients(int64_t tile, int64_t tiles, const int32_t* rows, int count,
                            const T* g) const {
    const int64_t features = stage.s.features;
    for (int64_t k = 0; k < features; k += panels.width(k)) {
      const int vectors = panels.vectors(k), most = gradient_block(vectors);
      const int blocks = (count + most - 1) / most;
      for (int block = 0; block < blocks; ++block) {
        const int begin = count * block / blocks, end = count * (block + 1) / blocks;
        weight_gradients_of<T>(end - begin, vectors)(g + begin * kSegmentPixels<T>,
                                                     panels.at(tile, k), tiles * kTile<T>,
                                                     rows + begin, features, features - k, gP + k);
      }
    }
  }
};

}  // namespace adaconv::ADACONV_VARIANT::separable
