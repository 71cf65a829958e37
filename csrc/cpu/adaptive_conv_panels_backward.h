// Backward pass of adaptive convolution by panels of bf16 pairs; the formulas are those of
// adaptive_conv_backward.h.
#pragma once

#include "adaptive_conv_panels_inputs.h"
#include "adaptive_conv_panels_weights.h"

#if ADACONV_PANELS

namespace adaconv::ADACONV_VARIANT::panels {

template <class S, int kTerms>
void differentiate(const Band<S, kTerms>& band, const SignBits<const uint8_t>& signs,
                   const Part& part, const Arenas& arenas) {
  if (band.call.gx.data != nullptr) {
    const InputGradients<S, kTerms> gradients{band};
    const auto pack = [&](const Block& block, int64_t slot, int64_t row) {
      gradients.pack(block, slot, row);
    };
    band.inputs(part, pack, [&](const Segment& segment, const Block& block, int64_t slot) {
      gradients.differentiate_inputs(signs, segment, block, slot, arenas.mine());
    });
  }
  if (band.call.gP != nullptr) WeightGradients<S, kTerms>{band}.weights(signs, part, arenas);
}

// The same without saved bits: a few weights at a time, in `bits`.
template <class S, int kTerms>
void differentiate_by_rounds(const Band<S, kTerms>& band, uint8_t* bits, const Rounds& rounds,
                             const Arenas& arenas) {
  const AdaptiveConvBackward<S>& call = band.call;
  const AdaptiveConvForward<S> again{call.shape, call.x, call.d, {}, call.P, call.q, {}, nullptr};
  for (int64_t round = 0; round < rounds.count(); ++round) {
    const Part part = rounds.part(round);
    const SignBits<uint8_t> to(call.shape, part, bits);
    forward_band<S, kTerms>(again, band.plan, part, to, arenas);
    differentiate(band, {call.shape, part, bits}, part, arenas);
  }
}

template <class S, int kTerms>
void backward(const AdaptiveConvBackward<S>& call) {
  const AdaptiveConvShape& s = call.shape;
  const Bands bands = cut_into_bands(s, kBandPixels, kPixels);
  const Part all = Part::whole(s);
  const Slots slots = Band<S, kTerms>::slots_of(s, bands.tiles);
  const Arenas shared(Band<S, kTerms>::bytes(s, bands.tiles), 1);
  size_t scratch = InputGradients<S, kTerms>::input_scratch_bytes(s);
  for (size_t more : {WeightGradients<S, kTerms>::weight_scratch_bytes(s),
                      ForwardTask<S, kTerms>::scratch_bytes(s)}) {
    if (scratch < more) scratch = more;
  }
  const Arenas arenas(scratch);
  const int64_t channel_bytes = bands.tiles * blocks(s.group_out(), 2) * s.taps() * kSignBytes;
  const Rounds rounds(s, channel_bytes, slots.channels);
  const Arenas bits(call.signs == nullptr ? rounds.bytes() : 1, 1);
  clear_weight_gradients(call);
  for (int64_t i = 0; i < bands.count; ++i) {
    const int64_t first = i * bands.band_rows;
    const Plan plan = make_plan(s, first, min(first + bands.band_rows, bands.rows), kPixels,
                                segment_tiles(bands.tiles * slots.count, kSegmentTiles));
    const Band<S, kTerms> band(call, plan, slots, shared.first());
    band.pack();
    if (call.signs == nullptr) {
      differentiate_by_rounds(band, bits.first().take<uint8_t>(rounds.bytes()), rounds, arenas);
    } else {
      const SignBits<const uint8_t> saved(s, all, call.signs);
      differentiate(band, {s, all, call.signs + i * bands.tiles * saved.tile_step()}, all, arenas);
    }
    if (call.gd.data != nullptr) band.unpack();
  }
}

}  // namespace adaconv::ADACONV_VARIANT::panels

#endif
