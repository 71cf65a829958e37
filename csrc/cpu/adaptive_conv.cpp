// The kernels of adaptive convolution for one instruction set; compiled once for each variant.
#include "adaptive_conv_backward.h"
#include "adaptive_conv_forward.h"
#include "variants.h"

namespace adaconv::ADACONV_VARIANT {

template <class T>
static AdaptiveConvKernels<T> kernels() {
  return {&forward<T>, &backward<T>, {kBandPixels, kTile<T>, kSignBytes<T>}};
}

AdaptiveConvKernels<float> adaptive_conv_kernels_f32() { return kernels<float>(); }
AdaptiveConvKernels<double> adaptive_conv_kernels_f64() { return kernels<double>(); }

}  // namespace adaconv::ADACONV_VARIANT
