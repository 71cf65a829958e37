// The kernels of adaptive convolution for one instruction set; compiled once for each variant.
#include "adaptive_conv_backward.h"
#include "adaptive_conv_forward.h"
#include "adaptive_conv_panels_backward.h"
#include "adaptive_conv_panels_forward.h"

namespace adaconv::ADACONV_VARIANT {

template <class T>
static constexpr AdaptiveConvKernels<T> kTiles = {
    {kBandPixels, kTile<T>, 1, kSignBytes<T>}, &forward<T>, &backward<T>};

#if ADACONV_PANELS
template <class T, int kTerms>
static constexpr AdaptiveConvKernels<T> kPanels = {
    {kBandPixels, panels::kPixels, 2, panels::kSignBytes / 2},
    &panels::forward<T, kTerms>,
    &panels::backward<T, kTerms>};
#endif

static const AdaptiveConvKernels<float>* choose_f32(int64_t features, int64_t outputs, int terms) {
#if defined(__AMX_BF16__)
  // Blocks of 32 features and of 32 outputs must not be mostly padding.
  if (features >= 32 && outputs >= 16) {
    if (terms == 1) return &kPanels<float, 1>;
    if (terms == 2) return &kPanels<float, 2>;
  }
#endif
  (void)features, (void)outputs, (void)terms;
  return &kTiles<float>;
}

static const AdaptiveConvKernels<double>* choose_f64(int64_t, int64_t, int) {
  return &kTiles<double>;
}

static const AdaptiveConvKernels<Bf16>* choose_bf16(int64_t features, int64_t outputs, int) {
#if ADACONV_PANELS
  if (features >= 16 && outputs >= 8) return &kPanels<Bf16, 1>;
#endif
  (void)features, (void)outputs;
  return nullptr;
}

extern const AdaptiveConvChoices adaptive_conv = {&choose_f32, &choose_f64, &choose_bf16};

}  // namespace adaconv::ADACONV_VARIANT
