// Sums of what several blocks have made, in a fixed order.
#pragma once

#include "picture.cuh"

namespace adaconv::cuda {

constexpr int kSumThreads = 256;

// Parts that lie one behind the other as (parts, channels, pixels), to be added up to a picture,
// and to another of type M where there is one.
template <class T, class M = T>
struct Sum {
  const float* parts;
  int count;
  int64_t channels, pixels;
  Picture<const M> more;
  Picture<T> to;
  int height, width;
};

// Grid (tiles of channels * pixels).
template <class T, class M>
__global__ void __launch_bounds__(kSumThreads) sum_kernel(Sum<T, M> sum) {
  const int64_t size = sum.channels * sum.pixels;
  const int64_t i = int64_t{blockIdx.x} * kSumThreads + threadIdx.x;
  if (i >= size) return;
  float total = 0;
  for (int part = 0; part < sum.count; ++part) total += load(sum.parts + part * size + i);
  const int64_t channel = i / sum.pixels;
  const Pixel at = pixel_of(i % sum.pixels, sum.height, sum.width);
  if (sum.more.data != nullptr) {
    total += to_float(load(sum.more.at(at.n, channel, at.h, at.w)));
  }
  store(sum.to.at(at.n, channel, at.h, at.w), from_float<T>(total));
}

template <class T, class M = T>
const char* add_up(const Sum<T, M>& sum, Stream stream) {
  const int64_t blocks = ceil_div<int64_t>(sum.channels * sum.pixels, kSumThreads);
  return launch(sum_kernel<T, M>, dim3(static_cast<unsigned>(blocks)), kSumThreads, 0, stream, sum);
}

// Adds up parts of `size` numbers to numbers that lie one behind the other.
template <class T>
const char* add_up(const float* parts, int count, int64_t size, void* to, Stream stream) {
  return add_up<T>({parts, count, 1, size, {}, {static_cast<T*>(to), 1, 0, 0, 0}, 1, 1}, stream);
}

// Adds parts of `size` numbers to totals, which lie likewise.
inline const char* add_to(const float* parts, int count, int64_t size, float* totals,
                          Stream stream) {
  const Picture<float> to = {totals, 1, 0, 0, 0};
  return add_up<float>({parts, count, 1, size, {totals, 1, 0, 0, 0}, to, 1, 1}, stream);
}

}  // namespace adaconv::cuda
