// Launches of the kernels of minibatch discrimination.
#include "interface.h"
#include "minibatch_discrimination.cuh"

namespace adaconv::cuda::minibatch_discrimination {

namespace {

template <class T>
Set<T> set_of(const Tensor& tensor) {
  return {static_cast<T*>(tensor.data), tensor.strides[0], tensor.strides[1], tensor.strides[2],
          tensor.sizes[0]};
}

template <class T>
Column<T> column_of(const Tensor& tensor) {
  return {static_cast<T*>(tensor.data), tensor.strides[0], tensor.strides[1]};
}

template <class T>
Call<T> call_of(const Tensor& A, const Tensor& B, const int64_t* skip) {
  return {set_of<const T>(A), set_of<const T>(B), static_cast<int>(A.sizes[1]),
          static_cast<int>(A.sizes[2]), skip == nullptr ? kSkipNothing : *skip};
}

// The chunk that C is cut into decides on the kernel: function(Size<kSize>()).
template <int kSize>
struct Size {
  static constexpr int value = kSize;
};

template <class Function>
const char* by_size(int size, const Function& function) {
  return size <= 8 ? function(Size<8>()) : function(Size<32>());
}

template <class T>
dim3 grid(const Call<T>& call, int chunks) {
  return dim3(static_cast<unsigned>(ceil_div<int64_t>(call.A.count, kRows)),
              ceil_div(call.measures, kMeasures), chunks);
}

}  // namespace

}  // namespace adaconv::cuda::minibatch_discrimination

using namespace adaconv::cuda;
using namespace adaconv::cuda::minibatch_discrimination;

// o (N, B) of A (N, B, C) and B (J, B, C), none of them empty but for J; without j = i + *skip.
ADACONV_CUDA_FUNCTION const char* adaconv_minibatch_discrimination_forward(
    int type, const Tensor* A, const Tensor* B, const int64_t* skip, const Tensor* o,
    Stream stream) {
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    const Call<T> call = call_of<T>(*A, *B, skip);
    return by_size(call.size, [&](auto size) {
      constexpr int kSize = decltype(size)::value;
      return launch(forward_kernel<T, kSize>, grid(call, 1), kThreads,
                    Pairs<T, kSize>::kSharedBytes, stream, call, column_of<T>(*o));
    });
  });
}

// gA (N, B, C) from g (N, B), the gradient of o(A, B), and h (J, B), that of o(B, A); either may be
// missing.
ADACONV_CUDA_FUNCTION const char* adaconv_minibatch_discrimination_backward(
    int type, const Tensor* A, const Tensor* B, const int64_t* skip, const Tensor* g,
    const Tensor* h, const Tensor* gA, Stream stream) {
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    const Call<T> call = call_of<T>(*A, *B, skip);
    return by_size(call.size, [&](auto size) {
      constexpr int kSize = decltype(size)::value;
      return launch(backward_kernel<T, kSize>, grid(call, ceil_div(call.size, kSize)), kThreads,
                    Pairs<T, kSize>::kSharedBytes, stream, call, column_of<const T>(*g),
                    column_of<const T>(*h), set_of<T>(*gA));
    });
  });
}
