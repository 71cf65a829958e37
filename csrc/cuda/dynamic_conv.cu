// Launches of the kernels of dynamic convolution.
#include "dynamic_conv.cuh"

namespace adaconv::cuda::dynamic_conv {

namespace {

// How channels fall into units: `filters` of w, and groups of the convolution.
struct Units {
  int count, filters, groups;  // of a unit

  Units(int64_t all_filters, int all_groups)
      : count(min(static_cast<int>(all_filters), all_groups)),
        filters(static_cast<int>(all_filters) / count),
        groups(all_groups / count) {}
};

// Of pictures x and y, and the rows' and columns' stride, padding and dilation.
Geometry geometry_of(const Tensor& x, const Tensor& w, const int* options) {
  const auto size = [](int64_t of) { return static_cast<int>(of); };
  return {size(x.sizes[2]),
          size(x.sizes[3]),
          size(w.sizes[5]),
          size(w.sizes[6]),
          size(w.sizes[3]),
          size(w.sizes[4]),
          options[0],
          options[1],
          options[2],
          options[3],
          options[4],
          options[5],
          1};
}

// (N, S, C / groups, kh, kw, OH, OW), with filters kept, or else channels.
template <class T>
Weights<T> weights_of(const Tensor& w, const Units& units, bool filters_kept) {
  const int64_t* s = w.strides;
  return {static_cast<T*>(w.data),
          s[0],
          units.filters * s[1],
          filters_kept ? s[1] : s[2],
          filters_kept ? s[2] : s[1],
          s[3],
          s[4],
          s[5],
          s[6]};
}

int64_t pixels_of(const Tensor& picture) {
  return picture.sizes[0] * picture.sizes[2] * picture.sizes[3];
}

template <class T, bool kTransposed, int kRows, bool kShared>
const char* start(const Sum<T>& call, int units, Stream stream) {
  const int rows = kShared ? call.groups : call.kept;
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(call.pixels, kWarp)),
                  units * (kShared ? call.kept : 1) * ceil_div(rows, kRows));
  return launch(sum_kernel<T, kTransposed, kRows, kShared>, grid, kThreads,
                sum_shared_bytes<kRows>(), stream, call);
}

template <class T, bool kTransposed>
const char* sum(const Tensor& source, const Tensor& w, const Tensor* b, const int* options,
                int groups, const Tensor& result, Stream stream) {
  const Units units(w.sizes[1], groups);
  const auto depth = static_cast<int>(w.sizes[2]);
  const Sum<T> call = {picture_of<const T>(source),
                       weights_of<const T>(w, units, !kTransposed),
                       b == nullptr ? Picture<const T>{} : picture_of<const T>(*b),
                       picture_of<T>(result),
                       geometry_of(kTransposed ? result : source, w, options),
                       pixels_of(result),
                       kTransposed ? depth : units.filters,
                       kTransposed ? units.filters : depth,
                       units.groups};
  if (units.groups > 1) return start<T, kTransposed, kMostRows, true>(call, units.count, stream);
  return call.kept > 1 ? start<T, kTransposed, kMostRows, false>(call, units.count, stream)
                       : start<T, kTransposed, 1, false>(call, units.count, stream);
}

template <int kRows, class T>
const char* start(const Products<T>& call, int units, Stream stream) {
  const int taps = call.depth * call.geometry.taps();
  const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(call.pixels, kThreads)),
                  units * ceil_div(call.filters, kRows), ceil_div(taps, kTaps));
  return launch(weight_kernel<T, kRows>, grid, kThreads, 0, stream, call);
}

}  // namespace

}  // namespace adaconv::cuda::dynamic_conv

using namespace adaconv::cuda;
using namespace adaconv::cuda::dynamic_conv;

// y (N, O, OH, OW) of x (N, C, H, W), w (N, S, C / groups, kh, kw, OH, OW) and b (N, O, OH, OW) or
// nothing. The options are of the rows and columns stride, padding and dilation. No y, no gradient
// is empty.
ADACONV_CUDA_FUNCTION const char* adaconv_dynamic_conv_forward(int type, const Tensor* x,
                                                               const Tensor* w, const Tensor* b,
                                                               const int* options, int groups,
                                                               const Tensor* y, Stream stream) {
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    return sum<T, false>(*x, *w, b, options, groups, *y, stream);
  });
}

// gx, the gradient of x.
ADACONV_CUDA_FUNCTION const char* adaconv_dynamic_conv_input(int type, const Tensor* gy,
                                                             const Tensor* w, const int* options,
                                                             int groups, const Tensor* gx,
                                                             Stream stream) {
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    return sum<T, true>(*gy, *w, nullptr, options, groups, *gx, stream);
  });
}

// gw, the gradient of w.
ADACONV_CUDA_FUNCTION const char* adaconv_dynamic_conv_weight(int type, const Tensor* gy,
                                                              const Tensor* x, const int* options,
                                                              int groups, const Tensor* gw,
                                                              Stream stream) {
  return by_type(type, [&](auto typed) {
    using T = typename decltype(typed)::type;
    const Units units(gw->sizes[1], groups);
    const Products<T> call = {picture_of<const T>(*gy),
                              picture_of<const T>(*x),
                              weights_of<T>(*gw, units, true),
                              geometry_of(*x, *gw, options),
                              pixels_of(*gy),
                              units.filters,
                              static_cast<int>(gw->sizes[2]),
                              units.groups};
    return units.filters > 1 ? start<kMostRows>(call, units.count, stream)
                             : start<1>(call, units.count, stream);
  });
}
