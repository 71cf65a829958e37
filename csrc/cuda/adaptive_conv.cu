// Launches of the kernels of adaptive convolution.
#include "adaptive_conv.cuh"
#include "interface.h"

namespace adaconv::cuda::adaptive_conv {

namespace {

template <class T>
Picture<T> picture_of(const Tensor& tensor) {
  return {static_cast<T*>(tensor.data), tensor.strides[0], tensor.strides[1], tensor.strides[2],
          tensor.strides[3]};
}

template <class T>
const T* numbers_of(const Tensor& tensor) {
  return static_cast<const T*>(tensor.data);
}

}  // namespace

}  // namespace adaconv::cuda::adaptive_conv

using namespace adaconv::cuda;
using namespace adaconv::cuda::adaptive_conv;

// y (N, O, OH, OW) of x (N, C, H, W), d (N OH OW, D), P (O, C kh kw, D), q (C kh kw, O) or nothing,
// and b (N, O, OH, OW) or nothing; d, P and q contiguous. The options are kh, kw, and of the rows
// and columns stride, padding and dilation.
ADACONV_CUDA_FUNCTION const char* adaconv_adaptive_conv_forward(int type, const Tensor* x,
                                                                const Tensor* d, const Tensor* P,
                                                                const Tensor* q, const Tensor* b,
                                                                const int* options, float slope,
                                                                const Tensor* y, Stream stream) {
  const Geometry geometry = {static_cast<int>(x->sizes[2]),
                             static_cast<int>(x->sizes[3]),
                             static_cast<int>(y->sizes[2]),
                             static_cast<int>(y->sizes[3]),
                             options[0],
                             options[1],
                             options[2],
                             options[3],
                             options[4],
                             options[5],
                             options[6],
                             options[7]};
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    const Call<T> call = {picture_of<const T>(*x),
                          numbers_of<T>(*d),
                          numbers_of<T>(*P),
                          numbers_of<T>(*q),
                          picture_of<const T>(*b),
                          picture_of<T>(*y),
                          geometry,
                          d->sizes[0],
                          static_cast<int>(P->sizes[1]),
                          static_cast<int>(P->sizes[0]),
                          static_cast<int>(P->sizes[2]),
                          slope};
    const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(call.pixels, kPixels)),
                    ceil_div(call.outputs, kOutputs));
    return launch(forward_kernel<T>, grid, kThreads, forward_shared_bytes<T>(call.size), stream,
                  call);
  });
}
