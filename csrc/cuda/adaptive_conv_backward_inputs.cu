// The gradients of x and d of adaptive convolution; adaptive_conv_launch.cuh says what the
// arguments are.
#include "adaptive_conv_backward_inputs.cuh"
#include "adaptive_conv_launch.cuh"
#include "sum.cuh"

namespace adaconv::cuda::adaptive_conv {

namespace {

// The kernel's grid, and the sizes of what it writes.
struct InputsPlan {
  int64_t groups, tiles, chunks;
  int runs;
  int64_t columns, parts;  // numbers

  dim3 grid() const {
    return dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(groups),
                static_cast<unsigned>(runs * chunks));
  }
};

template <class T, int kOutputs>
InputsPlan inputs_plan(int64_t pixels, const Tensor& P, const int* options) {
  const int64_t groups = options[kGroups], features = P.sizes[2];
  const int64_t tiles = ceil_div<int64_t>(pixels, kPixels);
  const int64_t chunks = ceil_div<int64_t>(features, kFeatures<T>);
  const int steps = Columns<kOutputs>::tap_blocks(static_cast<int>(P.sizes[1]));
  const int runs = runs_of(tiles * groups * chunks, steps, options);
  return {groups,
          tiles,
          chunks,
          runs,
          chunks * groups * P.sizes[1] * pixels,
          runs * groups * features * pixels};
}

}  // namespace

}  // namespace adaconv::cuda::adaptive_conv

using namespace adaconv::cuda;
using namespace adaconv::cuda::adaptive_conv;

// The scratch memory of the function below; P is looked at for its sizes alone.
ADACONV_CUDA_FUNCTION int64_t adaconv_adaptive_conv_backward_inputs_scratch(int type,
                                                                            int64_t pixels,
                                                                            const Tensor* P,
                                                                            const int* options) {
  return bytes_of(type, *P, options, [&](auto typed, auto outputs) {
    using T = typename decltype(typed)::type;
    const InputsPlan plan = inputs_plan<T, outputs()>(pixels, *P, options);
    return plan.columns + plan.parts;
  });
}

// gx (N, C, H, W) and gd (N, D, OH, OW), with any strides; either may be missing.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_conv_backward_inputs(
    int type, const Tensor* gy, const Tensor* x, const Tensor* d, const Tensor* P, const Tensor* q,
    const void* signs, const int* options, float slope, const Tensor* gx, const Tensor* gd,
    void* scratch, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, *q, options)) return reason;
  if (const char* reason = refusal_of_gy(*gy, *d, *P)) return reason;
  if (d->sizes[0] == 0) return nullptr;
  const int64_t group_outputs = P->sizes[0] / options[kGroups];
  return by_kernel(type, options, group_outputs, [&](auto typed, auto terms, auto outputs) {
    using T = typename decltype(typed)::type;
    using Tiles = InputsTiles<T, outputs()>;
    static_assert(Tiles::bytes(Tiles::gy::kMost * outputs()) <= kSharedMemory);
    const Call<T> call = call_of<T>(*x, *d, *P, *q, options, slope);
    const InputsPlan plan = inputs_plan<T, outputs()>(call.pixels, *P, options);
    float* columns = static_cast<float*>(scratch);
    const Inputs<T> to = {matrix_of<T>(gy->data, call.outputs, group_outputs),
                          static_cast<const uint8_t*>(signs), columns, columns + plan.columns};
    const char* reason = launch(inputs_kernel<T, terms(), outputs()>, plan.grid(), kThreads,
                                Tiles::bytes(call.group_outputs), stream, call, to);
    return by_width<T>(options, [&](auto wide) {
      using X = typename decltype(wide)::type;
      if (reason == nullptr && gd->data != nullptr) {
        reason = add_up<X>({to.parts,
                            static_cast<int>(plan.runs * plan.groups),
                            call.features,
                            call.pixels,
                            {},
                            picture_of<X>(*gd),
                            call.geometry.out_height,
                            call.geometry.out_width},
                           stream);
      }
      if (reason != nullptr || gx->data == nullptr) return reason;
      const int64_t inputs = x->sizes[0] * x->sizes[2] * x->sizes[3];
      const Gather<X> gather = {
          columns,      static_cast<int>(plan.chunks), inputs, call.pixels, picture_of<X>(*gx),
          call.geometry};
      const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(inputs, kGatherThreads)),
                      static_cast<unsigned>(x->sizes[1]));
      return launch(gather_kernel<X>, grid, kGatherThreads, 0, stream, gather);
    });
  });
}
