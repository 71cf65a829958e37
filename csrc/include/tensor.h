// Number types and tensors as they come from outside, shared by every native implementation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace adaconv {

struct Bf16 {
  uint16_t bits;
};

// The type that sums, and gradients until they are complete, are kept in.
template <class T>
struct SumOf {
  using type = T;
};
template <>
struct SumOf<Bf16> {
  using type = float;
};
template <class T>
using Sum = typename SumOf<T>::type;

// Something for each type of number that kernels are compiled for.
template <template <class> class Entry>
struct ByType {
  Entry<float> f32;
  Entry<double> f64;
  Entry<Bf16> bf16;

  template <class T>
  const Entry<T>& get() const {
    if constexpr (std::is_same_v<T, float>) return f32;
    if constexpr (std::is_same_v<T, double>) return f64;
    if constexpr (std::is_same_v<T, Bf16>) return bf16;
  }
};

// A tensor (N, C, H, W) with any strides, counted in elements.
template <class T>
struct Strided {
  T* data = nullptr;
  int64_t n = 0, c = 0, h = 0, w = 0;

  T* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + in * n + ic * c + ih * h + iw * w;
  }
};

}  // namespace adaconv
