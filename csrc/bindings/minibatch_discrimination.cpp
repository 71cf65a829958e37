#include "minibatch_discrimination.h"

#include <string>

#include "binding.h"
#include "cpu/shared/variants.h"

namespace adaconv {

ADACONV_OF_EACH_VARIANT(MinibatchDiscriminationChoices, minibatch_discrimination)

namespace {

template <class T>
MinibatchDiscrimination<T> call_of(const std::array<int64_t, 3>& shape, int64_t others,
                                   int64_t skip, uintptr_t M, std::optional<uintptr_t> Z) {
  return {shape[0], others, shape[1], shape[2], skip, pointer<const T>(M), pointer<const T>(Z)};
}

template <class T>
void define(py::module_& module, const std::string& dtype,
            const MinibatchDiscriminationKernels<T>& kernels) {
  const auto release = py::call_guard<py::gil_scoped_release>();
  module.def(("minibatch_discrimination_forward_" + dtype).c_str(),
             [kernels](const std::array<int64_t, 3>& shape, int64_t others, int64_t skip,
                       uintptr_t M, std::optional<uintptr_t> Z, uintptr_t o) {
               kernels.forward(call_of<T>(shape, others, skip, M, Z), pointer<T>(o));
             },
             release);
  module.def(("minibatch_discrimination_backward_" + dtype).c_str(),
             [kernels](const std::array<int64_t, 3>& shape, int64_t others, int64_t skip,
                       uintptr_t M, std::optional<uintptr_t> Z, uintptr_t g, uintptr_t gM,
                       std::optional<uintptr_t> gZ) {
               kernels.backward(call_of<T>(shape, others, skip, M, Z), pointer<const T>(g),
                                pointer<T>(gM), pointer<T>(gZ));
             },
             release);
}

const Binding binding([](py::module_& module) {
  define<float>(module, "f32", minibatch_discrimination().f32);
  define<double>(module, "f64", minibatch_discrimination().f64);
});

}  // namespace

}  // namespace adaconv
