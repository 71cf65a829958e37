// The gradients of d, P and q of the first stage of separable adaptive convolution.
#include "adaptive_separable_gradients.cuh"
#include "adaptive_separable_launch.cuh"
#include "sum.cuh"

namespace adaconv::cuda::adaptive_separable {

namespace {

template <class T>
dim3 features_grid(int64_t pixels, const Tensor& P, const int* options) {
  const int64_t tiles = ceil_div<int64_t>(pixels, kPixels);
  const int64_t blocks = ceil_div<int64_t>(P.sizes[2], kWide<T>);
  const int64_t steps = C::output_blocks(static_cast<int>(P.sizes[0])) * P.sizes[1];
  return dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(blocks),
              runs_of(tiles * blocks, steps, options));
}

template <class T>
dim3 weights_grid(int64_t pixels, const Tensor& P, const int* options) {
  const int64_t columns = C::output_blocks(static_cast<int>(P.sizes[0])) * P.sizes[1];
  const int64_t blocks = ceil_div<int64_t>(P.sizes[2], kWide<T>);
  const int64_t steps = ceil_div<int64_t>(pixels, kPixels);
  return dim3(static_cast<unsigned>(columns), static_cast<unsigned>(blocks),
              runs_of(columns * blocks, steps, options));
}

Gradient gradient_of(const Tensor& gu, const void* signs) {
  return {picture_of<const float>(gu), static_cast<const uint8_t*>(signs)};
}

}  // namespace

}  // namespace adaconv::cuda::adaptive_separable

using namespace adaconv::cuda;
using namespace adaconv::cuda::adaptive_separable;

// The scratch memory of the functions below; P is looked at for its sizes alone.
ADACONV_CUDA_FUNCTION int64_t adaconv_adaptive_separable_features_scratch(int type, int64_t pixels,
                                                                          const Tensor* P,
                                                                          const int* options) {
  return bytes_of(type, *P, options, [&](auto typed, auto) {
    return features_grid<typename decltype(typed)::type>(pixels, *P, options).z * P->sizes[2] *
           pixels;
  });
}

ADACONV_CUDA_FUNCTION int64_t adaconv_adaptive_separable_weights_scratch(int type, int64_t pixels,
                                                                         const Tensor* P,
                                                                         const int* options) {
  return bytes_of(type, *P, options, [&](auto typed, auto) {
    return weights_grid<typename decltype(typed)::type>(pixels, *P, options).z * P->sizes[0] *
           P->sizes[1] * (P->sizes[2] + 1);
  });
}

// gd (N, D, OH, OW), with any strides: what the first stage gives it, and `more`, in float32, what
// the second does.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_separable_features(
    int type, const Tensor* gu, const Tensor* x, const Tensor* d, const Tensor* P,
    const void* signs, const int* options, float slope, const Tensor* more, const Tensor* gd,
    void* scratch, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, {}, options)) return reason;
  return by_product(type, options, [&](auto typed, auto terms) {
    using T = typename decltype(typed)::type;
    using Tiles = FeaturesTiles<T>;
    static_assert(Tiles::bytes() <= kSharedMemory);
    const Call<T> call = first_stage<T>(*x, *d, *P, {}, options, slope);
    const dim3 grid = features_grid<T>(call.pixels, *P, options);
    float* parts = static_cast<float*>(scratch);
    const Features to = {gradient_of(*gu, signs), parts};
    const char* reason =
        launch(features_kernel<T, terms()>, grid, kThreads, Tiles::bytes(), stream, call, to);
    if (reason != nullptr) return reason;
    return add_up<T, float>({parts, static_cast<int>(grid.z), call.features, call.pixels,
                             picture_of<const float>(*more), picture_of<T>(*gd),
                             call.geometry.out_height, call.geometry.out_width},
                            stream);
  });
}

// gP (C, kh * kw, D) and gq (C, kh * kw), contiguous; either may be missing. Of P the sizes alone
// are looked at.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_separable_weights(
    int type, const Tensor* gu, const Tensor* x, const Tensor* d, const Tensor* P,
    const void* signs, const int* options, float slope, const Tensor* gP, const Tensor* gq,
    void* scratch, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, {}, options)) return reason;
  return by_product(type, options, [&](auto typed, auto terms) {
    using T = typename decltype(typed)::type;
    using Tiles = WeightsTiles<T>;
    static_assert(Tiles::bytes() <= kSharedMemory);
    const Call<T> call = first_stage<T>(*x, *d, *P, {}, options, slope);
    const dim3 grid = weights_grid<T>(call.pixels, *P, options);
    const int runs = static_cast<int>(grid.z);
    const int64_t rows = P->sizes[0] * P->sizes[1], numbers = rows * P->sizes[2];
    float* parts = static_cast<float*>(scratch);
    const Weights to = {gradient_of(*gu, signs), parts, parts + runs * numbers};
    const char* reason =
        launch(weights_kernel<T, terms()>, grid, kThreads, Tiles::bytes(), stream, call, to);
    if (reason == nullptr && gP->data != nullptr) {
      reason = add_up<T>(to.P, runs, numbers, gP->data, stream);
    }
    if (reason != nullptr || gq->data == nullptr) return reason;
    return add_up<T>(to.q, runs, rows, gq->data, stream);
  });
}
