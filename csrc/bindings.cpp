// The Python module adaconv._C: pointers, sizes and strides in, nothing of torch.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>

#include "adaptive_conv.h"
#include "cpu/variants.h"
#if defined(ADACONV_SANITIZE)
#include "sanitize/planted.h"
#endif

namespace py = pybind11;

namespace {

using namespace adaconv;

// (address, strides counted in elements) of a 4-D tensor.
using TensorArgument = std::optional<std::pair<uintptr_t, std::array<int64_t, 4>>>;

template <class T>
Strided<T> strided(const TensorArgument& argument) {
  if (!argument) return {};
  const auto& [address, step] = *argument;
  return {reinterpret_cast<T*>(address), step[0], step[1], step[2], step[3]};
}

template <class T>
T* pointer(std::optional<uintptr_t> address) {
  return address ? reinterpret_cast<T*>(*address) : nullptr;
}

AdaptiveConvShape shape_of(const std::array<int64_t, 4>& x, const std::array<int64_t, 5>& P,
                           const std::array<int64_t, 2>& out, const std::array<int64_t, 2>& stride,
                           const std::array<int64_t, 2>& padding,
                           const std::array<int64_t, 2>& dilation, int64_t groups, double slope) {
  return {x[0],      x[1],       x[2],       x[3],        P[0],        P[2],
          P[3],      P[4],       groups,     out[0],      out[1],      stride[0],
          stride[1], padding[0], padding[1], dilation[0], dilation[1], slope};
}

template <class T>
void forward(const AdaptiveConvShape& shape, const TensorArgument& x, const TensorArgument& d,
             uintptr_t P, std::optional<uintptr_t> q, const TensorArgument& b,
             const TensorArgument& y, std::optional<uintptr_t> signs) {
  active_variant().adaptive_conv<T>().forward(
      {shape, strided<const T>(x), strided<const T>(d), strided<const T>(b), pointer<const T>(P),
       pointer<const T>(q), strided<T>(y), pointer<uint8_t>(signs)});
}

template <class T>
void backward(const AdaptiveConvShape& shape, const TensorArgument& gy, const TensorArgument& x,
              const TensorArgument& d, uintptr_t P, std::optional<uintptr_t> q, uintptr_t signs,
              const TensorArgument& gx, const TensorArgument& gd, std::optional<uintptr_t> gP,
              std::optional<uintptr_t> gq) {
  active_variant().adaptive_conv<T>().backward(
      {shape, strided<const T>(gy), strided<const T>(x), strided<const T>(d), pointer<const T>(P),
       pointer<const T>(q), pointer<const uint8_t>(signs), strided<T>(gx), strided<T>(gd),
       pointer<T>(gP), pointer<T>(gq)});
}

template <class T>
py::tuple sign_layout() {
  const SignLayout& layout = active_variant().adaptive_conv<T>().signs;
  return py::make_tuple(layout.band_pixels, layout.tile_pixels, layout.bytes_per_row);
}

template <class T>
void define(py::module_& module, const std::string& dtype) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def(("adaptive_conv_forward_" + dtype).c_str(), &forward<T>, release);
  module.def(("adaptive_conv_backward_" + dtype).c_str(), &backward<T>, release);
  module.def(("adaptive_conv_sign_layout_" + dtype).c_str(), &sign_layout<T>);
}

std::vector<std::string> supported_variants() {
  int count;
  const Variant* table = variants(&count);
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    if (table[i].supported()) names.emplace_back(table[i].name);
  }
  return names;
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Native kernels of adaconv.";
  py::class_<AdaptiveConvShape>(module, "AdaptiveConvShape", py::module_local())
      .def(py::init(&shape_of));
  define<float>(module, "f32");
  define<double>(module, "f64");
  module.def("variant", [] { return std::string(active_variant().name); });
  module.def("variants", &supported_variants);
#if defined(ADACONV_SANITIZE)
  module.attr("sanitizers") = ADACONV_SANITIZE;
  module.def("planted_bugs", &planted_bugs);
  module.def("plant", &plant);
#endif
  active_variant();  // a wrong ADACONV_CPU fails the import, which reports it
}
