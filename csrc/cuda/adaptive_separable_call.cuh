// What the kernels of separable adaptive convolution share.
//
// The second, pointwise stage is adaptive convolution with a kernel of one tap, and is computed by
// its kernels: of x they read u, in float32, and so is what they give back. Those of the first,
// depthwise stage are here. With c a channel, t a tap, p a pixel of the output:
//
//   forward   z[p,c,t]  = sum_k d[p,k] P[c,t,k] + q[t,c]
//             u[p,c]    = sum_t act(z[p,c,t]) x[p+t,c]          and whether z is positive, a bit
//   input     gx[i,c]   = sum_t act(z[p,c,t]) gu[p,c]           of the p with p + t = i
//   features  v[p,c,t]  = act'(z[p,c,t]) gu[p,c] x[p+t,c]       of the bit alone
//             gd[p,k]   = sum_{c,t} v[p,c,t] P[c,t,k]
//   weights   gP[c,t,k] = sum_p v[p,c,t] d[p,k],   gq[c,t] = sum_p v[p,c,t]
//
// The columns of a product are 32 channels at one tap: to Call, Columns and the bits, the channels
// are the outputs of a single group. Each product is on the tensor cores; z lives in registers and
// v in shared memory.
#pragma once

#include "adaptive_conv_call.cuh"

namespace adaconv::cuda::adaptive_separable {

using namespace adaptive_conv;

using C = Columns<32>;
constexpr int kChannels = C::kCount;                    // of a block
constexpr int kShare = kChannels * kPixels / kThreads;  // of which a thread takes, for one pixel

// The place of this thread's share in a tile: a pixel, and channels from one on.
struct Share {
  int pixel, channel;
};
__device__ __forceinline__ Share share() {
  const auto thread = static_cast<int>(threadIdx.x);
  return {thread % kPixels, thread / kPixels * kShare};
}

// Loads numbers of a picture's pixel, of channels from `first` on; zeros from `end` on, and
// outside.
template <class T>
__device__ __forceinline__ void load_share(float (&numbers)[kShare], const Picture<const T>& from,
                                           const Pixel& at, bool inside, int first, int end) {
#pragma unroll
  for (int i = 0; i < kShare; ++i) {
    numbers[i] = inside && first + i < end ? from.read(at.n, first + i, at.h, at.w) : 0;
  }
}

}  // namespace adaconv::cuda::adaptive_separable
