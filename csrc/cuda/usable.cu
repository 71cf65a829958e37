// Whether any kernel can start.
#include "interface.h"

namespace adaconv::cuda {

namespace {

__global__ void no_kernel() {}

}  // namespace

}  // namespace adaconv::cuda

// Null, or what the driver or the current device lacks.
ADACONV_CUDA_FUNCTION const char* adaconv_usable(int, adaconv::cuda::Stream) {
  return adaconv::cuda::usable(adaconv::cuda::no_kernel);
}
