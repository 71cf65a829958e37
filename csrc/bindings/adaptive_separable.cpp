#include "adaptive_separable.h"

#include <string>

#include "binding.h"
#include "cpu/shared/variants.h"

namespace adaconv {

ADACONV_OF_EACH_VARIANT(AdaptiveSeparableKernelsByType, adaptive_separable)

namespace {

using Address = std::optional<uintptr_t>;

AdaptiveSeparableShape shape_of(const AdaptiveConvShape& depthwise, int64_t out_channels,
                                int64_t groups, const std::array<int64_t, 2>& piece, int terms) {
  return {depthwise, out_channels, groups, piece[0], piece[1], terms};
}

template <class T>
void forward(const AdaptiveSeparableShape& shape, const TensorArgument& x, const TensorArgument& d,
             Address P1, Address q1, Address P2, Address q2, const TensorArgument& b,
             const TensorArgument& u, const TensorArgument& y, Address signs) {
  adaptive_separable().get<T>().forward(
      {shape, strided<const T>(x), strided<const T>(d), strided<const T>(b), pointer<const T>(P1),
       pointer<const T>(q1), pointer<const T>(P2), pointer<const T>(q2), strided<T>(u),
       strided<T>(y), pointer<uint8_t>(signs)});
}

template <class T>
void backward(const AdaptiveSeparableShape& shape, const TensorArgument& gy,
              const TensorArgument& x, const TensorArgument& d, Address P1, Address q1, Address P2,
              Address q2, const TensorArgument& u, Address signs, const TensorArgument& gx,
              const TensorArgument& gd, Address gP1, Address gq1, Address gP2, Address gq2) {
  adaptive_separable().get<T>().backward(
      {shape, strided<const T>(gy), strided<const T>(x), strided<const T>(d), pointer<const T>(P1),
       pointer<const T>(q1), pointer<const T>(P2), pointer<const T>(q2), strided<const T>(u),
       pointer<const uint8_t>(signs), strided<T>(gx), strided<T>(gd), pointer<T>(gP1),
       pointer<T>(gq1), pointer<T>(gP2), pointer<T>(gq2)});
}

template <class T>
void define(py::module_& module, const std::string& dtype) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def(("adaptive_separable_forward_" + dtype).c_str(), &forward<T>, release);
  module.def(("adaptive_separable_backward_" + dtype).c_str(), &backward<T>, release);
}

const Binding binding([](py::module_& module) {
  py::class_<AdaptiveSeparableShape>(module, "AdaptiveSeparableShape", py::module_local())
      .def(py::init(&shape_of));
  define<float>(module, "f32");
  define<double>(module, "f64");
});

}  // namespace

}  // namespace adaconv
