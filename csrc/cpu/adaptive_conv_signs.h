// The sign bits of the regressed weights, as the backward pass reads them: saved by the forward
// pass for a whole call, or recomputed for a part of the weights of one band at a time.
#pragma once

#include "adaptive_conv_forward.h"

namespace adaconv::ADACONV_VARIANT {

// A part of the weights: some channels of one group, or all channels of several groups.
struct Part {
  int64_t first_group, groups, channel, channels;

  static Part whole(const AdaptiveConvShape& s) { return {0, s.groups, 0, s.group_in()}; }

  int64_t first_out(const AdaptiveConvShape& s) const { return first_group * s.group_out(); }
  int64_t outputs(const AdaptiveConvShape& s) const { return groups * s.group_out(); }
  int64_t rows(const AdaptiveConvShape& s) const { return channels * s.taps(); }
};

// Bits of the weights of a part for the tiles of a band: [tile][output][weight].
template <class T>
struct SignBits {
  const uint8_t* first;
  int64_t first_out, outputs, first_row, rows;

  SignBits(const AdaptiveConvShape& s, const Part& part, const uint8_t* first_)
      : first(first_),
        first_out(part.first_out(s)),
        outputs(part.outputs(s)),
        first_row(part.channel * s.taps()),
        rows(part.rows(s)) {}

  int64_t output_step() const { return rows * kSignBytes<T>; }

  int64_t offset(int64_t tile, int64_t output, int64_t row) const {
    return ((tile * outputs + output - first_out) * rows + row - first_row) * kSignBytes<T>;
  }
  const uint8_t* at(int64_t tile, int64_t output, int64_t row) const {
    return first + offset(tile, output, row);
  }
};

// The parts whose bits are recomputed together, so that they take a few MiB: of a band in which the
// bits of a channel of one group take `channel_bytes`. Their channels are multiples of `block`,
// those that the passes take at a time.
class Rounds {
 public:
  Rounds(const AdaptiveConvShape& s, int64_t channel_bytes, int64_t block)
      : s_(s), channel_bytes_(channel_bytes) {
    constexpr int64_t kBytes = 8 << 20;
    channels_ =
        min(clamp<int64_t>(kBytes / channel_bytes / block, 1, s.group_in()) * block, s.group_in());
    const int64_t group_bytes = channel_bytes * s.group_in();
    groups_ = channels_ < s.group_in() ? 1 : clamp<int64_t>(kBytes / group_bytes, 1, s.groups);
  }

  int64_t count() const { return (s_.groups + groups_ - 1) / groups_ * a_group(); }
  size_t bytes() const { return groups_ * channels_ * channel_bytes_; }

  Part part(int64_t index) const {
    const int64_t group = index / a_group() * groups_, channel = index % a_group() * channels_;
    return {group, min(groups_, s_.groups - group), channel,
            min(channels_, s_.group_in() - channel)};
  }

 private:
  int64_t a_group() const { return (s_.group_in() + channels_ - 1) / channels_; }

  const AdaptiveConvShape& s_;
  int64_t channel_bytes_, channels_, groups_;  // of a round
};

// Writes the bits of a part for one segment and some outputs of one group,
// from the packed features of the segment's tiles.
template <class T>
void recompute_signs(const AdaptiveConvBackward<T>& call, const Segment& segment, const Part& part,
                     const Outputs& outputs, const T* d, int64_t d_step, uint8_t* first,
                     Arena arena) {
  const AdaptiveConvShape& s = call.shape;
  const SignBits<T> bits(s, part, first);
  int32_t* rows = arena.take<int32_t>(channel_block(s) * s.taps());
  const int64_t end = part.channel + part.channels;
  for (int64_t c = part.channel; c < end; c += channel_block(s)) {
    const int count = list_rows(s, segment, c, min(channel_block(s), end - c), rows);
    const int blocks = (count + kRowBlock - 1) / kRowBlock;
    for (int64_t o = outputs.first; o < outputs.last; ++o) {
      const T* P = call.P + o * s.rows() * s.features;
      const T* q = call.q == nullptr ? nullptr : call.q + o * s.rows();
      for (int tile = 0; tile < segment.tiles; ++tile) {
        uint8_t* to = first + bits.offset(segment.first_tile + tile, o, bits.first_row);
        for (int block = 0; block < blocks; ++block) {
          const int begin = count * block / blocks, size = count * (block + 1) / blocks - begin;
          sign_weights_of<T>(size)(P, q, rows + begin, s.features, d + tile * d_step,
                                   bits.first_row, to);
        }
      }
    }
  }
}

}  // namespace adaconv::ADACONV_VARIANT
