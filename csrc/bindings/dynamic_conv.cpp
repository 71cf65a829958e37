#include "dynamic_conv.h"

#include <string>

#include "binding.h"
#include "cpu/shared/variants.h"

namespace adaconv {

ADACONV_OF_EACH_VARIANT(DynamicConvKernels, dynamic_conv)

namespace {

using Pair = std::array<int64_t, 2>;

template <class T>
StridedFilters<const T> filters(const TensorOf<7>::value_type& argument) {
  const auto& [address, step] = argument;
  return {reinterpret_cast<const T*>(address),
          step[0],
          step[1],
          step[2],
          step[3],
          step[4],
          step[5],
          step[6]};
}

DynamicConvShape shape_of(const std::array<int64_t, 4>& x, const std::array<int64_t, 7>& w,
                          const Pair& stride, const Pair& padding, const Pair& dilation,
                          int64_t groups) {
  return {{x[0], x[1], x[2], x[3], w[3], w[4], w[5], w[6], stride[0], stride[1], padding[0],
           padding[1], dilation[0], dilation[1], 1},
          w[1],
          groups};
}

template <class T>
void forward(const DynamicConvShape& shape, const TensorArgument& x,
             const TensorOf<7>::value_type& w, const TensorArgument& b, const TensorArgument& y) {
  dynamic_conv().get<T>().forward(
      {shape, strided<const T>(x), filters<T>(w), strided<const T>(b), strided<T>(y)});
}

template <class T>
void input(const DynamicConvShape& shape, const TensorArgument& gy,
           const TensorOf<7>::value_type& w, const TensorArgument& gx) {
  dynamic_conv().get<T>().input({shape, strided<const T>(gy), filters<T>(w), strided<Sum<T>>(gx)});
}

template <class T>
void weight(const DynamicConvShape& shape, const TensorArgument& gy, const TensorArgument& x,
            uintptr_t gw) {
  dynamic_conv().get<T>().weight(
      {shape, strided<const T>(gy), strided<const T>(x), pointer<T>(gw)});
}

template <class T>
void define(py::module_& module, const std::string& dtype) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def(("dynamic_conv_forward_" + dtype).c_str(), &forward<T>, release);
  module.def(("dynamic_conv_input_" + dtype).c_str(), &input<T>, release);
  module.def(("dynamic_conv_weight_" + dtype).c_str(), &weight<T>, release);
}

const Binding binding([](py::module_& module) {
  py::class_<DynamicConvShape>(module, "DynamicConvShape", py::module_local())
      .def(py::init(&shape_of));
  define<float>(module, "f32");
  define<double>(module, "f64");
  define<Bf16>(module, "bf16");
});

}  // namespace

}  // namespace adaconv
