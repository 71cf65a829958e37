// The gradients of P and q of adaptive convolution; adaptive_conv_launch.cuh says what the
// arguments are.
#include "adaptive_conv_backward_weights.cuh"
#include "adaptive_conv_launch.cuh"
#include "sum.cuh"

namespace adaconv::cuda::adaptive_conv {

namespace {

template <class T, int kOutputs>
dim3 weights_grid(int64_t pixels, const Tensor& P, const int* options) {
  using C = Columns<kOutputs>;
  const int64_t groups = options[kGroups], chunks = ceil_div<int64_t>(P.sizes[2], kFeatures<T>);
  const int64_t blocks = groups * ceil_div<int64_t>(P.sizes[0] / groups, kOutputs) * chunks;
  const int warps = C::tap_blocks(static_cast<int>(P.sizes[1])),
            tiles = ceil_div(warps, kTapBlocks);
  const int runs = runs_of(tiles * blocks, ceil_div<int64_t>(pixels, kPixels), options);
  return dim3(tiles, static_cast<unsigned>(blocks), runs);
}

}  // namespace

}  // namespace adaconv::cuda::adaptive_conv

using namespace adaconv::cuda;
using namespace adaconv::cuda::adaptive_conv;

// The scratch memory of the function below; P is looked at for its sizes alone.
ADACONV_CUDA_FUNCTION int64_t adaconv_adaptive_conv_backward_weights_scratch(int type,
                                                                             int64_t pixels,
                                                                             const Tensor* P,
                                                                             const int* options) {
  return bytes_of(type, *P, options, [&](auto typed, auto outputs) {
    using T = typename decltype(typed)::type;
    const int64_t runs = weights_grid<T, outputs()>(pixels, *P, options).z;
    return runs * P->sizes[0] * P->sizes[1] * (P->sizes[2] + 1);
  });
}

// gP (O, C / groups * kh * kw, D) and gq (O, C / groups * kh * kw), contiguous; gq may be missing.
// Of P the sizes alone are looked at.
//
// The samples may be given a part at a time, all of which have so many `pixels`: then `continues`
// is 0 for the first part alone, gP and gq are missing for all but the last, and scratch keeps the
// sums in between.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_conv_backward_weights(
    int type, const Tensor* gy, const Tensor* x, const Tensor* d, const Tensor* P,
    const void* signs, const int* options, float slope, int64_t pixels, int continues,
    const Tensor* gP, const Tensor* gq, void* scratch, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, {}, options)) return reason;
  if (const char* reason = refusal_of_gy(*gy, *d, *P)) return reason;
  const int64_t group_outputs = P->sizes[0] / options[kGroups];
  return by_kernel(type, options, group_outputs, [&](auto typed, auto terms, auto outputs) {
    using T = typename decltype(typed)::type;
    using Tiles = WeightsTile<T, outputs()>;
    static_assert(Tiles::bytes() <= kSharedMemory);
    const Call<T> call = call_of<T>(*x, *d, *P, {}, options, slope);
    const dim3 grid = weights_grid<T, outputs()>(pixels, *P, options);
    const int runs = static_cast<int>(grid.z);
    const int64_t rows = P->sizes[0] * P->sizes[1], numbers = rows * P->sizes[2];
    float* parts = static_cast<float*>(scratch);
    const Weights<T> to = {matrix_of<T>(gy->data, call.outputs, group_outputs),
                           static_cast<const uint8_t*>(signs), parts, parts + runs * numbers,
                           continues != 0};
    const char* reason = launch(weights_kernel<T, terms(), outputs()>, grid, kThreads,
                                Tiles::bytes(), stream, call, to);
    return by_width<T>(options, [&](auto wide) {
      using X = typename decltype(wide)::type;
      if (reason == nullptr && gP->data != nullptr) {
        reason = add_up<X>(to.P, runs, numbers, gP->data, stream);
      }
      if (reason != nullptr || gq->data == nullptr) return reason;
      return add_up<X>(to.q, runs, rows, gq->data, stream);
    });
  });
}
