#include "adaptive_conv.h"

#include <stdexcept>
#include <string>

#include "binding.h"
#include "cpu/shared/variants.h"

namespace adaconv {

ADACONV_OF_EACH_VARIANT(AdaptiveConvChoices, adaptive_conv)

namespace {

AdaptiveConvShape shape_of(const std::array<int64_t, 4>& x, const std::array<int64_t, 5>& P,
                           const std::array<int64_t, 2>& out, const std::array<int64_t, 2>& stride,
                           const std::array<int64_t, 2>& padding,
                           const std::array<int64_t, 2>& dilation, int64_t groups, double slope,
                           int64_t upsample) {
  return {{x[0], x[1], x[2] * upsample, x[3] * upsample, P[2], P[3], out[0], out[1], stride[0],
           stride[1], padding[0], padding[1], dilation[0], dilation[1], upsample},
          P[0],
          P[4],
          groups,
          slope};
}

template <class T>
const AdaptiveConvKernels<T>* kernels(int64_t features, int64_t outputs, int terms) {
  return adaptive_conv().get<T>()(features, outputs, terms);
}

template <class T>
const AdaptiveConvKernels<T>& kernels(const AdaptiveConvShape& shape, int terms) {
  const auto* found = kernels<T>(shape.features, shape.group_out(), terms);
  if (found == nullptr) throw std::invalid_argument("no kernel for this shape and type");
  return *found;
}

template <class T>
void forward(const AdaptiveConvShape& shape, int terms, const TensorArgument& x,
             const TensorArgument& d, uintptr_t P, std::optional<uintptr_t> q,
             const TensorArgument& b, const TensorArgument& y, std::optional<uintptr_t> signs) {
  kernels<T>(shape, terms)
      .forward({shape, strided<const T>(x), strided<const T>(d), strided<const T>(b),
                pointer<const T>(P), pointer<const Sum<T>>(q), strided<T>(y),
                pointer<uint8_t>(signs)});
}

template <class T>
void backward(const AdaptiveConvShape& shape, int terms, const TensorArgument& gy,
              const TensorArgument& x, const TensorArgument& d, uintptr_t P,
              std::optional<uintptr_t> q, std::optional<uintptr_t> signs, const TensorArgument& gx,
              const TensorArgument& gd, std::optional<uintptr_t> gP, std::optional<uintptr_t> gq) {
  kernels<T>(shape, terms)
      .backward({shape, strided<const T>(gy), strided<const T>(x), strided<const T>(d),
                 pointer<const T>(P), pointer<const Sum<T>>(q), pointer<const uint8_t>(signs),
                 strided<Sum<T>>(gx), strided<Sum<T>>(gd), pointer<Sum<T>>(gP),
                 pointer<Sum<T>>(gq)});
}

// (band pixels, tile pixels, multiple of outputs, bytes of a row), or None where no kernel is.
template <class T>
std::optional<std::array<int64_t, 4>> sign_layout(int64_t features, int64_t outputs, int terms) {
  const auto* found = kernels<T>(features, outputs, terms);
  if (found == nullptr) return {};
  const SignLayout& signs = found->signs;
  return {{signs.band_pixels, signs.tile_pixels, signs.outputs, signs.row_bytes}};
}

template <class T>
void define(py::module_& module, const std::string& dtype) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def(("adaptive_conv_forward_" + dtype).c_str(), &forward<T>, release);
  module.def(("adaptive_conv_backward_" + dtype).c_str(), &backward<T>, release);
  module.def(("adaptive_conv_sign_layout_" + dtype).c_str(), &sign_layout<T>);
}

const Binding binding([](py::module_& module) {
  py::class_<AdaptiveConvShape>(module, "AdaptiveConvShape", py::module_local())
      .def(py::init(&shape_of));
  define<float>(module, "f32");
  define<double>(module, "f64");
  define<Bf16>(module, "bf16");
});

}  // namespace

}  // namespace adaconv
