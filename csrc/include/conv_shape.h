// Where a convolution's filters lie on its picture.
#pragma once

#include <cstdint>

namespace adaconv {

// The picture that is convolved is x enlarged `upsample` times: its pixel (i, j) is x's (i /
// upsample, j / upsample). It is never in memory.
struct ConvShape {
  int64_t batch, in_channels, height, width;  // of the enlarged picture
  int64_t kernel_h, kernel_w, out_height, out_width;
  int64_t stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  int64_t upsample;

  int64_t taps() const { return kernel_h * kernel_w; }
};

}  // namespace adaconv
