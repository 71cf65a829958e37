// The first stage of separable adaptive convolution, and its gradient of x.
#include "adaptive_separable_launch.cuh"
#include "adaptive_separable_sums.cuh"

namespace adaconv::cuda::adaptive_separable {

namespace {

template <bool kTransposed, class T, class Terms>
const char* start(const Call<T>& call, const Sums<T, kTransposed>& sums, Terms, Stream stream) {
  using Tiles = SumsTiles<T, kTransposed>;
  static_assert(Tiles::bytes(4 * kFeatures<T>) <= kSharedMemory);
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(sums.pixels, kPixels)),
                  C::output_blocks(call.outputs));
  return launch(sums_kernel<T, Terms::value, kTransposed>, grid, kThreads,
                Tiles::bytes(call.features), stream, call, sums);
}

}  // namespace

}  // namespace adaconv::cuda::adaptive_separable

using namespace adaconv::cuda;
using namespace adaconv::cuda::adaptive_separable;

// u (N, C, OH, OW) in float32, with any strides, and the bits; either may be missing.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_separable_forward(
    int type, const Tensor* x, const Tensor* d, const Tensor* P, const Tensor* q,
    const int* options, float slope, const Tensor* u, void* signs, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, *q, options)) return reason;
  return by_product(type, options, [&](auto typed, auto terms) {
    using T = typename decltype(typed)::type;
    const Call<T> call = first_stage<T>(*x, *d, *P, *q, options, slope);
    return start<false>(
        call, {call.x.picture, picture_of<float>(*u), call.pixels, static_cast<uint8_t*>(signs)},
        terms, stream);
  });
}

// gx (N, C, H, W), with any strides. x is looked at for its sizes alone.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_separable_input(
    int type, const Tensor* gu, const Tensor* x, const Tensor* d, const Tensor* P, const Tensor* q,
    const int* options, float slope, const Tensor* gx, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, *q, options)) return reason;
  return by_product(type, options, [&](auto typed, auto terms) {
    using T = typename decltype(typed)::type;
    const Call<T> call = first_stage<T>(*x, *d, *P, *q, options, slope);
    const int64_t inputs = x->sizes[0] * x->sizes[2] * x->sizes[3];
    return start<true>(call, {picture_of<const float>(*gu), picture_of<T>(*gx), inputs, nullptr},
                       terms, stream);
  });
}
