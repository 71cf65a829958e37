#include "binding.h"
#include "cpu/shared/variants.h"
#include "multiply_rates.h"

namespace adaconv {

ADACONV_OF_EACH_VARIANT(MultiplyRates, multiply_rates)

namespace {

const Binding binding([](py::module_& module) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def("multiply_f32", multiply_rates().f32, release);
  module.def("multiply_f64", multiply_rates().f64, release);
  module.def("multiply_bf16", multiply_rates().bf16, release);
});

}  // namespace

}  // namespace adaconv
