// The forward pass of local adaptive convolution; local_adaptive_launch.cuh says what the arguments
// are.
#include "local_adaptive_forward.cuh"
#include "local_adaptive_launch.cuh"

namespace adaconv::cuda::local_adaptive {

namespace {

// What belongs to a chunk.
template <class T>
struct Memory {
  Plan plan;
  T* W;
  float* Z;

  Memory(Scratch& scratch, const Chunk<T>& all, const int* options)
      : plan(plan_of(all, options, all.grid.slots() * sizeof(float), 0)),
        W(scratch.take<T>(plan.points * plan.outputs * all.taps())),
        Z(scratch.take<float>(plan.points * plan.outputs * all.grid.slots())) {}
};

}  // namespace

}  // namespace adaconv::cuda::local_adaptive

using namespace adaconv::cuda;
using namespace adaconv::cuda::local_adaptive;

// The scratch memory of the function below; the tensors are looked at for their sizes alone.
ADACONV_CUDA_FUNCTION int64_t
adaconv_local_adaptive_forward_scratch(int type, const Tensor* x, const Tensor* d, const Tensor* P,
                                       const Tensor* a, const int* options, const Tensor*) {
  Scratch scratch(nullptr);
  by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    Memory<T>(scratch, call_of<T>({}, *x, *d, *P, {}, *a, options, 0), options);
    return static_cast<const char*>(nullptr);
  });
  return scratch.bytes();
}

// Adds to y, (N, O, OH, OW), of float32.
ADACONV_CUDA_FUNCTION const char* adaconv_local_adaptive_forward(
    int type, const Tensor* x, const Tensor* d, const Tensor* P, const Tensor* q, const Tensor* a,
    const int* options, float slope, const Tensor* y, void* scratch, Stream stream) {
  if (const char* reason = refusal(*x, *d, *P, *q, *a, options)) return reason;
  if (const char* reason = refusal_of_y(*y, *P, *a)) return reason;
  return by_terms(type, options, [&](auto typed, auto terms) {
    using T = typename decltype(typed)::type;
    const Chunk<T> all = call_of<T>({}, *x, *d, *P, *q, *a, options, slope);
    Scratch pieces(scratch);
    const Memory<T> memory(pieces, all, options);
    return for_each_chunk(all, memory.plan, [&](Chunk<T> chunk) {
      chunk.W = memory.W;
      const char* reason = product::start<terms()>(Regress<T>(chunk), 1, 1, 1, stream);
      if (reason == nullptr) {
        reason = product::start<terms()>(Apply<T>(chunk, memory.Z), chunk.points, chunk.groups(), 1,
                                         stream);
      }
      if (reason != nullptr) return reason;
      const Pixels pixels = pixels_of(chunk, true);
      return start_each(mix_kernel<T>, pixels.count() * chunk.outputs, stream, chunk, memory.Z,
                        static_cast<float*>(y->data) + chunk.output, pixels.start, pixels.stop);
    });
  });
}
