// The forward pass of adaptive convolution; adaptive_conv_launch.cuh says what the arguments are.
#include "adaptive_conv_forward.cuh"
#include "adaptive_conv_launch.cuh"
#include "sum.cuh"

namespace adaconv::cuda::adaptive_conv {

namespace {

template <int kOutputs>
dim3 forward_grid(int64_t pixels, const Tensor& P, const int* options) {
  using C = Columns<kOutputs>;
  const int64_t groups = options[kGroups], tiles = ceil_div<int64_t>(pixels, kPixels);
  const int64_t blocks = groups * ceil_div<int64_t>(P.sizes[0] / groups, kOutputs);
  const int steps = C::tap_blocks(static_cast<int>(P.sizes[1]));
  const int runs = runs_of(tiles * blocks, steps, options);
  return dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(blocks), runs);
}

}  // namespace

}  // namespace adaconv::cuda::adaptive_conv

using namespace adaconv::cuda;
using namespace adaconv::cuda::adaptive_conv;

// The scratch memory of the function below; P is looked at for its sizes alone.
ADACONV_CUDA_FUNCTION int64_t adaconv_adaptive_conv_forward_scratch(int type, int64_t pixels,
                                                                    const Tensor* P,
                                                                    const int* options) {
  return bytes_of(type, *P, options, [&](auto, auto outputs) {
    const dim3 grid = forward_grid<outputs()>(pixels, *P, options);
    return grid.z == 1 ? 0 : int64_t{grid.z} * P->sizes[0] * pixels;
  });
}

// y (N, O, OH, OW) with any strides, of b likewise, which may be missing; and the bits, for the
// backward functions. Either of y and the bits may be missing: what is not there is not computed.
// So are bits made anew that were not kept.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_conv_forward(
    int type, const Tensor* x, const Tensor* d, const Tensor* P, const Tensor* q, const Tensor* b,
    const int* options, float slope, const Tensor* y, void* signs, void* scratch, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, *q, options)) return reason;
  if (d->sizes[0] == 0) return nullptr;
  const int64_t group_outputs = P->sizes[0] / options[kGroups];
  return by_kernel(type, options, group_outputs, [&](auto typed, auto terms, auto outputs) {
    using T = typename decltype(typed)::type;
    using Tiles = ForwardTiles<T>;
    static_assert(Tiles::bytes(Tiles::d::kMost * kFeatures<T>) <= kSharedMemory);
    const Call<T> call = call_of<T>(*x, *d, *P, *q, options, slope);
    const dim3 grid = forward_grid<outputs()>(call.pixels, *P, options);
    const bool apart = y->data != nullptr && grid.z > 1;
    const Forward<T> to = {picture_of<const T>(*b), picture_of<T>(*y),
                           apart ? static_cast<float*>(scratch) : nullptr,
                           static_cast<uint8_t*>(signs)};
    const char* reason = launch(forward_kernel<T, terms(), outputs()>, grid, kThreads,
                                Tiles::bytes(call.features), stream, call, to);
    if (reason != nullptr || !apart) return reason;
    return add_up<T>({to.parts, static_cast<int>(grid.z), call.outputs, call.pixels, to.b, to.y,
                      call.geometry.out_height, call.geometry.out_width},
                     stream);
  });
}
