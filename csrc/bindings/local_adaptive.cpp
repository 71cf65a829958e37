#include "local_adaptive.h"

#include <string>

#include "binding.h"
#include "cpu/shared/variants.h"

namespace adaconv {

ADACONV_OF_EACH_VARIANT(LocalAdaptiveKernelsByType, local_adaptive)

namespace {

using Address = std::optional<uintptr_t>;

LocalAdaptiveShape shape_of(const std::array<int64_t, 4>& x, const std::array<int64_t, 5>& P,
                            const std::array<int64_t, 4>& a, const std::array<int64_t, 2>& stride,
                            const std::array<int64_t, 2>& dilation, int64_t groups, int64_t pitch,
                            int64_t side, double slope) {
  return {x[0], x[1],      x[2],      x[3],        P[0],        P[2],   P[3],  P[4], a[1],
          a[2], stride[0], stride[1], dilation[0], dilation[1], groups, pitch, side, slope};
}

template <class T>
void forward(const LocalAdaptiveShape& shape, Address x, Address d, Address P, Address q, Address a,
             Address y) {
  local_adaptive().get<T>().forward({shape, pointer<const T>(x), pointer<const T>(d),
                                     pointer<const T>(P), pointer<const T>(q), pointer<const T>(a),
                                     pointer<T>(y)});
}

template <class T>
void backward(const LocalAdaptiveShape& shape, Address gy, Address x, Address d, Address P,
              Address q, Address a, Address gx, Address gd, Address gP, Address gq, Address ga) {
  local_adaptive().get<T>().backward({shape, pointer<const T>(gy), pointer<const T>(x),
                                      pointer<const T>(d), pointer<const T>(P), pointer<const T>(q),
                                      pointer<const T>(a), pointer<T>(gx), pointer<T>(gd),
                                      pointer<T>(gP), pointer<T>(gq), pointer<T>(ga)});
}

template <class T>
void define(py::module_& module, const std::string& dtype) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def(("local_adaptive_forward_" + dtype).c_str(), &forward<T>, release);
  module.def(("local_adaptive_backward_" + dtype).c_str(), &backward<T>, release);
}

const Binding binding([](py::module_& module) {
  py::class_<LocalAdaptiveShape>(module, "LocalAdaptiveShape", py::module_local())
      .def(py::init(&shape_of));
  module.attr("LOCAL_ADAPTIVE_SLACK") = kLocalAdaptiveSlack;
  define<float>(module, "f32");
  define<double>(module, "f64");
});

}  // namespace

}  // namespace adaconv
